# SPDX-License-Identifier: Apache-2.0
"""The pose of one view to another from matched rays and what is known of the depth.

Where depth is known, it gives the length of the translation and steadies the turn: each match then
tells two pixels instead of one distance from a line. How far a match moves with its depth says how
much that depth can be wrong, so near and far, small and large steps weigh as they should.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.engines.geometric.pose import RelativePose, find_relative_pose

Values = NDArray[np.float64]

MAX_MATCHES = 1500  # more make it slower, not better
_PIXEL_SIGMA = 1.0  # of a match, in pixels
_DEPTH_SIGMA = 0.05  # relative, of a depth
_INLIER_SIGMAS = 3.0
_MIN_MATCHES = 16
_MAX_STEPS = 15
_CONVERGED = 1e-5  # relative change of the cost
_GOOD_SHARE = 0.5  # of inliers: a start that leads there needs no other
_INDEPENDENT = 100  # matches; those of neighbouring pixels err alike, so more tell little more


@dataclass(frozen=True, eq=False)
class Motion:
    """How view b stands to view a.

    :param T_b_a: takes points of a into b, in the unit of the depths.
    :param inliers: (N,) which of the given matches agree.
    :param parallax_px: median of what a mere turn leaves unexplained of them.
    :param has_length: whether the translation's length means anything.
    :param covariance: (6, 6) of a turn and then a shift of b; None without length.
    """

    T_b_a: Matrix
    inliers: NDArray[np.bool_]
    parallax_px: float
    has_length: bool
    covariance: Matrix | None = None

    @property
    def share(self) -> float:
        """Share of the matches that agree."""
        return float(self.inliers.mean()) if len(self.inliers) else 0.0


def find_motion(
    rays_a: Matrix,
    rays_b: Matrix,
    depth_a: Values,
    focal_px: float,
    starts: tuple[Matrix, ...] = (),
) -> Motion | None:
    """Return the pose that explains most matches; None where nothing does.

    :param rays_a: (N, 3) with z = 1; ``rays_b`` are what they match.
    :param depth_a: (N,) Z of a's points; NaN where unknown.
    :param focal_px: what turns angles into pixels, and pixels into what a match is good to.
    :param starts: poses T_b_a that may be near.
    """
    known = np.isfinite(depth_a) & (depth_a > 0.0)
    if np.count_nonzero(known) < _MIN_MATCHES:
        return _without_depth(rays_a, rays_b, focal_px)
    points, target = rays_a[known] * depth_a[known, None], rays_b[known]
    fits = [_refine(start, points, target, focal_px) for start in starts]
    if not fits or max(fit.share for fit in fits) < _GOOD_SHARE:
        fits += [
            _refine(start, points, target, focal_px)
            for start in _fresh_starts(rays_a, rays_b, depth_a, focal_px)
        ]
    if not fits:
        return None
    best = max(fits, key=lambda fit: fit.share)
    inliers = np.zeros(len(rays_a), np.bool_)
    inliers[np.flatnonzero(known)[best.inliers]] = True
    if np.count_nonzero(inliers) < _MIN_MATCHES:
        return None
    parallax_px = parallax(rays_a[inliers], rays_b[inliers], best.T, focal_px)
    covariance = _covariance(best, points, target, focal_px)
    return Motion(best.T, inliers, parallax_px, True, covariance)


def parallax(rays_a: Matrix, rays_b: Matrix, T_b_a: Matrix, focal_px: float) -> float:
    """Return the median of what the turn alone leaves unexplained, in pixels."""
    turned = rays_a @ T_b_a[:3, :3].T
    with np.errstate(divide='ignore', invalid='ignore'):
        gap = turned[:, :2] / turned[:, 2:] - rays_b[:, :2]
    return float(np.median(np.linalg.norm(gap, axis=1)) * focal_px) if len(gap) else 0.0


def thinned(count: int) -> NDArray[np.intp]:
    """Return at most MAX_MATCHES rows out of so many, evenly spread."""
    if count <= MAX_MATCHES:
        return np.arange(count)
    return np.asarray(np.linspace(0, count - 1, MAX_MATCHES).astype(np.intp))


def _without_depth(rays_a: Matrix, rays_b: Matrix, focal_px: float) -> Motion | None:
    pose = _relative_pose(rays_a, rays_b, focal_px)
    if pose is None:
        return None
    return Motion(pose.T_2_1, pose.inliers, pose.parallax_px, False)


def _relative_pose(rays_a: Matrix, rays_b: Matrix, focal_px: float) -> RelativePose | None:
    try:
        return find_relative_pose(rays_a, rays_b, focal_px)
    except (cv2.error, np.linalg.LinAlgError, ValueError):  # degenerate: too much on one line
        return None


def _fresh_starts(
    rays_a: Matrix, rays_b: Matrix, depth_a: Values, focal_px: float
) -> list[Matrix]:
    """Return starts that need no guess: standing still, and what the matches alone tell."""
    pose = _relative_pose(rays_a, rays_b, focal_px)
    if pose is None:
        return [np.eye(4)]
    turn, whole = np.eye(4), np.eye(4)
    turn[:3, :3] = whole[:3, :3] = pose.R
    # Depth along a's ray where both rays meet, for a step of length 1.
    turned = rays_a @ pose.R.T
    normal = np.cross(turned, rays_b)
    square = np.einsum('ij,ij->i', normal, normal)
    with np.errstate(divide='ignore', invalid='ignore'):
        met = np.einsum('ij,ij->i', np.cross(rays_b, pose.t), normal) / square
        lengths = depth_a / met
    good = pose.inliers & np.isfinite(lengths) & (lengths > 0.0)
    if good.any():
        whole[:3, 3] = pose.t * np.median(lengths[good])
    return [turn, whole]


@dataclass(frozen=True, eq=False)
class _Fit:
    T: Matrix
    inliers: NDArray[np.bool_]
    share: float


def _refine(start: Matrix, points: Matrix, target: Matrix, focal_px: float) -> _Fit:
    """Improve a pose by damped Gauss-Newton steps in which wrong matches count little."""
    T, damping = start.copy(), 1e-6
    error, J = _errors(T, points, target, focal_px)
    cost = _cost(error)
    for _ in range(_MAX_STEPS):
        weight = np.repeat(1.0 / (1.0 + np.einsum('ij,ij->i', error, error)), 2)
        rows = J.reshape(-1, 6)
        weighted = (rows * weight[:, None]).T
        A, b = weighted @ rows, weighted @ error.reshape(-1)
        try:
            step = np.linalg.solve(A + damping * np.diag(np.diag(A) + 1e-12), -b)
        except np.linalg.LinAlgError:
            break
        moved = stepped(T, step)
        new_error, new_J = _errors(moved, points, target, focal_px)
        new_cost = _cost(new_error)
        if not new_cost < cost:
            damping = max(damping, 1e-6) * 30.0
            if damping > 1e3:
                break
            continue
        converged = cost - new_cost < _CONVERGED * cost
        T, error, J, cost, damping = moved, new_error, new_J, new_cost, damping / 30.0
        if converged:
            break
    inliers = np.einsum('ij,ij->i', error, error) < _INLIER_SIGMAS**2
    return _Fit(T, inliers, float(inliers.mean()))


def _covariance(fit: _Fit, points: Matrix, target: Matrix, focal_px: float) -> Matrix:
    """Return how sure a pose is, from how well and from where its matches agree."""
    error, J = _errors(fit.T, points[fit.inliers], target[fit.inliers], focal_px)
    rows = J.reshape(-1, 6)
    variance = float(np.mean(error * error))
    alike = max(1.0, len(error) / _INDEPENDENT)
    return np.asarray(np.linalg.pinv(rows.T @ rows, hermitian=True) * variance * alike)


def stepped(T: Matrix, step: Values) -> Matrix:
    """Return a pose turned by ``step[:3]`` and then shifted by ``step[3:]``."""
    moved = np.eye(4)
    R = np.asarray(cv2.Rodrigues(step[:3])[0])
    moved[:3, :3] = R @ T[:3, :3]
    moved[:3, 3] = R @ T[:3, 3] + step[3:]
    return moved


def _errors(
    T: Matrix, points: Matrix, target: Matrix, focal_px: float
) -> tuple[Matrix, NDArray[np.float64]]:
    """Return each match's miss (N, 2) in standard deviations, and its derivatives (N, 2, 6)."""
    turned = points @ T[:3, :3].T
    X = turned + T[:3, 3]
    z = np.maximum(X[:, 2], 1e-3 * np.abs(turned[:, 2]) + 1e-9)
    miss = (X[:, :2] / z[:, None] - target[:, :2]) * focal_px
    x, y = X[:, 0] / z, X[:, 1] / z
    per_z = focal_px / z
    # Along the line on which a wrong depth moves the pixel, a miss counts less.
    slide = (turned[:, :2] - np.stack([x, y], axis=1) * turned[:, 2:]) * per_z[:, None]
    length = np.sqrt(np.einsum('ij,ij->i', slide, slide)) + 1e-12
    along = slide / length[:, None]
    less = _PIXEL_SIGMA / np.sqrt(_PIXEL_SIGMA**2 + (_DEPTH_SIGMA * length) ** 2) - 1.0
    J = np.zeros((len(X), 2, 6))
    J[:, 0, 3] = J[:, 1, 4] = per_z  # of the pixel by the point, which is by a shift
    J[:, 0, 5], J[:, 1, 5] = -per_z * x, -per_z * y
    J[:, 0, 0], J[:, 1, 1] = J[:, 0, 5] * X[:, 1], -J[:, 1, 5] * X[:, 0]  # by a turn about b
    J[:, 0, 1] = per_z * X[:, 2] - J[:, 0, 5] * X[:, 0]
    J[:, 1, 0] = J[:, 1, 5] * X[:, 1] - per_z * X[:, 2]
    J[:, 0, 2], J[:, 1, 2] = -per_z * X[:, 1], per_z * X[:, 0]
    J += (less[:, None] * along)[..., None] * np.einsum('ni,nij->nj', along, J)[:, None]
    miss += (less * np.einsum('ij,ij->i', along, miss))[:, None] * along
    return miss / _PIXEL_SIGMA, J / _PIXEL_SIGMA


def _cost(error: Matrix) -> float:
    return float(np.log1p(np.einsum('ij,ij->i', error, error)).sum())
