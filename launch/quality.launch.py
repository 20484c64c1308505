# SPDX-License-Identifier: Apache-2.0
"""A middle-sized network (DUNE base)."""

from launch import LaunchDescription

from mast3r_ros.ros.launching import perception_launch


def generate_launch_description() -> LaunchDescription:
    """Return the node; ``--show-args`` lists what else it takes."""
    return perception_launch('quality.yaml')
