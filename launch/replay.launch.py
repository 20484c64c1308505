# SPDX-License-Identifier: Apache-2.0
"""A recorded bag, played with simulated time into the node, and rviz2 to look at it."""

from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, ExecuteProcess, OpaqueFunction

from mast3r_ros.ros.launching import perception_launch


def generate_launch_description() -> LaunchDescription:
    """Return player, node and rviz2; `ros2 launch mast3r_ros replay.launch.py --show-args`."""
    return LaunchDescription(
        [
            DeclareLaunchArgument('bag', description='folder of the recorded bag'),
            DeclareLaunchArgument('rate', default_value='1.0', description='speed of playing'),
            # Declared before the node's own, so that these defaults win.
            DeclareLaunchArgument('use_sim_time', default_value='true'),
            DeclareLaunchArgument('rviz', default_value='true'),
            perception_launch('stereo_geometric.yaml'),
            OpaqueFunction(function=_player),
        ]
    )


def _player(context: LaunchContext) -> list[Action]:
    values = context.launch_configurations
    command = ['ros2', 'bag', 'play', values['bag'], '--clock', '--rate', values['rate']]
    return [ExecuteProcess(cmd=command, output='screen')]
