# SPDX-License-Identifier: Apache-2.0
"""Keyframes that disagree are brought to agree, and a wrong edge does not pull them apart."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('scipy')

from mast3r_ros.sequence.pose_graph import Edge, Nodes, axes_of, optimise, turns


def ring(count=24, radius=3.0):
    """Return poses of cameras that look outwards on a ring."""
    angles = 2.0 * np.pi * np.arange(count) / count
    T = np.tile(np.eye(4), (count, 1, 1))
    T[:, :3, :3] = turns(np.stack([0 * angles, angles, 0 * angles], axis=1))
    T[:, :3, 3] = radius * np.stack([np.sin(angles), 0.2 * np.sin(angles), np.cos(angles)], 1)
    return T


def edge(T, a, b, *, factor=1.0, certain=True, wrong=None):
    T_a_b = np.linalg.inv(T[a]) @ T[b]
    if wrong is not None:
        T_a_b = wrong @ T_a_b
    T_a_b[:3, 3] *= factor
    return Edge(a, b, T_a_b, certain=certain, depth=2.0)


def drifted(T, slip):
    """Return poses chained from edges that each are off by the same."""
    poses = [T[0]]
    for a in range(len(T) - 1):
        poses.append(poses[-1] @ np.linalg.inv(T[a]) @ T[a + 1] @ slip)
    return np.stack(poses)


def slip(turn_deg=0.5, shift=0.02):
    S = np.eye(4)
    S[:3, :3] = turns(np.radians([[turn_deg, 0.0, 0.3 * turn_deg]]))[0]
    S[:3, 3] = shift, -shift, 0.5 * shift
    return S


def worst(T, true):
    return np.linalg.norm(T[:, :3, 3] - true[:, :3, 3], axis=1).max()


def test_rotations_and_axes_are_each_other_s_inverse():
    axes = np.random.default_rng(0).normal(0.0, 1.0, (50, 3))
    axes[0], axes[1] = 0.0, 1e-9
    np.testing.assert_allclose(axes_of(turns(axes)), axes, atol=1e-9)


def test_a_closed_loop_takes_the_drift_away():
    true = ring()
    chain = drifted(true, slip())
    edges = [edge(chain, a, a + 1) for a in range(len(true) - 1)]
    edges += [edge(true, 0, len(true) - 1, certain=False)]
    start = Nodes(chain, np.ones(len(true)))
    found = optimise(start, edges, fixed_scale=True)
    assert worst(found.T[-1:], true[-1:]) < 0.2 * worst(chain[-1:], true[-1:])
    assert worst(found.T, true) < worst(chain, true)
    np.testing.assert_array_equal(found.T[0], chain[0])
    np.testing.assert_array_equal(found.scale, 1.0)


def test_edges_that_agree_with_the_truth_give_it_back():
    true = ring()
    edges = [edge(true, a, a + 1) for a in range(len(true) - 1)] + [edge(true, 0, 12)]
    found = optimise(Nodes(drifted(true, slip()), np.ones(24)), edges, fixed_scale=True)
    assert worst(found.T, true) < 1e-4


def test_a_drift_of_scale_is_found_where_the_unit_is_not_known():
    true = ring()
    scales = 0.97 ** np.arange(len(true))
    edges = [
        Edge(a, b, edge(true, a, b, factor=1.0 / scales[a]).T_a_b, scales[b] / scales[a], 2.0)
        for a, b in [*((n, n + 1) for n in range(len(true) - 1)), (0, 23), (3, 17)]
    ]
    found = optimise(Nodes(drifted(true, slip()), np.ones(24)), edges, fixed_scale=False)
    np.testing.assert_allclose(found.scale, scales, rtol=1e-3)
    assert worst(found.T, true) < 1e-3


def test_a_wrong_loop_pulls_little():
    true = ring()
    edges = [edge(true, a, a + 1) for a in range(len(true) - 1)]
    edges += [edge(true, a, a + 3, certain=False) for a in range(0, 20, 3)]
    wrong = slip(60.0, 2.0)
    trusted = [*edges, edge(true, 2, 20, wrong=wrong)]
    doubted = [*edges, edge(true, 2, 20, wrong=wrong, certain=False)]
    start = Nodes(drifted(true, slip(0.1, 0.005)), np.ones(24))
    pulled = worst(optimise(start, trusted, fixed_scale=True).T, true)
    found = worst(optimise(start, doubted, fixed_scale=True).T, true)
    assert found < 0.2 * pulled
    assert found < 0.5 * worst(start.T, true)


def test_two_hundred_keyframes_are_made_to_agree():
    true = ring(200, 20.0)
    chain = drifted(true, slip(0.05, 0.002))
    edges = [edge(chain, a, a + 1) for a in range(199)]
    edges += [edge(true, a, 199 - a, certain=False) for a in range(0, 20, 2)]
    found = optimise(Nodes(chain, np.ones(200)), edges, fixed_scale=False)
    assert np.isfinite(found.T).all()
    assert worst(found.T, true) < worst(chain, true)


def test_nothing_to_do_changes_nothing():
    lonely = Nodes(ring(1), np.ones(1))
    assert optimise(lonely, [], fixed_scale=True) is lonely
