# SPDX-License-Identifier: Apache-2.0
"""Quaternions and rotations are each other's inverse, at every angle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.core.rotations import quaternion_of, rotation_of

PARTS = st.tuples(*[st.floats(-1, 1)] * 4).filter(lambda q: np.linalg.norm(q) > 0.1)


@given(PARTS)
def test_rotation_to_quaternion_and_back_is_the_same_rotation(parts: tuple[float, ...]) -> None:
    R = rotation_of(np.array(parts))
    np.testing.assert_allclose(rotation_of(quaternion_of(R)), R, atol=1e-12)
    assert quaternion_of(R)[3] >= 0.0


@given(PARTS)
def test_rotation_of_any_quaternion_is_rigid(parts: tuple[float, ...]) -> None:
    R = rotation_of(np.array(parts))
    np.testing.assert_allclose(R @ R.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(R) == pytest.approx(1.0)


def test_quarter_turn_about_z_is_known() -> None:
    R = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    np.testing.assert_allclose(quaternion_of(R), [0, 0, 0.5**0.5, 0.5**0.5], atol=1e-12)


@pytest.mark.parametrize('axis', [0, 1, 2])
def test_half_turn_is_known(axis: int) -> None:
    R = -np.eye(3)
    R[axis, axis] = 1.0
    expected = np.zeros(4)
    expected[axis] = 1.0
    np.testing.assert_allclose(np.abs(quaternion_of(R)), expected, atol=1e-12)
