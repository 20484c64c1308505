# SPDX-License-Identifier: Apache-2.0
"""What a network engine remembers of one view."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import Features
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import EngineFailed, InvalidInput
from mast3r_ros.models.description import Shape


class NetworkFeatures(Features):
    """The encoder's tokens of one view, where the engine left them.

    :param tokens: in the engine's own type.
    :param nbytes: memory that they take.
    :param to_host: brings them into this process's memory.
    """

    def __init__(
        self,
        grid: Grid,
        engine_key: str,
        tokens: Any,
        nbytes: int,
        to_host: Callable[[Any], NDArray[Any]],
    ) -> None:
        super().__init__(grid, engine_key)
        self._tokens = tokens
        self._nbytes = nbytes
        self._to_host = to_host

    @property
    def tokens(self) -> Any:
        """The tokens in the engine's own type."""
        if self._tokens is None:
            raise EngineFailed('the features were released; encode the view again')
        return self._tokens

    @property
    def shape(self) -> Shape:
        """Height and width of the network input they come from."""
        return self.grid.height, self.grid.width

    @property
    def nbytes(self) -> int:
        """Memory it holds, in bytes."""
        return 0 if self._tokens is None else self._nbytes

    def global_descriptor(self) -> FloatArray:
        """Return the direction of the mean token."""
        tokens = np.asarray(self._to_host(self.tokens), np.float32)
        mean: FloatArray = tokens.reshape(-1, tokens.shape[-1]).mean(axis=0)
        mean /= np.float32(max(float(np.linalg.norm(mean)), 1e-12))
        return mean

    def seen_through(self, camera: Camera | None) -> NetworkFeatures:
        """Return the same tokens with another calibration, which the network does not see."""
        grid = self.grid
        if camera is not None:
            camera = camera.on_grid(grid.scale, grid.offset, grid.width, grid.height)
        return NetworkFeatures(
            replace(grid, camera=camera), self.engine_key, self.tokens, self._nbytes, self._to_host
        )

    def release(self) -> None:
        """Give the tokens back."""
        self._tokens = None


def features_of(engine_key: str, features: Features) -> NetworkFeatures:
    """Return features as those of an engine.

    :raises InvalidInput: another engine made them.
    """
    if not isinstance(features, NetworkFeatures) or features.engine_key != engine_key:
        raise InvalidInput(
            f'the features belong to the engine {features.engine_key!r}; encode the view with '
            f'{engine_key!r}'
        )
    return features
