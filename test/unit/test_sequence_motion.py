# SPDX-License-Identifier: Apache-2.0
"""The pose of one view to another, from matches and depth made of a known one."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform
from mast3r_ros.sequence.accuracy import angles_deg
from mast3r_ros.sequence.motion import MAX_MATCHES, find_motion, thinned

CAMERA = Camera.pinhole(320, 240, 280.0, 280.0, 159.5, 119.5)


def pose(turn_deg=(2.0, -4.0, 1.0), shift=(0.1, -0.05, 0.15)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.radians(turn_deg))[0], shift
    return T


def matches(T, count=600, noise_px=0.0, wrong=0.0, depth_error=0.0, seed=0):
    """Return rays of both views and the depth of the first, for points before both."""
    rng = np.random.default_rng(seed)
    uv = rng.uniform((5, 5), (315, 235), (count, 2))
    depth = rng.uniform(1.5, 6.0, count)
    rays_a = CAMERA.unproject(uv)
    other = CAMERA.project(transform(T, rays_a * depth[:, None]))
    other += noise_px * rng.standard_normal(other.shape)
    lost = rng.random(count) < wrong
    other[lost] = rng.uniform((0, 0), (320, 240), (int(lost.sum()), 2))
    known = depth * np.exp(depth_error * rng.standard_normal(count))
    return rays_a, CAMERA.unproject(other), known


def misses(found, T):
    angle = angles_deg((found.T_b_a[:3, :3].T @ T[:3, :3])[None])[0]
    return angle, np.linalg.norm(found.T_b_a[:3, 3] - T[:3, 3])


def test_perfect_matches_give_the_exact_pose():
    T = pose()
    found = find_motion(*matches(T), CAMERA.fx)
    angle, shift = misses(found, T)
    assert angle < 1e-4
    assert shift < 1e-5
    assert found.has_length
    assert found.share == 1.0


def test_a_third_of_wrong_matches_and_noise_do_no_harm():
    T = pose()
    found = find_motion(*matches(T, 1500, 1.0, 0.33, 0.03), CAMERA.fx)
    angle, shift = misses(found, T)
    assert angle < 0.1
    assert shift < 0.005
    assert found.share == pytest.approx(0.67, abs=0.04)


def test_a_good_start_leads_where_none_leads():
    T = pose()
    data = matches(T, 1500, 0.5, 0.2, 0.02)
    near = find_motion(*data, CAMERA.fx, (pose((1.0, -3.0, 0.5), (0.0, 0.0, 0.1)),))
    far = find_motion(*data, CAMERA.fx)
    np.testing.assert_allclose(near.T_b_a, far.T_b_a, atol=1e-3)


def test_a_useless_start_does_no_harm():
    T = pose()
    found = find_motion(*matches(T), CAMERA.fx, (pose((0.0, 90.0, 0.0), (5.0, 5.0, 5.0)),))
    assert misses(found, T)[0] < 1e-3


def test_a_large_turn_is_found_without_a_start():
    T = pose((5.0, 30.0, -20.0), (0.5, 0.2, 0.1))
    found = find_motion(*matches(T, 800, 0.5, 0.1), CAMERA.fx)
    assert misses(found, T)[0] < 0.2


def test_depth_tells_the_length_in_its_own_unit():
    T = pose()
    rays_a, rays_b, depth = matches(T)
    found = find_motion(rays_a, rays_b, 7.0 * depth, CAMERA.fx)
    np.testing.assert_allclose(found.T_b_a[:3, 3], 7.0 * T[:3, 3], rtol=1e-4)


def test_depth_steadies_a_small_step_of_which_matches_alone_tell_little():
    T = pose((0.2, -0.3, 0.1), (0.02, 0.0, 0.01))  # about 2 px of parallax
    errors = [
        misses(find_motion(*matches(T, 1000, 1.0, 0.1, 0.03, seed), CAMERA.fx), T)
        for seed in range(8)
    ]
    angle, shift = np.mean(errors, axis=0)
    assert angle < 0.03  # 0.039 and 0.0029 without the depth
    assert shift < 0.002


def test_a_poor_depth_does_not_spoil_a_large_step():
    T = pose((2.0, -10.0, 4.0), (1.0, 0.2, -0.4))
    errors = [
        misses(find_motion(*matches(T, 1000, 1.0, 0.1, 0.1, seed), CAMERA.fx), T)
        for seed in range(8)
    ]
    angle, shift = np.mean(errors, axis=0)
    assert angle < 0.1  # 0.63 and 0.058 where the depth is trusted
    assert shift < 0.02


def test_a_mere_turn_has_no_length_and_no_parallax():
    T = pose(shift=(0.0, 0.0, 0.0))
    found = find_motion(*matches(T, 1000, 0.3), CAMERA.fx)
    angle, shift = misses(found, T)
    assert angle < 0.1
    assert shift < 0.01
    assert found.parallax_px < 1.0


def test_without_depth_the_direction_is_found_and_said_to_have_no_length():
    T = pose()
    rays_a, rays_b, _ = matches(T, 800, 0.3)
    found = find_motion(rays_a, rays_b, np.full(800, np.nan), CAMERA.fx)
    assert not found.has_length
    direction = T[:3, 3] / np.linalg.norm(T[:3, 3])
    assert found.T_b_a[:3, 3] @ direction > 0.99


@pytest.mark.parametrize('case', ['none', 'one place', 'on a line', 'random', 'infinite depth'])
def test_degenerate_matches_never_raise(case):
    rng = np.random.default_rng(0)
    rays = {
        'none': np.empty((0, 3)),
        'one place': np.tile([0.1, 0.2, 1.0], (100, 1)),
        'on a line': np.column_stack([np.linspace(-1, 1, 100), np.zeros(100), np.ones(100)]),
        'random': np.column_stack([rng.uniform(-1, 1, (100, 2)), np.ones(100)]),
        'infinite depth': np.column_stack([rng.uniform(-1, 1, (100, 2)), np.ones(100)]),
    }[case]
    other = rng.permutation(rays)
    depth = np.full(len(rays), np.inf if case == 'infinite depth' else 2.0)
    found = find_motion(rays, other, depth, CAMERA.fx)
    assert found is None or np.isfinite(found.T_b_a).all()


def test_thinning_keeps_matches_from_everywhere():
    assert thinned(10).tolist() == list(range(10))
    rows = thinned(100_000)
    assert len(rows) == MAX_MATCHES
    assert rows[0] == 0
    assert rows[-1] == 99_999


def surprise(T, seed):
    """Return how far off a pose is, as squared standard deviations of what it claims."""
    found = find_motion(*matches(T, count=100, noise_px=1.0, seed=seed), CAMERA.fx)
    off = found.T_b_a @ np.linalg.inv(T)
    turn = cv2.Rodrigues(off[:3, :3])[0].ravel()
    miss = np.concatenate([turn, found.T_b_a[:3, 3] - off[:3, :3] @ T[:3, 3]])
    return miss @ np.linalg.solve(found.covariance, miss)


def test_a_pose_is_as_sure_as_it_says():
    mean = np.mean([surprise(pose(), seed) for seed in range(60)])
    assert 4.0 < mean < 10.0  # 6 numbers make 6 on average


def test_more_matches_of_one_place_make_a_pose_little_surer():
    few, many = (
        find_motion(*matches(pose(), count=count, noise_px=1.0), CAMERA.fx).covariance
        for count in (100, 1500)
    )
    assert np.trace(many) > 0.5 * np.trace(few)


def test_a_pose_without_length_claims_no_certainty():
    rays_a, rays_b, depth = matches(pose())
    found = find_motion(rays_a, rays_b, np.full_like(depth, np.nan), CAMERA.fx)
    assert found.covariance is None
