# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay: a recorded bag through the pipeline, every frame in order, without ROS."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.cli.command import (
    EXIT_FAILED,
    EXIT_INTERRUPTED,
    add_engine_options,
    engine_config,
    make_parser,
    run_command,
)
from mast3r_ros.cli.progress import Progress
from mast3r_ros.cli.replay_report import as_text, facts_of, why_nothing
from mast3r_ros.errors import InvalidInput, Mast3rError

if TYPE_CHECKING:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.bags.camera_topics import Asked, CameraTopics
    from mast3r_ros.bags.recorded import Notices
    from mast3r_ros.bags.replay import Part
    from mast3r_ros.bags.run import Target
    from mast3r_ros.config import NodeConfig

_EXAMPLES = """\
  mast3r-replay flight --config config/drone.yaml
  mast3r-replay flight --backend geometric --output clouds --topics points,depth/image,matches
  mast3r-replay flight.mcap --backend geometric --mode sequence --image /cam0/image_raw
  mast3r-replay flight --backend geometric --start 20 --duration 5 --storage sqlite3
  mast3r-replay flight --backend geometric --run-dir run
  mast3r-replay flight --config config/drone.yaml --into-node --node /mast3r
"""
_LONGEST_S = 86_400  # a day
_CAMERAS = ('left', 'right', 'image')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-replay',
        'Answer every pair of a rosbag2 bag (MCAP or SQLite), in order, and write the results to '
        'a new bag; or play the bag into a running node.',
        _EXAMPLES,
    )
    parser.add_argument('bag', metavar='BAG', help='folder of the bag, or one of its files')
    _add_input_options(parser)
    _add_output_options(parser)
    add_engine_options(parser)
    return run_command(parser, _run, argv)


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group(
        'input', "topics are looked for where none is named; '' stands for none"
    )
    group.add_argument('--mode', choices=('stereo', 'sequence'), help='what makes a pair')
    for name in _CAMERAS:
        group.add_argument(f'--{name}', metavar='TOPIC', help=f'images of the camera {name}')
        group.add_argument(f'--{name}-info', metavar='TOPIC', help='its calibration')
        group.add_argument(f'--{name}-mask', metavar='TOPIC', help='its masks')
    group.add_argument(
        '--start', type=float, default=0.0, metavar='S', help='begin so late in the bag'
    )
    group.add_argument('--duration', type=float, metavar='S', help='end so long after the start')
    group.add_argument('--frames', type=int, metavar='N', help='end after so many pairs')


def _add_output_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('output')
    group.add_argument('--output', metavar='OUT', help='the new bag (BAG_mast3r, here)')
    group.add_argument('--force', action='store_true', help='replace an older bag there')
    group.add_argument(
        '--run-dir',
        metavar='DIR',
        help='follow the moving camera and write a run folder here instead of a bag',
    )
    group.add_argument(
        '--topics', default='', metavar='A,B', help='only these, as points,matches (all)'
    )
    group.add_argument(
        '--storage', choices=('mcap', 'sqlite3'), default='mcap', help='kind of the new bag (mcap)'
    )
    group.add_argument(
        '--with-stats', action='store_true', help='write the statistics into the bag too'
    )
    group.add_argument(
        '--node', default='/mast3r', metavar='NAME', help="the node's name (/mast3r)"
    )
    group.add_argument('--json', action='store_true', help='print JSON instead of text')
    group.add_argument(
        '--into-node', action='store_true', help='play into this node instead; needs ROS'
    )
    group.add_argument(
        '--timeout',
        type=float,
        default=30.0,
        metavar='S',
        help='how long the node may take for an answer (30)',
    )


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.bags.camera_topics import choose_cameras
    from mast3r_ros.bags.recorded import Notices

    config = _config(arguments)
    progress = Progress(sys.stderr, 'mast3r-replay')
    notices = Notices(progress.say)
    try:
        with Bag(arguments.bag, notices) as bag:
            cameras = choose_cameras(bag.topics, config, _asked(arguments))
            for camera in cameras:
                progress.say(str(camera))
            if arguments.into_node:
                return _play(arguments, config, bag, cameras, progress)
            if arguments.run_dir:
                return _follow(arguments, config, bag, cameras, progress, notices)
            return _replay(arguments, config, bag, cameras, progress, notices)
    finally:
        progress.close()


