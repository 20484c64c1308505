# SPDX-License-Identifier: Apache-2.0
"""A camera as a pinhole picture and the places in it where the camera's pixels lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sim.truth import Rays

_MARGIN_PX = 2


@dataclass(frozen=True, eq=False)
class Lens:
    """A pinhole picture of ``size`` that holds everything a camera sees.

    :param K: the pinhole's intrinsics.
    :param size: its width and height.
    :param u: (height, width) column of each of the camera's pixels in it; :param v: row.
    """

    camera: Camera
    K: Matrix
    size: tuple[int, int]
    rays: Rays
    u: Matrix
    v: Matrix

    @classmethod
    def of(cls, camera: Camera) -> Lens:
        """Return the lens of a camera; raise when its distortion has no inverse in the picture."""
        rays = Rays.of(camera)
        if not camera.is_distorted:
            v, u = np.indices((camera.height, camera.width), np.float64)
            return cls(camera, camera.K, (camera.width, camera.height), rays, u, v)
        if not (np.isfinite(rays.x).all() and np.isfinite(rays.y).all()):
            raise InvalidInput(
                f'the distortion {camera.distortion} has no inverse in a corner of the '
                f'{camera.width}x{camera.height} picture; give a weaker one'
            )
        u, v = rays.x * camera.fx, rays.y * camera.fy
        cx, cy = _MARGIN_PX - np.floor(u.min()), _MARGIN_PX - np.floor(v.min())
        size = (int(u.max() + cx) + _MARGIN_PX + 1, int(v.max() + cy) + _MARGIN_PX + 1)
        K = np.array([[camera.fx, 0.0, cx], [0.0, camera.fy, cy], [0.0, 0.0, 1.0]])
        return cls(camera, K, size, rays, u + cx, v + cy)
