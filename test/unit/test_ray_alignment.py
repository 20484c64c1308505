# SPDX-License-Identifier: Apache-2.0
"""The similarity between two clouds by directions and distances: exact where points are, right
among wrong matches, and a reason instead of an exception where there is none.
"""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from mast3r_ros.core.geometry import transform
from mast3r_ros.sequence.accuracy import angles_deg
from mast3r_ros.sequence.ray_alignment import align_rays
from mast3r_ros.sequence.ray_problem import RayProblem, Similarity, derivatives, misses

FOCAL_PX = 280.0


def pose(turn_deg=(2.0, -4.0, 1.0), shift=(0.1, -0.05, 0.15)) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = cv2.Rodrigues(np.radians(turn_deg))[0], shift
    return T


def seen(rng, count):
    """Return points of a picture 320 wide, 1.5 to 6 away."""
    uv = rng.uniform((-160, -120), (160, 120), (count, 2))
    rays = np.column_stack([uv / FOCAL_PX, np.ones(count)])
    return rays * rng.uniform(1.5, 6.0, (count, 1))


def clouds(T, scale=1.0, count=800, noise_px=0.0, wrong=0.0, depth_error=0.0, seed=0):
    """Return matched points of two views; ``scale`` is the first one's unit over the second's."""
    rng = np.random.default_rng(seed)
    a = seen(rng, count)
    b = transform(T, a)
    b[:, :2] += b[:, 2:] * noise_px / FOCAL_PX * rng.standard_normal((count, 2))
    b *= np.exp(depth_error * rng.standard_normal((count, 1)))
    lost = rng.random(count) < wrong
    b[lost] = seen(rng, int(lost.sum()))
    return a, b / scale, ~lost


def found_for(T, scale=1.0, confidence=None, **options):
    a, b, right = clouds(T, scale, **options)
    return align_rays(a, b, confidence, FOCAL_PX), right


def off(found, T):
    assert found.reason == ''
    angle = angles_deg((found.T_b_a[:3, :3].T @ T[:3, :3])[None])[0]
    return angle, np.linalg.norm(found.T_b_a[:3, 3] - T[:3, 3])


TURNS = [
    (0.0, 0.0, 0.0),
    (2.0, -4.0, 1.0),
    (5.0, 40.0, -20.0),
    (0.0, 0.0, 90.0),
    (10.0, 20.0, 170.0),
]


@pytest.mark.parametrize('scale', [0.01, 1.0, 300.0])
@pytest.mark.parametrize('turn_deg', TURNS, ids=str)
def test_perfect_points_give_the_exact_similarity(turn_deg, scale):
    T = pose(turn_deg)
    found, _ = found_for(T, scale)
    angle, shift = off(found, T)
    assert angle < 1e-4
    assert shift < 1e-6
    assert found.scale == pytest.approx(scale, rel=1e-6)
    assert found.inliers.all()


@pytest.mark.parametrize('turn_deg', TURNS, ids=str)
def test_a_third_of_wrong_matches_changes_nothing(turn_deg):
    T = pose(turn_deg, (0.4, -0.2, 0.3))
    found, right = found_for(T, 3.0, wrong=0.3)
    angle, shift = off(found, T)
    assert angle < 0.02
    assert shift < 0.002
    assert found.scale == pytest.approx(3.0, rel=1e-3)
    assert found.inliers[right].all()
    assert found.inliers[~right].mean() < 0.05


def test_noise_and_wrong_matches_together_do_little_harm():
    T = pose()
    misses = [
        off(found_for(T, count=1500, noise_px=1.0, wrong=0.3, depth_error=0.03, seed=seed)[0], T)
        for seed in range(4)
    ]
    angle, shift = np.mean(misses, axis=0)
    assert angle < 0.05
    assert shift < 0.003


def test_a_mere_turn_does_not_run_off():
    T = pose(shift=(0.0, 0.0, 0.0))
    found, _ = found_for(T, 2.0, noise_px=0.5, depth_error=0.03)
    angle, shift = off(found, T)
    assert angle < 0.1
    assert shift < 0.01
    assert found.scale == pytest.approx(2.0, rel=0.01)


