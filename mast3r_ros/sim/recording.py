# SPDX-License-Identifier: Apache-2.0
"""A flight rendered once and played any number of times."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.recording_files import BrokenRecording, Contents, folder_of, open_files
from mast3r_ros.sim.rendering import Progress, render_loop
from mast3r_ros.sim.truth import Rays, Truth


@dataclass(frozen=True, eq=False)
class Frame:
    """One stereo pair with all that is known about it; truth is unpacked when asked for.

    :param index: counts on over loops.
    :param stamp_ns: time since the first take-off.
    :param left: uint8 RGB (H, W, 3), read-only; so is ``right``.
    :param T_world_left: pose of the left camera.
    """

    index: int
    stamp_ns: int
    left: NDArray[np.uint8]
    right: NDArray[np.uint8]
    T_world_left: Matrix
    truth_left: Truth
    truth_right: Truth

    @cached_property
    def depth(self) -> NDArray[np.float32]:
        """Depth Z of the left picture in metres, NaN at the sky."""
        return self.truth_left.depth()

    @cached_property
    def mask_left(self) -> NDArray[np.uint8]:
        """0 on the moving boxes in the left picture, 255 elsewhere."""
        return self.truth_left.mask()

    @cached_property
    def mask_right(self) -> NDArray[np.uint8]:
        """0 on the moving boxes in the right picture, 255 elsewhere."""
        return self.truth_right.mask()


class Recording:
    """One loop of a flight, from files that stay mapped into memory."""

    def __init__(self, config: SimConfig, contents: Contents) -> None:
        self.config = config
        self.cameras: tuple[Camera, Camera] = config.cameras()
        self._contents = contents
        self._rays = tuple(Rays.of(camera) for camera in self.cameras)

    @classmethod
    def open_or_render(
        cls, folder: Path | str, config: SimConfig | None = None, progress: Progress | None = None
    ) -> Recording:
        """Return the recording of a flight, rendered first unless ``folder`` holds it whole.

        :param progress: called now and then while rendering with the pairs done and in all.
        """
        config = config or SimConfig()
        place = folder_of(Path(folder), config)
        try:
            return cls(config, open_files(place, config))
        except BrokenRecording:
            render_loop(place, config, progress)
        return cls(config, open_files(place, config))

    def __len__(self) -> int:
        return self.config.frames

    def frame(self, index: int) -> Frame:
        """Return any frame from 0 on; after the last of the loop comes the first again."""
        at = index % len(self)
        images = self._contents.images
        return Frame(
            index,
            self.config.stamp_ns(index),
            np.asarray(images[0][at]),
            np.asarray(images[1][at]),
            np.array(self._contents.poses[at]),
            self._truth(at, 0),
            self._truth(at, 1),
        )

    def _truth(self, at: int, side: int) -> Truth:
        contents, number = self._contents, 2 * at + side
        first, stop = contents.first_runs[number], contents.first_runs[number + 1]
        return Truth(
            contents.runs[first:stop],
            contents.planes[at, side],
            contents.first_moving,
            self._rays[side],
        )
