# SPDX-License-Identifier: Apache-2.0
"""The similarity between two views' own points, for cameras of which no calibration is known.

What is compared is in which direction and how far away each matched point lies: directions are
nearly all that counts, and hold whatever the lens; distances, by their ratio, tell the unit and
keep a camera that merely turns from running off.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.geometry import transform
from mast3r_ros.sequence.ray_problem import (
    RayProblem,
    Similarity,
    derivatives,
    directions,
    huber_cost,
    huber_weights,
    misses,
    sizes,
)

Values = NDArray[np.float64]

_MIN_MATCHES = 16
_INLIER_SIGMAS = 3.0
_MAX_STEPS = 20
_CONVERGED = 1e-7  # relative change of the cost
_NOTHING = 1e-12  # squared standard deviations a match: there is nothing to improve
_VAGUE = 1e-9  # the least over the largest of what matches say of each freedom
_GOOD_SHARE = 0.5  # of the matches, with which an expected pose needs no rival
_SAMPLES = 64  # of three matches, for a start
_LOOKED_AT = 300  # matches that starts are judged by
_INDEPENDENT = 100  # matches; those of neighbouring pixels err alike, so more tell little more
_NO_POSE = 'the matched points lie in one place or on one line and fix no pose'


@dataclass(frozen=True, eq=False)
class RayAlignment:
    """How the points of view a lie in view b; ``reason`` says why not, empty if they do.

    :param T_b_a: takes points of a into b's frame, in the unit of a.
    :param scale: a's unit over b's: a length in b, times this, is one in a.
    :param inliers: (N,) which of the given matches agree.
    :param covariance: (6, 6) of a turn and then a shift of b, in the unit of a.
    """

    reason: str
    inliers: NDArray[np.bool_]
    T_b_a: Matrix | None = None
    scale: float = float('nan')
    covariance: Matrix | None = None

    @property
    def share(self) -> float:
        """Share of the matches that agree."""
        return float(self.inliers.mean()) if len(self.inliers) else 0.0


def align_rays(
    points_a: Matrix,
    points_b: Matrix,
    confidence: Values | None,
    focal_px: float,
    starts: tuple[Matrix, ...] = (),
) -> RayAlignment:
    """Return the similarity that explains most matches; it never raises.

    :param points_a: (N, 3) in a's frame and unit; ``points_b`` what they match, in b's.
    :param confidence: (N,) how much each match counts, in any unit; None: all alike.
    :param focal_px: what turns angles into pixels, about: a match is good to one of them.
    :param starts: poses T_b_a that may be near, in the unit of a.
    """
    points_a, points_b = np.atleast_2d(points_a), np.atleast_2d(points_b)
    nothing = np.zeros(len(points_a), np.bool_)
    weights = np.ones(len(points_a)) if confidence is None else np.asarray(confidence, float)
    shapes = points_a.shape, points_b.shape, (len(weights), 3)
    if points_a.ndim != 2 or len(set(shapes)) > 1 or not focal_px > 0.0:
        shown = ', '.join(str(shape) for shape in shapes)
        why = f'points and their confidence do not belong together: {shown}, {focal_px:g} px'
        return RayAlignment(why, nothing)
    known = _usable(points_a) & _usable(points_b) & np.isfinite(weights) & (weights > 0.0)
    if np.count_nonzero(known) < _MIN_MATCHES:
        count = np.count_nonzero(known)
        return RayAlignment(f'{count} matches have points, {_MIN_MATCHES} are needed', nothing)
    problem = RayProblem.of(points_a[known], points_b[known], weights[known], focal_px)
    try:
        found = _solved(problem, starts)
    except np.linalg.LinAlgError:
        return RayAlignment(_NO_POSE, nothing)
    inliers = nothing.copy()
    inliers[np.flatnonzero(known)[found.inliers]] = True
    if np.count_nonzero(inliers) < _MIN_MATCHES or not np.isfinite(found.T).all():
        return RayAlignment('no similarity explains the matches', nothing)
    covariance = _covariance(problem, found)
    if covariance is None:
        return RayAlignment(_NO_POSE, nothing)
    return RayAlignment('', inliers, found.T, float(np.exp(found.log_scale)), covariance)


@dataclass(frozen=True, eq=False)
class _Solution(Similarity):
    inliers: NDArray[np.bool_]


def _solved(problem: RayProblem, starts: tuple[Matrix, ...]) -> _Solution:
    """Return the best of what all starts lead to, at last by the matches that agree alone."""
    few = problem.rows(_spread(len(problem.points), _LOOKED_AT))
    states = [_refined(few, _with_unit(few, T)) for T in starts if np.isfinite(T).all()]
    if not any(_agree(few, state).mean() > _GOOD_SHARE for state in states):
        states += [_refined(few, _with_unit(few, T)) for T in _fresh_starts(few)]
    best = min(states, key=lambda state: _cost(few, state))
    best = _refined(problem, best)
    inliers = _agree(problem, best)
    for _ in range(2):
        if np.count_nonzero(inliers) < _MIN_MATCHES:
            break
        best = _refined(problem.rows(inliers), best)
        inliers = _agree(problem, best)
    return _Solution(best.T, best.log_scale, inliers)


def _refined(problem: RayProblem, state: Similarity) -> Similarity:
    """Improve a similarity by damped Gauss-Newton steps, in which Huber's weights hold off what
    matches wrongly.
    """
    damping = 1e-6
    error = misses(problem, state)
    cost = huber_cost(problem, error)
    J = derivatives(problem, state)
    for _ in range(_MAX_STEPS):
        weight = huber_weights(problem, error)
        rows = (J * weight[..., None]).reshape(-1, 7)
        flat = J.reshape(-1, 7)
        A, b = rows.T @ flat, rows.T @ error.reshape(-1)
        step = np.linalg.solve(A + damping * np.diag(np.diag(A) + 1e-12), -b)
        moved = state.stepped(step)
        new_error = misses(problem, moved)
        new_cost = huber_cost(problem, new_error)
        if not new_cost < cost:
            damping = max(damping, 1e-6) * 30.0
            if damping > 1e3:
                break
            continue
        converged = cost - new_cost <= _CONVERGED * cost
        state, error, cost, damping = moved, new_error, new_cost, damping / 30.0
        if converged or cost < _NOTHING * len(error):
            break
        J = derivatives(problem, state)
    return state


def _cost(problem: RayProblem, state: Similarity) -> float:
    """Return a cost to which a wrong match adds little however wrong it is."""
    ray, _ = sizes(misses(problem, state))
    return float(problem.trust @ np.minimum(ray, _INLIER_SIGMAS))


def _agree(problem: RayProblem, state: Similarity) -> NDArray[np.bool_]:
    ray, distance = sizes(misses(problem, state))
    return np.asarray((ray < _INLIER_SIGMAS) & (distance < 2.0 * _INLIER_SIGMAS))


def _fresh_starts(problem: RayProblem) -> list[Matrix]:
    """Return starts that need no guess: a mere turn, and the best of some samples."""
    turn = np.eye(4)
    turn[:3, :3] = _turn(directions(problem.points), problem.ray, problem.trust)
    return [turn, *_sampled(problem)]


def _turn(rays_a: Matrix, rays_b: Matrix, trust: Values) -> Matrix:
    """Return the rotation that explains most directions."""
    weights = trust
    for _ in range(10):
        U, _, Vt = np.linalg.svd((rays_b * weights[:, None]).T @ rays_a)
        R = U @ np.diag([1.0, 1.0, np.linalg.det(U @ Vt)]) @ Vt
        miss = np.linalg.norm(rays_b - rays_a @ R.T, axis=1)
        weights = trust / (1.0 + (miss / max(1e-3, float(np.median(miss)))) ** 2)
    return np.asarray(R)


def _sampled(problem: RayProblem) -> list[Matrix]:
    """Return the pose, of those that three matches each tell, that most others agree with."""
    rng = np.random.default_rng(0)
    rows = rng.integers(0, len(problem.points), (_SAMPLES, 3))
    a, b = problem.points[rows], problem.other[rows]
    mean_a, mean_b = a.mean(axis=1, keepdims=True), b.mean(axis=1, keepdims=True)
    a, b = a - mean_a, b - mean_b
    spread = np.sqrt((a**2).sum(axis=(1, 2))), np.sqrt((b**2).sum(axis=(1, 2)))
    with np.errstate(divide='ignore', invalid='ignore'):
        unit = spread[0] / spread[1]  # a's length over b's
    U, _, Vt = np.linalg.svd(np.swapaxes(b, 1, 2) @ a)
    U[:, :, 2] *= np.linalg.det(U @ Vt)[:, None]
    R = U @ Vt
    t = unit[:, None] * mean_b[:, 0] - np.einsum('nij,nj->ni', R, mean_a[:, 0])
    good = np.flatnonzero(np.isfinite(t).all(axis=1))
    if not len(good):
        return []
    X = np.einsum('nij,mj->nmi', R[good], problem.points) + t[good, None]
    ray = X / np.maximum(np.linalg.norm(X, axis=2, keepdims=True), 1e-12)
    miss = np.linalg.norm(ray - problem.ray, axis=2) / problem.ray_sigma
    # Points know their place less well than their direction, so a sample is only about right.
    best = good[np.argmin(np.minimum(miss, 10.0 * _INLIER_SIGMAS).sum(axis=1))]
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = R[best], t[best]
    return [T]


def _with_unit(problem: RayProblem, T: Matrix) -> Similarity:
    """Return a start with the unit that its distances tell."""
    X = transform(T, problem.points)
    ratio = np.log(np.maximum(np.linalg.norm(X, axis=1), 1e-12)) - problem.log_distance
    return Similarity(np.asarray(T, np.float64), float(np.median(ratio)))


def _covariance(problem: RayProblem, found: _Solution) -> Matrix | None:
    """Return how sure a pose is, from how well and from where its matches agree."""
    agreeing = problem.rows(found.inliers)
    error = misses(agreeing, found)
    rows = derivatives(agreeing, found).reshape(-1, 7)
    A = rows.T @ rows
    scales = 1.0 / np.sqrt(np.maximum(np.diag(A), 1e-300))
    if not np.linalg.eigvalsh(A * scales * scales[:, None])[0] > _VAGUE:
        return None
    variance = float(np.mean(error[:, :3] ** 2)) * 1.5  # three numbers for two freedoms
    alike = max(1.0, len(error) / _INDEPENDENT)
    return np.asarray(np.linalg.inv(A)[:6, :6] * variance * alike)


def _usable(points: Matrix) -> NDArray[np.bool_]:
    """Whether points (N, 3) are some, and not at the camera itself."""
    with np.errstate(invalid='ignore', over='ignore'):
        distance = np.linalg.norm(points, axis=1)
        return np.asarray((distance > 1e-9) & (distance < 1e9))


def _spread(count: int, most: int) -> NDArray[np.intp]:
    return np.asarray(np.linspace(0, count - 1, min(count, most)).astype(np.intp))