def test_a_start_leads_there_and_a_useless_one_does_no_harm():
    T = pose((0.0, 30.0, 0.0), (0.5, 0.0, 0.2))
    a, b, _ = clouds(T, noise_px=0.5, wrong=0.3)
    for start in (T, pose((0.0, 100.0, 0.0), (9.0, 9.0, 9.0)), np.full((4, 4), np.nan)):
        angle, shift = off(align_rays(a, b, None, FOCAL_PX, (start,)), T)
        assert angle < 0.1
        assert shift < 0.01


def test_matches_of_little_confidence_count_little():
    T = pose()
    a, b, _ = clouds(T, noise_px=0.5)
    vague = np.arange(len(a)) % 2 == 0
    b[vague] *= [1.01, 1.0, 1.0]  # a bend that is small enough to be believed
    errors = [
        off(align_rays(a, b, confidence, FOCAL_PX), T)
        for confidence in (None, np.where(vague, 0.1, 10.0))
    ]
    assert errors[1][1] < 0.5 * errors[0][1]


def test_the_derivatives_are_those_of_the_misses():
    a, b, _ = clouds(pose(), 2.0, count=20, noise_px=5.0)
    problem = RayProblem.of(a, b, np.ones(20), FOCAL_PX)
    state = Similarity(pose((1.0, 2.0, 3.0)), 0.4)
    J = derivatives(problem, state)
    for axis in range(7):
        step = np.zeros(7)
        step[axis] = 1e-6
        ahead, behind = (misses(problem, state.stepped(sign * step)) for sign in (1.0, -1.0))
        np.testing.assert_allclose(J[:, :, axis], (ahead - behind) / 2e-6, rtol=1e-4, atol=1e-4)


def test_a_pose_is_about_as_sure_as_it_says():
    T, surprises = pose(), []
    for seed in range(30):
        found, _ = found_for(T, count=100, noise_px=1.0, depth_error=0.02, seed=seed)
        gap = found.T_b_a @ np.linalg.inv(T)
        turn = cv2.Rodrigues(gap[:3, :3])[0].ravel()
        miss = np.concatenate([turn, found.T_b_a[:3, 3] - gap[:3, :3] @ T[:3, 3]])
        surprises.append(miss @ np.linalg.solve(found.covariance, miss))
    assert 2.0 < np.mean(surprises) < 18.0  # 6 numbers make 6 on average


WRONG = {
    'no matches': (np.empty((0, 3)), np.empty((0, 3)), '0 matches have points'),
    'too few': (np.ones((15, 3)), np.ones((15, 3)), '15 matches have points'),
    'not as many': (np.ones((100, 3)), np.ones((99, 3)), 'do not belong together'),
    'no points': (np.ones((100, 2)), np.ones((100, 2)), 'do not belong together'),
    'nothing known': (np.full((100, 3), np.nan), np.ones((100, 3)), '0 matches have points'),
    'infinite': (np.ones((100, 3)), np.full((100, 3), np.inf), '0 matches have points'),
    'at the camera': (np.zeros((100, 3)), np.ones((100, 3)), '0 matches have points'),
    'one place': (np.tile([0.1, 0.2, 2.0], (100, 1)),) * 2 + ('in one place or on one line',),
    'on a line': (
        np.column_stack([np.linspace(-1, 1, 100), np.zeros(100), np.full(100, 2.0)]),
    ) * 2 + ('in one place or on one line',),
}  # fmt: skip


@pytest.mark.parametrize('case', WRONG)
def test_what_fixes_no_pose_is_said_and_never_raised(case):
    a, b, words = WRONG[case]
    found = align_rays(a, b, None, FOCAL_PX)
    assert words in found.reason
    assert found.T_b_a is None
    assert found.share == 0.0


def test_points_that_have_nothing_to_do_with_each_other_are_no_pose_or_one_of_few():
    rng = np.random.default_rng(0)
    found = align_rays(seen(rng, 500), seen(rng, 500), None, FOCAL_PX)
    assert found.reason or found.share < 0.1


def test_confidence_that_is_none_leaves_its_matches_out():
    a, b, _ = clouds(pose())
    confidence = np.ones(len(a))
    confidence[:100], confidence[100:200] = np.nan, 0.0
    found = align_rays(a, b, confidence, FOCAL_PX)
    assert not found.inliers[:200].any()
    assert found.inliers[200:].all()
