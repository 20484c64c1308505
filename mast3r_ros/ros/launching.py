# SPDX-License-Identifier: Apache-2.0
"""What the launch files are made of: the node's actions, the player's, and their arguments."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from ament_index_python.packages import (
    PackageNotFoundError,
    get_package_prefix,
    get_package_share_directory,
)
from launch import LaunchContext, LaunchDescription
from launch.action import Action
from launch.actions import DeclareLaunchArgument, ExecuteProcess, LogInfo, OpaqueFunction
from launch_ros.actions import Node

from mast3r_ros.ros.launch_arguments import (
    IMAGE_TOPICS,
    PERCEPTION,
    LaunchArgument,
    replay_arguments,
)


def perception_launch(preset: str) -> LaunchDescription:
    """Return the launch description of the perception node.

    :param preset: name of a file under config/, used unless params_file says otherwise.
    """
    node = OpaqueFunction(function=_node_actions, args=[preset])
    return LaunchDescription([*_declared(PERCEPTION), node])


def replay_launch(preset: str) -> LaunchDescription:
    """Return the launch description of the perception node and what plays a bag to it.

    :param preset: as for :func:`perception_launch`.
    """
    node = OpaqueFunction(function=_node_actions, args=[preset])
    player = OpaqueFunction(function=_player_actions, args=[preset])
    return LaunchDescription([*_declared(replay_arguments()), player, node])


def _declared(arguments: Iterable[LaunchArgument]) -> list[Action]:
    return [
        DeclareLaunchArgument(
            item.name,
            default_value=item.default,
            description=item.meaning,
            choices=list(item.choices) or None,
        )
        for item in arguments
    ]


def _node_actions(context: LaunchContext, preset: str) -> list[Action]:
    values = context.launch_configurations
    remappings = [
        (topic, values[name]) for name, topic in IMAGE_TOPICS.items() if values[name] != topic
    ]
    shared = {
        'package': 'mast3r_ros',
        'name': values['name'],
        'namespace': values['namespace'],
        'parameters': [_params_file(values, preset), _overrides(values)],
        'remappings': remappings,
    }
    actions: list[Action] = [
        _loaded(values['container'], shared)
        if values['container']
        else Node(executable='perception', output='screen', emulate_tty=True, **shared)
    ]
    if _is_true(values['viewer']):
        actions.append(_browser_view(values, remappings))
    return [*actions, *(_view() if _is_true(values['rviz']) else [])]


def _params_file(values: dict[str, str], preset: str) -> str:
    return values['params_file'] or str(_share_folder() / 'config' / preset)


def _overrides(values: dict[str, str]) -> dict[str, object]:
    """Return the parameters that launch arguments set."""
    flags = {name: _is_true(values[name]) for name in ('use_sim_time', 'autostart')}
    words = {
        'runtime.backend': values['engine'],
        'runtime.fallback': values['fallback'],
        'pairing.mode': values['mode'],
    }
    if _is_true(values['follow']):
        flags['sequence.enable'] = True
    return {**flags, **{name: value for name, value in words.items() if value}}


def _loaded(container: str, shared: dict[str, object]) -> Action:
    from launch_ros.actions import LoadComposableNodes
    from launch_ros.descriptions import ComposableNode

    node = ComposableNode(plugin='mast3r_ros::Mast3rNode', **shared)
    return LoadComposableNodes(target_container=container, composable_node_descriptions=[node])


def _browser_view(values: dict[str, str], remappings: list[tuple[str, str]]) -> Action:
    return Node(
        package='mast3r_ros',
        executable='viewer',
        namespace=values['namespace'],
        arguments=['--node', values['name']],
        remappings=remappings,
        output='screen',
    )


def _view() -> list[Action]:
    """Return rviz2 with the package's view, or what to install for it: the node runs anyhow."""
    try:
        get_package_prefix('rviz2')
    except PackageNotFoundError:
        return [
            LogInfo(msg='rviz2 is not installed, so nothing is shown; rviz:=false asks not to')
        ]
    view = str(_share_folder() / 'config' / 'mast3r.rviz')
    return [Node(package='rviz2', executable='rviz2', arguments=['-d', view], output='log')]


def _player_actions(context: LaunchContext, preset: str) -> list[Action]:
    values = context.launch_configurations
    bag = values['bag']
    if values['player'] == 'ros2':
        try:
            get_package_prefix('ros2bag')
        except PackageNotFoundError as error:
            raise RuntimeError(
                'ros2 bag is not installed: install the package ros2bag of your ROS '
                'distribution, or play with player:=mast3r'
            ) from error
        command = ['ros2', 'bag', 'play', bag, '--clock', '--rate', values['rate']]
    else:
        program = Path(get_package_prefix('mast3r_ros')) / 'lib' / 'mast3r_ros' / 'mast3r-replay'
        node = f'{values["namespace"]}/{values["name"]}'
        settings = _params_file(values, preset)
        command = [str(program), bag, '--into-node', '--node', node, '--config', settings]
        command += ['--mode', values['mode']] if values['mode'] else []
    return [ExecuteProcess(cmd=command, output='screen')]


def _share_folder() -> Path:
    return Path(get_package_share_directory('mast3r_ros'))


def _is_true(word: str) -> bool:
    return word.lower() == 'true'
