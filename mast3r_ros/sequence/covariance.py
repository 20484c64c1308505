# SPDX-License-Identifier: Apache-2.0
"""How sure a pose is, in the order that ROS uses: position, then turn about the world's axes.

It grows from keyframe to keyframe. What loops take back of it is not counted.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.sequence.pair_fit import PairFit

Covariance = NDArray[np.float64]  # (6, 6)


def covariance_of(fit: PairFit) -> Covariance | None:
    """Return the covariance of a frame's pose in the world; None where the solver tells none."""
    if fit.covariance is None:
        return None
    keyframe, T_keyframe_camera = fit.keyframe, fit.T_keyframe_camera
    R_world_keyframe = keyframe.T_world_camera[:3, :3]
    R_world_camera = R_world_keyframe @ T_keyframe_camera[:3, :3]
    step = _turned(fit.covariance, R_world_camera, keyframe.scale)
    lever = R_world_keyframe @ T_keyframe_camera[:3, 3] * keyframe.scale
    return _after(keyframe.covariance, step, lever)


def _turned(solved: Covariance, R_world_camera: Matrix, unit: float) -> Covariance:
    """Return the covariance in the world of a turn and a shift in the camera's axes.

    :param unit: the world's over the solver's.
    """
    turned = np.zeros((6, 6))
    turned[:3, 3:] = R_world_camera * unit
    turned[3:, :3] = R_world_camera
    return np.asarray(turned @ solved @ turned.T)


def _after(before: Covariance, step: Covariance, lever: Matrix) -> Covariance:
    """Return the covariance of a pose that is known by a step from another.

    :param lever: from the other pose's place to this one, in the world.
    """
    x, y, z = lever
    carried = np.eye(6)
    carried[:3, 3:] = [[0.0, z, -y], [-z, 0.0, x], [y, -x, 0.0]]  # a turn there is a shift here
    return np.asarray(carried @ before @ carried.T + step)
