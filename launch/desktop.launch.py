# SPDX-License-Identifier: Apache-2.0
"""The largest network (MASt3R large), for a workstation."""

from launch import LaunchDescription

from mast3r_ros.ros.launching import perception_launch


def generate_launch_description() -> LaunchDescription:
    """Return the node; ``--show-args`` lists what else it takes."""
    return perception_launch('desktop.yaml')
