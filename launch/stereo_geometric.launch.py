# SPDX-License-Identifier: Apache-2.0
"""Stereo geometry: no network, no weights, no accelerator."""

from launch import LaunchDescription

from mast3r_ros.ros.launching import perception_launch


def generate_launch_description() -> LaunchDescription:
    """Return the node; ``--show-args`` lists what else it takes."""
    return perception_launch('stereo_geometric.yaml')
