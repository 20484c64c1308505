# SPDX-License-Identifier: Apache-2.0
"""A camera's way: stamps and poses, read from and written to TUM files.

A TUM file has one line a pose, ``t x y z qx qy qz qw``: seconds, metres, and the quaternion of the
rotation from the camera into the world, its real part last.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.rotations import quaternion_of, rotation_of
from mast3r_ros.errors import InvalidInput

_NUMBERS = 8  # in a line


@dataclass(frozen=True, eq=False)
class Trajectory:
    """Poses of a camera, in the order of time.

    :param stamps_ns: (N,) nanoseconds, rising.
    :param T_world_camera: (N, 4, 4) take points of the camera into the world.
    """

    stamps_ns: NDArray[np.int64]
    T_world_camera: NDArray[np.float64]

    def __post_init__(self) -> None:
        poses = self.T_world_camera
        if poses.shape != (len(self.stamps_ns), 4, 4):
            raise InvalidInput(
                f'a trajectory has {len(self.stamps_ns)} stamps and poses of shape {poses.shape}; '
                'give one 4x4 matrix a stamp'
            )
        if not np.isfinite(poses).all():
            raise InvalidInput('a trajectory holds a pose that is no number; leave such poses out')
        if len(self) > 1 and np.diff(self.stamps_ns).min() <= 0:
            raise InvalidInput('the stamps of a trajectory must rise from pose to pose')

    @classmethod
    def of(cls, stamps_ns: Iterable[int], poses: Sequence[Matrix]) -> Trajectory:
        """Return the trajectory of single poses, put in order of time."""
        stamps = np.array(list(stamps_ns), np.int64)
        order = np.argsort(stamps, kind='stable')
        return cls(stamps[order], np.asarray(poses, np.float64).reshape(-1, 4, 4)[order])

    def __len__(self) -> int:
        return len(self.stamps_ns)

    @property
    def positions(self) -> NDArray[np.float64]:
        """(N, 3) where the camera stands in the world."""
        return self.T_world_camera[:, :3, 3]

    @property
    def rotations(self) -> NDArray[np.float64]:
        """(N, 3, 3) of the camera into the world."""
        return self.T_world_camera[:, :3, :3]

    @property
    def length(self) -> float:
        """Length of the path, in the unit of the positions."""
        return float(np.linalg.norm(np.diff(self.positions, axis=0), axis=1).sum())

    def select(self, rows: NDArray[np.integer]) -> Trajectory:
        """Return the poses of some rows."""
        return Trajectory(self.stamps_ns[rows], self.T_world_camera[rows])


def read_tum(path: str | Path, *, quaternion_first: bool = False) -> Trajectory:
    """Return the trajectory of a TUM file; lines that begin with # are comments.

    :param quaternion_first: the real part comes first (``qw qx qy qz``), as MonST3R writes it.
    """
    try:
        text = Path(path).read_text(encoding='utf-8')
    except OSError as error:
        raise InvalidInput(f'cannot read the trajectory {path}: {error.strerror}') from error
    except UnicodeDecodeError as error:
        raise InvalidInput(f'{path} is no text file, so it is no trajectory') from error
    stamps, poses = [], []
    for number, line in enumerate(text.splitlines(), 1):
        words = line.replace(',', ' ').split()
        if not words or words[0].startswith('#'):
            continue
        stamp_ns, pose = _read_line(f'{path}, line {number}', words, quaternion_first)
        stamps.append(stamp_ns)
        poses.append(pose)
    if not poses:
        raise InvalidInput(f'{path} holds no pose; each line is t x y z qx qy qz qw')
    if len(set(stamps)) < len(stamps):
        raise InvalidInput(f'{path} holds the same stamp twice; each pose needs its own')
    return Trajectory.of(stamps, poses)


def write_tum(path: str | Path, trajectory: Trajectory) -> None:
    """Write a TUM file; stamps keep every nanosecond."""
    rows = zip(trajectory.stamps_ns.tolist(), trajectory.T_world_camera, strict=True)
    lines = ''.join(tum_line(stamp_ns, pose) for stamp_ns, pose in rows)
    Path(path).write_text(lines, encoding='ascii')


def tum_line(stamp_ns: int, T_world_camera: Matrix) -> str:
    """Return one line of a TUM file."""
    numbers = [*T_world_camera[:3, 3], *quaternion_of(T_world_camera[:3, :3])]
    sign, whole = '-' if stamp_ns < 0 else '', abs(int(stamp_ns))
    stamp = f'{sign}{whole // 10**9}.{whole % 10**9:09d}'
    return ' '.join([stamp, *(f'{value:.9f}' for value in numbers)]) + '\n'


def _read_line(place: str, words: list[str], quaternion_first: bool) -> tuple[int, Matrix]:
    if len(words) != _NUMBERS:
        raise InvalidInput(
            f'{place} has {len(words)} numbers; a TUM line has 8: t x y z qx qy qz qw'
        )
    try:
        stamp_ns = int(Decimal(words[0]).scaleb(9).to_integral_value())  # a float loses digits
        values = np.array([float(word) for word in words[1:]])
    except (ValueError, OverflowError, InvalidOperation) as error:
        raise InvalidInput(f'{place} holds a word that is no number: {" ".join(words)}') from error
    quaternion = np.roll(values[3:], -1) if quaternion_first else values[3:]
    length = float(np.linalg.norm(quaternion))
    if not np.isfinite(values).all() or not 0.9 < length < 1.1:
        raise InvalidInput(
            f'{place} holds no pose: its quaternion has length {length:g}; it must be 1'
        )
    pose = np.eye(4)
    pose[:3, :3], pose[:3, 3] = rotation_of(quaternion), values[:3]
    return stamp_ns, pose
