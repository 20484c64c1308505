# SPDX-License-Identifier: Apache-2.0
"""The pair that comes with every model, and what the network answers to it in float32."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import ModelError

_SAMPLES = 48  # rows and columns of the answers that are kept, about

Answers = dict[str, FloatArray]
"""``pts3d_1``, ``conf_1``, ... as the engines name them; only those that the network has."""


@dataclass(frozen=True, eq=False)
class Check:
    """A pair and what the float32 network answers at some of its pixels.

    :param rows: of the pixels, in both views.
    :param columns: of the pixels, in both views.
    """

    image_1: ImageArray
    image_2: ImageArray
    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    answers: Answers

    @classmethod
    def of(cls, image_1: ImageArray, image_2: ImageArray, answers: Answers) -> Check:
        """Keep the answers at the pixels of a coarse grid."""
        height, width = np.minimum(image_1.shape[:2], image_2.shape[:2])
        rows, columns = _coarse(int(height)), _coarse(int(width))
        check = cls(image_1, image_2, rows, columns, {})
        return cls(image_1, image_2, rows, columns, check.sample(answers))

    def sample(self, answers: Answers) -> Answers:
        """Return full answers at the pixels of this check."""
        pixels = np.ix_(self.rows, self.columns)
        return {name: np.ascontiguousarray(values[pixels]) for name, values in answers.items()}

    def save(self, path: Path) -> None:
        """Write the check as ``.npz`` and bring it onto the disk."""
        with open(path, 'wb') as file:
            np.savez_compressed(
                file,
                image_1=self.image_1,
                image_2=self.image_2,
                rows=self.rows,
                columns=self.columns,
                **self.answers,  # type: ignore[arg-type]  # none is called allow_pickle
            )
            file.flush()
            os.fsync(file.fileno())

    @classmethod
    def load(cls, path: Path) -> Check:
        """Read a check.

        :raises ModelError: the file is missing or damaged.
        """
        try:
            with np.load(path, allow_pickle=False) as file:
                values = {name: file[name] for name in file.files}
            return cls(
                image_1=values.pop('image_1'),
                image_2=values.pop('image_2'),
                rows=values.pop('rows'),
                columns=values.pop('columns'),
                answers=values,
            )
        except (OSError, ValueError, KeyError, EOFError, BadZipFile, zlib.error) as error:
            raise ModelError(f'{path} cannot be read ({error}); export the model anew') from error


def _coarse(length: int) -> NDArray[np.int64]:
    step = max(1, length // _SAMPLES)
    return np.arange(step // 2, length, step)
