# SPDX-License-Identifier: Apache-2.0
"""What all launch files share: the arguments that change between runs, and the node's actions."""

from __future__ import annotations

from pathlib import Path

from ament_index_python.packages import get_package_share_directory
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, OpaqueFunction
from launch_ros.actions import Node

_IMAGES = (
    ('left_image', 'left/image', 'image topic of the left camera; camera_info lies beside it'),
    ('right_image', 'right/image', 'image topic of the right camera'),
    ('image', 'image', 'image topic of the one camera, for mode:=sequence'),
)


def perception_launch(preset: str) -> LaunchDescription:
    """Return the launch description of the perception node.

    :param preset: name of a file under config/, used unless params_file says otherwise.
    """
    arguments = [
        ('params_file', str(share_folder() / 'config' / preset), 'settings as a parameter file'),
        ('engine', '', 'engine instead of the one in the file: auto, geometric, onnxruntime ...'),
        ('fallback', '', 'geometric: run stereo geometry where the engine or model is missing'),
        ('mode', '', 'stereo or sequence instead of the one in the file'),
        *_IMAGES,
        ('namespace', '', 'namespace of the node'),
        ('name', 'mast3r', 'name of the node'),
        ('rviz', 'false', 'start rviz2 beside the node'),
        ('container', '', 'load into this running container instead of a process of its own'),
        ('use_sim_time', 'false', 'take the time from /clock'),
        ('autostart', 'true', 'configure and activate at once'),
    ]
    declared = [
        DeclareLaunchArgument(name, default_value=default, description=meaning)
        for name, default, meaning in arguments
    ]
    return LaunchDescription([*declared, OpaqueFunction(function=_actions)])


def share_folder() -> Path:
    """Return the folder of config/ and launch/ of the installed package."""
    return Path(get_package_share_directory('mast3r_ros'))


def rviz_node() -> Node:
    """Return rviz2 with the package's view."""
    view = str(share_folder() / 'config' / 'mast3r.rviz')
    return Node(package='rviz2', executable='rviz2', arguments=['-d', view], output='log')


def _actions(context: LaunchContext) -> list[Action]:
    values = context.launch_configurations
    parameters = [values['params_file'], _overrides(values)]
    remappings = [(topic, values[name]) for name, topic, _ in _IMAGES if values[name] != topic]
    shared = {
        'package': 'mast3r_ros',
        'name': values['name'],
        'namespace': values['namespace'],
        'parameters': parameters,
        'remappings': remappings,
    }
    actions: list[Action] = [
        _loaded(values['container'], shared)
        if values['container']
        else Node(executable='perception', output='screen', emulate_tty=True, **shared)
    ]
    if values['rviz'].lower() == 'true':
        actions.append(rviz_node())
    return actions


def _overrides(values: dict[str, str]) -> dict[str, object]:
    """Return the parameters that launch arguments set."""
    flags = {name: values[name].lower() == 'true' for name in ('use_sim_time', 'autostart')}
    words = {
        'runtime.backend': values['engine'],
        'runtime.fallback': values['fallback'],
        'pairing.mode': values['mode'],
    }
    return {**flags, **{name: value for name, value in words.items() if value}}


def _loaded(container: str, shared: dict[str, object]) -> Action:
    from launch_ros.actions import LoadComposableNodes
    from launch_ros.descriptions import ComposableNode

    node = ComposableNode(plugin='mast3r_ros::Mast3rNode', **shared)
    return LoadComposableNodes(target_container=container, composable_node_descriptions=[node])
