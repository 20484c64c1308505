# SPDX-License-Identifier: Apache-2.0
"""A recorded bag, played with simulated time into the node, and rviz2 to look at it."""

from launch import LaunchDescription

from mast3r_ros.ros.launching import replay_launch


def generate_launch_description() -> LaunchDescription:
    """Return player, node and rviz2; `ros2 launch mast3r_ros replay.launch.py --show-args`."""
    return replay_launch('stereo_geometric.yaml')