def _replay(
    arguments: argparse.Namespace,
    config: NodeConfig,
    bag: Bag,
    cameras: Sequence[CameraTopics],
    progress: Progress,
    notices: Notices,
) -> int:
    from mast3r_ros.bags.message_types import MessageTypes
    from mast3r_ros.bags.replay import Replay
    from mast3r_ros.bags.run import run_replay

    target = _target(arguments, bag)
    types = MessageTypes()
    replay = Replay(
        bag, cameras, config, types, notices, part=_part(arguments), wanted=target.wanted
    )
    inputs = [str(camera) for camera in cameras]
    outcome = run_replay(
        replay,
        target,
        types,
        inputs,
        lambda now: progress.show(now.fraction, f'{now.answered} pairs'),
    )
    progress.close()
    if outcome.pairs or outcome.failed:
        report = facts_of(outcome, cameras, notices.said)
        print(json.dumps(report, indent=2) if arguments.json else as_text(report))
    if outcome.stopped:
        written = f'{outcome.path} can be read' if outcome.path else 'nothing was written'
        progress.say(f'stopped after {outcome.pairs} pairs; {written}')
        return EXIT_INTERRUPTED
    if outcome.error is not None:
        raise outcome.error
    if not outcome.pairs:
        raise Mast3rError(why_nothing(outcome))
    return 0


def _follow(
    arguments: argparse.Namespace,
    config: NodeConfig,
    bag: Bag,
    cameras: Sequence[CameraTopics],
    progress: Progress,
    notices: Notices,
) -> int:
    from mast3r_ros.bags.sequence_frames import BagFrames
    from mast3r_ros.cli.following import follow, tell
    from mast3r_ros.sequence.picture_sources import Selection
    from mast3r_ros.sequence.run_folder import RunFolder

    if arguments.output:
        raise Mast3rError('--run-dir writes no bag; leave --output out, or run the command twice')
    path = Path(arguments.run_dir)
    frames = Selection(frames=arguments.frames)
    source = BagFrames(bag, cameras, config, frames, notices, _part(arguments))
    report = follow(
        source,
        config,
        lambda run: RunFolder(path, replace=arguments.force),
        arguments.bag,
        progress,
    )
    return tell(report, path, progress, as_json=arguments.json)


def _play(
    arguments: argparse.Namespace,
    config: NodeConfig,
    bag: Bag,
    cameras: Sequence[CameraTopics],
    progress: Progress,
) -> int:
    if not 0.0 < arguments.timeout <= _LONGEST_S:
        raise InvalidInput(
            f'--timeout is {arguments.timeout:g}; allowed are seconds above 0, up to {_LONGEST_S}'
        )
    try:
        from mast3r_ros.ros.bag_player import play_into_node
    except ImportError as error:
        raise Mast3rError(str(error)) from error

    if arguments.output:
        raise Mast3rError('--into-node writes no bag; record the node with `ros2 bag record`')
    played = play_into_node(
        bag,
        cameras,
        config,
        _part(arguments),
        node_name=arguments.node,
        timeout_s=arguments.timeout,
        tell=progress.say,
        on_pair=lambda fraction, sent: progress.show(fraction, f'{sent} pairs'),
    )
    progress.close()
    report = {'pairs': played.sent, 'answered': played.answered, 'unanswered': played.unanswered}
    text = f'{played.answered} of {played.sent} pairs were answered by {arguments.node}'
    print(json.dumps(report, indent=2) if arguments.json else text)
    if played.stopped:
        progress.say(f'stopped after {played.sent} pairs')
        return EXIT_INTERRUPTED
    return 0 if played.answered else EXIT_FAILED


def _config(arguments: argparse.Namespace) -> NodeConfig:
    config = engine_config(arguments)
    if arguments.mode is None:
        return config
    return config.replace(pairing=config.pairing.replace(mode=arguments.mode))


def _asked(arguments: argparse.Namespace) -> dict[str, Asked]:
    from mast3r_ros.bags.camera_topics import Asked

    options = vars(arguments)
    return {
        name: Asked(options[name], options[f'{name}_info'], options[f'{name}_mask'])
        for name in _CAMERAS
    }


def _part(arguments: argparse.Namespace) -> Part:
    from mast3r_ros.bags.replay import Part

    return Part(arguments.start, arguments.duration, arguments.frames)


def _target(arguments: argparse.Namespace, bag: Bag) -> Target:
    from mast3r_ros.bags.result_bag import check_target, topics_named
    from mast3r_ros.bags.run import Target

    path = Path(arguments.output or f'{bag.path.resolve().stem}_mast3r')
    check_target(path, bag.path, replace=arguments.force)
    return Target(
        path,
        topics_named([name.strip() for name in arguments.topics.split(',') if name.strip()]),
        arguments.storage,
        f'/{arguments.node.strip("/")}',
        arguments.with_stats,
    )


if __name__ == '__main__':
    sys.exit(main())
