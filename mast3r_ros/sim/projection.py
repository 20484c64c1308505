# SPDX-License-Identifier: Apache-2.0
"""A world of facets as one camera sees it: every quantity a linear function of the pixel.

On a plane the inverse depth is linear in the pixel (u, v, 1), and so is any linear function of the
point divided by the depth. All rows here are such functions.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sim.facets import Facets

_NEAREST_M = 0.02
_EDGE_ON_M = 1e-6


@dataclass(frozen=True, eq=False)
class Projected:
    """Facets in pixels of a pinhole camera.

    :param planes: (F, 3) inverse depth of a ray (x, y, 1) in the camera's frame.
    :param inverse_depth: (F, 3) inverse depth of a pixel.
    :param charts: (F, 4, 3) the facets' charts over the depth.
    :param edges: (F, 4, 3) distance in pixels from each edge, positive inside.
    :param distance_m: (F,) from the camera to the plane.
    :param visible: numbers of the facets that face the camera and may lie in its picture.
    """

    planes: Matrix
    inverse_depth: Matrix
    charts: Matrix
    edges: Matrix
    distance_m: Matrix
    visible: NDArray[np.intp]


def project(facets: Facets, K: Matrix, size: tuple[int, int], T_world_camera: Matrix) -> Projected:
    """Return the facets as a camera sees them.

    :param size: width and height of its picture.
    """
    to_ray = np.linalg.inv(K)
    rotation, place = T_world_camera[:3, :3], T_world_camera[:3, 3]
    world_planes = facets.planes()
    distance = world_planes[:, :3] @ place + world_planes[:, 3]
    away = np.where(np.abs(distance) < _EDGE_ON_M, _EDGE_ON_M, distance)
    planes = -(world_planes[:, :3] @ rotation) / away[:, None]
    charts = facets.charts @ T_world_camera
    charts = charts[:, :, :3] + charts[:, :, 3:] * planes[:, None, :]
    corners = (facets.corners - place) @ rotation
    edges = np.cross(corners, np.roll(corners, -1, axis=1))
    edges = _in_pixels(-edges @ to_ray)
    visible = np.flatnonzero((distance > _EDGE_ON_M) & _may_be_seen(corners @ K.T, *size))
    return Projected(planes, planes @ to_ray, charts @ to_ray, edges, distance, visible)


def _in_pixels(edges: Matrix) -> Matrix:
    length = np.linalg.norm(edges[..., :2], axis=-1, keepdims=True)
    return edges / np.where(length > 0.0, length, 1.0)


def _may_be_seen(corners: Matrix, width: int, height: int) -> NDArray[np.bool_]:
    """Return which facets are not wholly beyond one border of the picture or behind it.

    :param corners: (F, 4, 3) pixel times depth, and depth.
    """
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    beyond = [
        z < _NEAREST_M,
        x < -1.0 * z,
        x > width * z,
        y < -1.0 * z,
        y > height * z,
    ]
    outside: NDArray[np.bool_] = np.any([side.all(axis=1) for side in beyond], axis=0)
    return ~outside
