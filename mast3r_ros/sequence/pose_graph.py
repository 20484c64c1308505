# SPDX-License-Identifier: Apache-2.0
"""A sparse graph of keyframes: what pairs of them say of each other, made to agree.

Poses are similarities: a rotation, a place and a scale. Where the unit of length is known, scales
stay fixed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.errors import EngineUnavailable

Values = NDArray[np.float64]

_STEP = 1e-6  # of numeric derivatives
_MAX_STEPS = 12
_CONVERGED = 1e-6
_TURN_SIGMA = np.radians(0.3)
_SHIFT_SIGMA = 0.02  # of the typical depth
_SCALE_SIGMA = 0.02
_HUBER = 3.0  # standard deviations, for edges that may be wrong
_HOPELESS = 30.0  # standard deviations that such an edge misses by when all else agrees


@dataclass(frozen=True, eq=False)
class Edge:
    """What one pair says.

    :param a: number of the node that depths of the pair belong to.
    :param T_a_b: takes points of b into a, in a's unit.
    :param scale_a_b: b's unit over a's: a length in b, times this, is one in a.
    :param depth: typical depth in a's unit, which translations are good to.
    :param certain: whether it follows from one frame to the next, so that it is hardly wrong.
    """

    a: int
    b: int
    T_a_b: Matrix
    scale_a_b: float = 1.0
    depth: float = 1.0
    certain: bool = True


@dataclass(frozen=True, eq=False)
class Nodes:
    """Poses in the world (N, 4, 4), and (N,) what turns each node's unit into the world's."""

    T: NDArray[np.float64]
    scale: Values

    def at(self, rows: NDArray[np.intp]) -> Nodes:
        """Return some of the nodes."""
        return Nodes(self.T[rows], self.scale[rows])

    def stepped(self, steps: Values) -> Nodes:
        """Return nodes turned where they stand, shifted and, with a 7th column, scaled."""
        T = self.T.copy()
        T[:, :3, :3] = turns(steps[:, :3]) @ T[:, :3, :3]
        T[:, :3, 3] += steps[:, 3:6]
        scale = self.scale * np.exp(steps[:, 6]) if steps.shape[1] > 6 else self.scale
        return Nodes(T, scale)


def optimise(nodes: Nodes, edges: Sequence[Edge], *, fixed_scale: bool) -> Nodes:
    """Return nodes moved so that they agree with the edges; the first stays where it is.

    Edges that may be wrong, and that agree with nothing, are left out.

    :param fixed_scale: the unit of length is known, so it is the same everywhere.
    """
    if len(nodes.scale) < 2 or not edges:
        return nodes
    moved, error = _moved(nodes, edges, fixed_scale)
    misses = np.linalg.norm(error, axis=1)
    kept = [e for e, miss in zip(edges, misses, strict=True) if e.certain or miss < _HOPELESS]
    return moved if len(kept) == len(edges) else _moved(nodes, kept, fixed_scale)[0]


def _moved(nodes: Nodes, edges: Sequence[Edge], fixed_scale: bool) -> tuple[Nodes, Values]:
    """Return the nodes that agree best with all edges, and what each edge is missed by."""
    sparse = sparse_solver()
    said = _Said.of(edges, fixed_scale)
    free = 6 if fixed_scale else 7
    damping = 1e-6
    error = said.errors(nodes.at(said.a), nodes.at(said.b))
    for _ in range(_MAX_STEPS):
        weight = np.repeat(said.weights(error), 7)
        J = _derivatives(nodes, said, error, free, sparse)
        A = (J.T.multiply(weight) @ J).tocsc()
        A = A + sparse.diags(damping * (A.diagonal() + 1e-9)).tocsc()
        step = sparse.linalg.spsolve(A, -(J.T @ (weight * error.ravel())))
        if not np.isfinite(step).all():
            break
        moved = nodes.stepped(np.vstack([np.zeros(free), step.reshape(-1, free)]))
        new_error = said.errors(moved.at(said.a), moved.at(said.b))
        gain = said.cost(error) - said.cost(new_error)
        if not gain > 0.0:
            damping *= 100.0
            if damping > 1e2:
                break
            continue
        converged = gain < _CONVERGED * said.cost(error)
        nodes, error, damping = moved, new_error, damping / 10.0
        if converged:
            break
    return nodes, error


@dataclass(frozen=True, eq=False)
class _Said:
    """All edges as arrays."""

    a: NDArray[np.intp]
    b: NDArray[np.intp]
    T: NDArray[np.float64]
    log_scale: Values
    shift_sigma: Values
    certain: NDArray[np.bool_]

    @classmethod
    def of(cls, edges: Sequence[Edge], fixed_scale: bool) -> _Said:
        scales = [1.0 if fixed_scale else edge.scale_a_b for edge in edges]
        return cls(
            np.array([edge.a for edge in edges]),
            np.array([edge.b for edge in edges]),
            np.stack([edge.T_a_b for edge in edges]),
            np.log(scales),
            _SHIFT_SIGMA * np.array([edge.depth for edge in edges]),
            np.array([edge.certain for edge in edges]),
        )

    def errors(self, a: Nodes, b: Nodes) -> Values:
        """Return by how many standard deviations (E, 7) nodes miss what the edges say."""
        back = np.swapaxes(a.T[:, :3, :3], 1, 2)
        R = back @ b.T[:, :3, :3]
        gap = (b.T[:, :3, 3] - a.T[:, :3, 3])[..., None]
        t = (back @ gap)[..., 0] / a.scale[:, None]
        error = np.empty((len(self.a), 7))
        error[:, :3] = axes_of(np.swapaxes(self.T[:, :3, :3], 1, 2) @ R) / _TURN_SIGMA
        error[:, 3:6] = (t - self.T[:, :3, 3]) / self.shift_sigma[:, None]
        error[:, 6] = (np.log(b.scale / a.scale) - self.log_scale) / _SCALE_SIGMA
        return error

    def weights(self, error: Values) -> Values:
        """Return how much each edge counts."""
        size = np.linalg.norm(error, axis=1)
        full = self.certain | (size <= _HUBER)
        return np.where(full, 1.0, _HUBER / np.maximum(size, 1e-12))

    def cost(self, error: Values) -> float:
        """Return what the steps make small."""
        size = np.linalg.norm(error, axis=1)
        full = self.certain | (size <= _HUBER)
        return float(np.where(full, size**2, _HUBER * (2.0 * size - _HUBER)).sum())


def _derivatives(nodes: Nodes, said: _Said, error: Values, free: int, sparse: Any) -> Any:
    """Return the sparse derivatives of all errors by all steps; node 0 has none."""
    a, b = nodes.at(said.a), nodes.at(said.b)
    rows, columns, values = [], [], []
    for axis in range(free):
        small = np.zeros((len(said.a), free))
        small[:, axis] = _STEP
        for number, moved in (
            (said.a, said.errors(a.stepped(small), b)),
            (said.b, said.errors(a, b.stepped(small))),
        ):
            counts = np.flatnonzero(number > 0)
            rows.append((7 * counts[:, None] + np.arange(7)).ravel())
            columns.append(np.repeat((number[counts] - 1) * free + axis, 7))
            values.append(((moved - error)[counts] / _STEP).ravel())
    shape = (7 * len(said.a), free * (len(nodes.scale) - 1))
    entries = (np.concatenate(values), (np.concatenate(rows), np.concatenate(columns)))
    return sparse.coo_matrix(entries, shape=shape).tocsr()


def turns(axes: Values) -> NDArray[np.float64]:
    """Return rotations (N, 3, 3) about axes (N, 3) by their length in radians."""
    angle = np.linalg.norm(axes, axis=1)[:, None, None]
    K = np.zeros((len(axes), 3, 3))
    K[:, 0, 1], K[:, 0, 2], K[:, 1, 2] = -axes[:, 2], axes[:, 1], -axes[:, 0]
    K -= np.swapaxes(K, 1, 2)
    sine = np.sinc(angle / np.pi)
    versine = 0.5 * np.sinc(angle / (2.0 * np.pi)) ** 2
    return np.asarray(np.eye(3) + sine * K + versine * (K @ K))


def axes_of(R: NDArray[np.float64]) -> Values:
    """Return the axes (N, 3) that rotations turn about, as long as their angle in radians."""
    axis = 0.5 * np.stack(
        [R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], axis=1
    )
    sine = np.linalg.norm(axis, axis=1)
    angle = np.arctan2(sine, 0.5 * (np.trace(R, axis1=1, axis2=2) - 1.0))
    return np.asarray(axis * (angle / np.maximum(sine, 1e-12))[:, None])


def sparse_solver() -> Any:
    """Return SciPy's sparse half; raise when it is not installed."""
    try:
        import scipy.sparse
        import scipy.sparse.linalg
    except ImportError as error:
        raise EngineUnavailable(
            'closing loops needs SciPy: pip install "mast3r_ros[sequence]" (or set '
            'sequence.loop_edges to 0)'
        ) from error
    return scipy.sparse
