# SPDX-License-Identifier: Apache-2.0
"""How good a trajectory is: absolute and relative errors against the true one.

ATE compares whole poses after the two ways were brought together; RPE compares the motion over a
number of frames and knows nothing of a common place.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.alignment import Similarity, fit_similarity
from mast3r_ros.sequence.trajectory import Trajectory

Values = NDArray[np.float64]


@dataclass(frozen=True)
class Statistics:
    """What a row of errors amounts to."""

    rmse: float
    mean: float
    median: float
    std: float
    min: float
    max: float

    @classmethod
    def of(cls, values: Values) -> Statistics:
        """Return the statistics of values (N,)."""
        return cls(
            rmse=float(np.sqrt(np.mean(values**2))),
            mean=float(values.mean()),
            median=float(np.median(values)),
            std=float(values.std()),
            min=float(values.min()),
            max=float(values.max()),
        )


@dataclass(frozen=True, eq=False)
class Accuracy:
    """The errors of one trajectory, pose by pose.

    :param estimate: the poses that have a true one, brought onto it; ``truth`` their partners.
    :param alignment: what brought them there.
    :param ate_m: (N,) distance of the positions; ``ate_deg`` angle between the rotations.
    :param rpe_m: (M,) error of the motion over ``delta`` poses; ``rpe_deg`` that of the turn.
    """

    estimate: Trajectory
    truth: Trajectory
    alignment: Similarity
    delta: int
    ate_m: Values
    ate_deg: Values
    rpe_m: Values
    rpe_deg: Values

    def summary(self) -> dict[str, Statistics]:
        """Return the statistics of each kind of error."""
        kinds = ('ate_m', 'ate_deg', 'rpe_m', 'rpe_deg')
        return {kind: Statistics.of(getattr(self, kind)) for kind in kinds}


def evaluate(
    estimate: Trajectory,
    truth: Trajectory,
    *,
    with_scale: bool,
    delta: int = 1,
    tolerance_s: float = 0.02,
    offset_s: float = 0.0,
) -> Accuracy:
    """Hold a trajectory against the true one.

    :param with_scale: the alignment may change the unit of length (Sim3), else it may not (SE3).
    :param delta: over how many poses a motion is measured.
    :param tolerance_s: how far the stamps of two partners may lie apart.
    :param offset_s: added to the stamps of the estimate.
    """
    rows, partners = associate(estimate, truth, tolerance_s, offset_s)
    if len(rows) < max(3, delta + 1):
        raise InvalidInput(
            f'only {len(rows)} of {len(estimate)} poses have a true one within {tolerance_s:g} s; '
            f'at least {max(3, delta + 1)} are needed: check the stamps, or raise the tolerance'
        )
    found, true = estimate.select(rows), truth.select(partners)
    alignment = fit_similarity(found.positions, true.positions, with_scale=with_scale)
    aligned = Trajectory(found.stamps_ns, alignment.poses(found.T_world_camera))
    rpe_m, rpe_deg = _relative_errors(aligned, true, delta)
    return Accuracy(
        aligned,
        true,
        alignment,
        delta,
        np.linalg.norm(aligned.positions - true.positions, axis=1),
        angles_deg(np.swapaxes(true.rotations, 1, 2) @ aligned.rotations),
        rpe_m,
        rpe_deg,
    )


def associate(
    estimate: Trajectory, truth: Trajectory, tolerance_s: float, offset_s: float = 0.0
) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return rows of both that belong together: mutually nearest stamps within the tolerance."""
    stamps = estimate.stamps_ns + round(offset_s * 1e9)
    nearest = _nearest_rows(stamps, truth.stamps_ns)
    back = _nearest_rows(truth.stamps_ns, stamps)
    rows = np.arange(len(stamps))
    gap_ns = np.abs(truth.stamps_ns[nearest] - stamps)
    kept = (back[nearest] == rows) & (gap_ns <= round(tolerance_s * 1e9))
    return rows[kept], nearest[kept]


def angles_deg(R: NDArray[np.float64]) -> Values:
    """Return by how many degrees rotations (N, 3, 3) turn; exact for small angles too."""
    axis = np.stack(
        [R[:, 2, 1] - R[:, 1, 2], R[:, 0, 2] - R[:, 2, 0], R[:, 1, 0] - R[:, 0, 1]], axis=1
    )
    sine, cosine = np.linalg.norm(axis, axis=1), np.trace(R, axis1=1, axis2=2) - 1.0
    return np.asarray(np.degrees(np.arctan2(sine, cosine)))


def _nearest_rows(stamps: NDArray[np.int64], among: NDArray[np.int64]) -> NDArray[np.intp]:
    after = np.clip(np.searchsorted(among, stamps), 0, len(among) - 1)
    before = np.clip(after - 1, 0, None)
    is_before = np.abs(among[before] - stamps) <= np.abs(among[after] - stamps)
    return np.asarray(np.where(is_before, before, after))


def _relative_errors(found: Trajectory, true: Trajectory, delta: int) -> tuple[Values, Values]:
    motion_found, motion_true = _motions(found, delta), _motions(true, delta)
    error = np.linalg.inv(motion_true) @ motion_found
    return np.linalg.norm(error[:, :3, 3], axis=1), angles_deg(error[:, :3, :3])


def _motions(trajectory: Trajectory, delta: int) -> NDArray[np.float64]:
    poses = trajectory.T_world_camera
    return np.asarray(np.linalg.inv(poses[:-delta]) @ poses[delta:])
