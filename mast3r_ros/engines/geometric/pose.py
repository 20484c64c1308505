# SPDX-License-Identifier: Apache-2.0
"""The motion between two views from matched rays: rotation, and direction of the translation."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.engines.geometric.sampling import INLIER_PX, sampled_motion

Vector = NDArray[np.float64]

_NOISE_PX = 0.5  # of a good match, where its weight falls to one half
_MIN_MATCHES = 16
_MAX_STEPS = 10
_STEP_SIZE = 1e-6  # of numeric derivatives, in radians
_CONVERGED = 1e-6  # relative change of the cost


@dataclass(frozen=True, eq=False)
class RelativePose:
    """How the camera moved from view 1 to view 2; the length of the translation is unknown.

    :param R: rotation of camera 1's frame into that of camera 2.
    :param t: camera 1 in the frame of camera 2, of length 1.
    :param inliers: (N,) which matches agree with the motion.
    :param parallax_px: median of what a mere rotation leaves unexplained of them.
    """

    R: Matrix
    t: Vector
    inliers: NDArray[np.bool_]
    parallax_px: float

    @property
    def T_2_1(self) -> Matrix:
        """The pose as 4x4."""
        T = np.eye(4)
        T[:3, :3], T[:3, 3] = self.R, self.t
        return T


def find_relative_pose(rays_1: Matrix, rays_2: Matrix, focal_px: float) -> RelativePose | None:
    """Return the motion that explains most matches; None where there are too few.

    :param rays_1: (N, 3) with z = 1; ``rays_2`` are what they match in view 2.
    :param focal_px: what turns angles into pixels.
    """
    if len(rays_1) < _MIN_MATCHES:
        return None
    turn, left_over_px = _fit_rotation(rays_1, rays_2, focal_px)
    starts = [(turn, _direction(turn, rays_1, rays_2))]
    starts += sampled_motion(rays_1, rays_2, focal_px)
    fits = [_refine(R, t, rays_1, rays_2, focal_px) for R, t in starts]
    R, t, _ = min(fits, key=lambda fit: fit[2])
    inliers = np.abs(_epipolar_px(R, t, rays_1, rays_2, focal_px)) < INLIER_PX
    if np.count_nonzero(inliers) < _MIN_MATCHES:
        return None
    R, t = _in_front(R, t, rays_1[inliers], rays_2[inliers])
    return RelativePose(R, t, inliers, float(np.median(left_over_px[inliers])))


def depths_along_rays(
    rays_1: NDArray[np.float64], rays_2: NDArray[np.float64], R: Matrix, t: Vector
) -> tuple[Vector, Vector]:
    """Return the depths (N,) at which rays (N, 3), z = 1, of both views meet best."""
    turned = rays_1 @ R.T
    normal = np.cross(turned, rays_2)
    square = np.einsum('ij,ij->i', normal, normal)
    with np.errstate(divide='ignore', invalid='ignore'):
        depth_1 = np.einsum('ij,ij->i', np.cross(rays_2, t), normal) / square
        depth_2 = np.einsum('ij,ij->i', np.cross(turned, t), normal) / square
    return depth_1, depth_2


def _fit_rotation(rays_1: Matrix, rays_2: Matrix, focal_px: float) -> tuple[Matrix, Vector]:
    """Return the rotation that explains most matches, and what it leaves of each in pixels."""
    unit_1 = rays_1 / np.linalg.norm(rays_1, axis=1, keepdims=True)
    unit_2 = rays_2 / np.linalg.norm(rays_2, axis=1, keepdims=True)
    weights = np.ones(len(rays_1))
    for _ in range(_MAX_STEPS):
        U, _, Vt = np.linalg.svd((unit_2 * weights[:, None]).T @ unit_1)
        R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
        left_over_px = np.linalg.norm(unit_2 - unit_1 @ R.T, axis=1) * focal_px
        scale_px = max(_NOISE_PX, float(np.median(left_over_px)))
        weights = 1.0 / (1.0 + (left_over_px / scale_px) ** 2)
    return R, left_over_px


def _direction(R: Matrix, rays_1: Matrix, rays_2: Matrix) -> Vector:
    """Return the direction of translation that fits a rotation."""
    normals = np.cross(rays_1 @ R.T, rays_2)
    return np.asarray(np.linalg.svd(normals.T @ normals)[2][2])


def _refine(
    R: Matrix, t: Vector, rays_1: Matrix, rays_2: Matrix, focal_px: float
) -> tuple[Matrix, Vector, float]:
    """Improve a motion by damped Gauss-Newton steps on the epipolar distances."""

    def error_of(R: Matrix, t: Vector) -> Vector:
        return _epipolar_px(R, t, rays_1, rays_2, focal_px)

    error = error_of(R, t)
    cost, damping = _cost(error), 1e-4
    for _ in range(_MAX_STEPS):
        across = np.linalg.svd(t[None])[2][1:]
        small_steps = np.eye(5) * _STEP_SIZE
        changed = [error_of(*_moved(R, t, across, small)) - error for small in small_steps]
        J = np.stack(changed, axis=1) / _STEP_SIZE
        weighted = J / (1.0 + (error / _NOISE_PX) ** 2)[:, None]
        A = weighted.T @ J
        step = np.linalg.solve(A + damping * np.diag(np.diag(A) + 1e-9), -weighted.T @ error)
        new_R, new_t = _moved(R, t, across, step)
        new_error = error_of(new_R, new_t)
        new_cost = _cost(new_error)
        if new_cost >= cost:
            damping *= 10.0
            continue
        converged = cost - new_cost < _CONVERGED * cost
        R, t, error, cost, damping = new_R, new_t, new_error, new_cost, damping / 10.0
        if converged:
            break
    return R, t, cost


def _moved(R: Matrix, t: Vector, across: Matrix, step: Vector) -> tuple[Matrix, Vector]:
    """Return a motion changed by three angles of rotation and two of the translation.

    :param across: (2, 3) directions at right angles to the translation.
    """
    moved = t + step[3:] @ across
    return cv2.Rodrigues(step[:3])[0] @ R, moved / np.sqrt(moved @ moved)


def _epipolar_px(R: Matrix, t: Vector, rays_1: Matrix, rays_2: Matrix, focal_px: float) -> Vector:
    """Return the signed distance (N,) of matches from their epipolar lines, in pixels."""
    x, y, z = t
    E = np.array([[0.0, -z, y], [z, 0.0, -x], [-y, x, 0.0]]) @ R
    lines_2, lines_1 = rays_1 @ E.T, rays_2 @ E
    slope = np.einsum('ij,ij->i', lines_1[:, :2], lines_1[:, :2])
    slope += np.einsum('ij,ij->i', lines_2[:, :2], lines_2[:, :2])
    product = np.einsum('ij,ij->i', rays_2, lines_2)
    return np.asarray(product * focal_px / np.sqrt(slope + 1e-18))


def _cost(error_px: Vector) -> float:
    """Return the sum of errors in which wrong matches count little."""
    return float(np.log1p((error_px / _NOISE_PX) ** 2).sum())


def _in_front(R: Matrix, t: Vector, rays_1: Matrix, rays_2: Matrix) -> tuple[Matrix, Vector]:
    """Return that of the four motions of one essential matrix that sees most points in front."""
    twisted = (2.0 * np.outer(t, t) - np.eye(3)) @ R
    motions = [(R, t), (R, -t), (twisted, t), (twisted, -t)]

    def points_in_front(motion: tuple[Matrix, Vector]) -> int:
        depth_1, depth_2 = depths_along_rays(rays_1, rays_2, *motion)
        return int(np.count_nonzero((depth_1 > 0.0) & (depth_2 > 0.0)))

    return max(motions, key=points_in_front)
