# SPDX-License-Identifier: Apache-2.0
"""A first guess of a motion, by whichever library is there."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform
from mast3r_ros.engines.geometric import sampling
from mast3r_ros.engines.geometric.pose import find_relative_pose
from mast3r_ros.engines.geometric.sampling import by_opencv, by_poselib, sampled_motion

CAMERA = Camera.pinhole(320, 240, 280.0, 280.0, 159.5, 119.5)
T = np.eye(4)
T[:3, :3] = [[0.8, -0.6, 0.0], [0.6, 0.8, 0.0], [0.0, 0.0, 1.0]]
T[:3, 3] = 0.1, -0.05, 0.15


def matches(wrong: float = 0.3, count: int = 600) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    rays = CAMERA.unproject(rng.uniform((5, 5), (315, 235), (count, 2)))
    other = CAMERA.project(transform(T, rays * rng.uniform(1.5, 6.0, (count, 1))))
    other += 0.3 * rng.standard_normal(other.shape)
    lost = rng.random(count) < wrong
    other[lost] = rng.uniform((0, 0), (320, 240), (int(lost.sum()), 2))
    return rays, CAMERA.unproject(other)


def angle_deg(R: np.ndarray) -> float:
    cosine = (np.trace(R.T @ T[:3, :3]) - 1.0) / 2.0
    return float(np.degrees(np.arccos(np.clip(cosine, -1.0, 1.0))))


@pytest.fixture(params=['poselib', 'opencv'])
def library(request, monkeypatch):
    """Sampling with this library."""
    found = pytest.importorskip('poselib') if request.param == 'poselib' else None
    monkeypatch.setattr(sampling, 'poselib', lambda: found)


@pytest.mark.usefixtures('library')
def test_the_motion_is_found_among_wrong_matches():
    found = find_relative_pose(*matches(), CAMERA.fx)
    assert found is not None
    assert angle_deg(found.R) < 0.3
    direction = T[:3, 3] / np.linalg.norm(T[:3, 3])
    assert found.t @ direction > np.cos(np.radians(5.0))


@pytest.mark.usefixtures('library')
def test_equal_matches_give_equal_guesses():
    first, second = (sampled_motion(*matches(), CAMERA.fx) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one[0], other[0])
        np.testing.assert_array_equal(one[1], other[1])


@pytest.mark.usefixtures('library')
@pytest.mark.parametrize('kind', ['one point', 'on one line', 'nothing moved'])
def test_degenerate_matches_are_no_accident(kind):
    rays, _ = matches()
    if kind == 'one point':
        rays = np.repeat(rays[:1], 50, axis=0)
    elif kind == 'on one line':
        rays = rays.copy()
        rays[:, 1] = 0.0
    for R, t in sampled_motion(rays, rays, CAMERA.fx):
        assert np.isfinite(R).all()
        assert np.isfinite(t).all()


def test_both_libraries_agree_on_clean_matches():
    library = pytest.importorskip('poselib')
    rays_1, rays_2 = matches(wrong=0.0)
    points = rays_1[:, :2] * CAMERA.fx, rays_2[:, :2] * CAMERA.fx
    ((R, _),) = by_poselib(library, *points, CAMERA.fx)
    assert angle_deg(R) < 0.3
    assert by_opencv(*points, CAMERA.fx)
