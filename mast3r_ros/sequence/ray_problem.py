# SPDX-License-Identifier: Apache-2.0
"""By how much the points of one view miss what they match in another, in direction and distance,
and what turns, shifts and a change of unit do to that.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.geometry import transform

Values = NDArray[np.float64]

DISTANCE_SIGMA = 0.1
"""Relative, of how far away a point is: it errs with its neighbours."""

_HUBER = 1.345  # standard deviations from which a match counts less
_TRUST = (0.1, 10.0)  # least and most that a match may count, next to the middle one


@dataclass(frozen=True, eq=False)
class RayProblem:
    """Matched points as the steps take them."""

    points: Matrix  # of a
    other: Matrix  # of b
    ray: Matrix  # of b, of length 1
    log_distance: Values  # of b
    trust: Values  # the middle one is 1
    ray_sigma: float

    @classmethod
    def of(cls, a: Matrix, b: Matrix, weights: Values, focal_px: float) -> RayProblem:
        """Return the problem of points (N, 3) that match; weights may be in any unit."""
        trust = np.clip(weights / np.median(weights), *_TRUST)
        a, b = a.astype(np.float64), b.astype(np.float64)
        distance = np.log(np.linalg.norm(b, axis=1))
        return cls(a, b, directions(b), distance, trust, 1.0 / focal_px)

    def rows(self, kept: NDArray[np.bool_] | NDArray[np.intp]) -> RayProblem:
        """Return some of the matches."""
        return RayProblem(
            self.points[kept],
            self.other[kept],
            self.ray[kept],
            self.log_distance[kept],
            self.trust[kept],
            self.ray_sigma,
        )


@dataclass(frozen=True, eq=False)
class Similarity:
    """A similarity; ``log_scale`` is the logarithm of a's unit over b's."""

    T: Matrix
    log_scale: float

    def stepped(self, step: Values) -> Similarity:
        """Return it turned by ``step[:3]``, then shifted, and with another unit."""
        T = np.eye(4)
        R = np.asarray(cv2.Rodrigues(step[:3])[0])
        T[:3, :3], T[:3, 3] = R @ self.T[:3, :3], R @ self.T[:3, 3] + step[3:6]
        return Similarity(T, self.log_scale + float(step[6]))


def misses(problem: RayProblem, state: Similarity) -> Matrix:
    """Return what each match misses by (N, 4), in standard deviations: direction, distance."""
    distance, u = _seen(problem, state)
    error = np.empty((len(u), 4))
    error[:, :3] = (u - problem.ray) / problem.ray_sigma
    error[:, 3] = np.log(distance) - problem.log_distance - state.log_scale
    error[:, 3] /= DISTANCE_SIGMA
    return error


def derivatives(problem: RayProblem, state: Similarity) -> NDArray[np.float64]:
    """Return the derivatives (N, 4, 7) of each miss by a turn, a shift and the unit."""
    distance, u = _seen(problem, state)
    J = np.zeros((len(u), 4, 7))
    # A direction turns with the point; of a shift it feels what is across.
    J[:, 0, 1], J[:, 0, 2] = u[:, 2], -u[:, 1]
    J[:, 1, 0], J[:, 1, 2] = -u[:, 2], u[:, 0]
    J[:, 2, 0], J[:, 2, 1] = u[:, 1], -u[:, 0]
    across = np.eye(3) - u[:, :, None] * u[:, None, :]
    J[:, :3, 3:6] = across / distance[:, None, None]
    J[:, :3] /= problem.ray_sigma
    J[:, 3, 3:6] = u / distance[:, None] / DISTANCE_SIGMA  # a turn leaves the distance alone
    J[:, 3, 6] = -1.0 / DISTANCE_SIGMA
    return J


def _seen(problem: RayProblem, state: Similarity) -> tuple[Values, Matrix]:
    """Return how far (N,) and in which direction (N, 3) view b sees the points of a."""
    X = transform(state.T, problem.points)
    distance = np.maximum(np.sqrt(np.einsum('ij,ij->i', X, X)), 1e-12)
    return distance, X / distance[:, None]


def sizes(error: Matrix) -> tuple[Values, Values]:
    """Return how far directions (N,) and distances (N,) miss."""
    return np.linalg.norm(error[:, :3], axis=1), np.abs(error[:, 3])


def huber_weights(problem: RayProblem, error: Matrix) -> Matrix:
    """Return (N, 4): the trust in each match, less for what misses by far."""
    ray, distance = (_HUBER / np.maximum(size, _HUBER) for size in sizes(error))
    return np.stack([ray, ray, ray, distance], axis=1) * problem.trust[:, None]


def huber_cost(problem: RayProblem, error: Matrix) -> float:
    """Return what Huber's weights make small."""
    parts = [
        np.where(size <= _HUBER, size**2, _HUBER * (2.0 * size - _HUBER)) for size in sizes(error)
    ]
    return float(problem.trust @ (parts[0] + parts[1]))


def directions(points: Matrix) -> Matrix:
    """Return points (N, 3) at length 1."""
    return np.asarray(points / np.linalg.norm(points, axis=1, keepdims=True))
