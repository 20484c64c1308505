# SPDX-License-Identifier: Apache-2.0
"""What the tests over DDS share. Each file runs in a process of its own, as rclpy's state asks."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

if find_spec('rclpy') is None:
    collect_ignore_glob = ['test_*.py']  # this layer is for environments with ROS


@pytest.fixture
def world():
    """An empty ROS world that is cleaned up afterwards, with every node started in it."""
    from ros_world import World

    with World() as made:
        yield made
