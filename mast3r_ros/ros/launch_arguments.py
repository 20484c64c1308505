# SPDX-License-Identifier: Apache-2.0
"""The arguments of the launch files, as a table that needs no launch to be read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

from mast3r_ros.config import Fallback, PairingMode

_FLAG = ('true', 'false', 'True', 'False')


@dataclass(frozen=True)
class LaunchArgument:
    """One argument, given as ``name:=value``.

    :param default: nothing where it must be given.
    :param choices: what it may be; nothing: anything.
    """

    name: str
    default: str | None
    meaning: str
    choices: tuple[str, ...] = ()


IMAGE_TOPICS = {'left_image': 'left/image', 'right_image': 'right/image', 'image': 'image'}
"""The node's own name of each image topic that an argument moves."""

PERCEPTION = (
    LaunchArgument('params_file', '', 'settings as a parameter file; else those of the preset'),
    LaunchArgument('engine', '', 'engine instead of the one in the file: auto, geometric, ...'),
    LaunchArgument(
        'fallback',
        '',
        'geometric: run stereo geometry, and say so, where engine or model is missing',
        ('', *(rule.value for rule in Fallback)),
    ),
    LaunchArgument(
        'mode',
        '',
        'stereo or sequence instead of the one in the file',
        ('', *(mode.value for mode in PairingMode)),
    ),
    LaunchArgument(
        'left_image', 'left/image', 'image topic of the left camera; camera_info lies beside it'
    ),
    LaunchArgument('right_image', 'right/image', 'image topic of the right camera'),
    LaunchArgument('image', 'image', 'image topic of the one camera, for mode:=sequence'),
    LaunchArgument(
        'follow', 'false', 'follow the camera: ~/odometry, ~/path, ~/keyframe and ~/map', _FLAG
    ),
    LaunchArgument('namespace', '', 'namespace of the node'),
    LaunchArgument('name', 'mast3r', 'name of the node'),
    LaunchArgument('rviz', 'false', 'start rviz2 beside the node', _FLAG),
    LaunchArgument('viewer', 'false', 'start the browser view beside the node', _FLAG),
    LaunchArgument(
        'container', '', 'load into this running container instead of a process of its own'
    ),
    LaunchArgument('use_sim_time', 'false', 'take the time from /clock', _FLAG),
    LaunchArgument('autostart', 'true', 'configure and activate at once', _FLAG),
)
"""What every launch file of the node takes."""

PLAYERS = ('ros2', 'mast3r')

_PLAYER = (
    LaunchArgument('bag', None, 'folder of the recorded bag'),
    LaunchArgument(
        'player',
        'ros2',
        'ros2: `ros2 bag play`; mast3r: `mast3r-replay --into-node`, the next pair as soon as the '
        'last is answered',
        PLAYERS,
    ),
    LaunchArgument('rate', '1.0', 'speed of player:=ros2'),
)


def replay_arguments() -> Iterator[LaunchArgument]:
    """Return what the replay takes: simulated time and rviz2 unless told otherwise."""
    yield from _PLAYER
    for argument in PERCEPTION:
        on = argument.name in ('use_sim_time', 'rviz')
        yield replace(argument, default='true') if on else argument
