# SPDX-License-Identifier: Apache-2.0
"""mast3r-view: a bag of results or a run folder in the browser, without ROS."""

from __future__ import annotations

import argparse
import sys
import threading
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.cli.command import make_parser, run_command
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.cli.view_playback import Playback, ResultTopics
    from mast3r_ros.viewer.run_playback import RunPlayback

_EXAMPLES = """\
  mast3r-view flight_mast3r --images flight
  mast3r-view flight_mast3r --rate 0.5 --loop
  mast3r-view walk_run                            (a folder that mast3r-reconstruct wrote)
  mast3r-view recorded_with_everything --pose /odometry --port 8090
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-view',
        'Show a bag of results, as mast3r-replay writes it or `ros2 bag record` the topics of a '
        'node, or a run folder of mast3r-reconstruct, in a browser. Ctrl-C ends it. For a running '
        'node: `ros2 run mast3r_ros viewer`.',
        _EXAMPLES,
    )
    parser.add_argument('path', metavar='PATH', help='bag of results, or run folder')
    parser.add_argument(
        '--images', metavar='BAG', help='bag of the images, where they lie in another one'
    )
    parser.add_argument('--node', metavar='NAME', help='whose results (the first there are)')
    parser.add_argument('--pose', metavar='TOPIC', help="camera 1's poses in a world with z up")
    parser.add_argument('--rate', type=float, default=1.0, metavar='X', help='speed (1)')
    parser.add_argument('--loop', action='store_true', help='begin again at the end')
    parser.add_argument(
        '--once', action='store_true', help='leave at the end instead of showing the last pair'
    )
    parser.add_argument(
        '--host', default='127.0.0.1', help='address to listen on; 0.0.0.0: the whole network'
    )
    parser.add_argument('--port', type=int, default=8080, help='or the next free one (8080)')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.bags.recorded import Notices
    from mast3r_ros.cli.view_playback import ResultTopics
    from mast3r_ros.viewer.run_playback import RunPlayback

    if not 0.01 <= arguments.rate <= 100:
        raise InvalidInput(f'--rate is {arguments.rate:g}; allowed are 0.01 to 100')
    if RunPlayback.is_run(Path(arguments.path)):
        _show_run(arguments)
        return 0
    tell = Notices(lambda sentence: print(f'mast3r-view: {sentence}', file=sys.stderr))
    with ExitStack() as stack:
        bag = stack.enter_context(Bag(arguments.path, tell))
        pictures = stack.enter_context(Bag(arguments.images, tell)) if arguments.images else bag
        results = ResultTopics.find(bag, arguments.node)
        _show(arguments, _playback(arguments, bag, pictures, results), results.node)
    return 0


def _playback(
    arguments: argparse.Namespace, bag: Bag, pictures: Bag, results: ResultTopics
) -> Playback:
    from mast3r_ros.bags.message_types import MessageTypes
    from mast3r_ros.cli.view_playback import Playback

    images = [
        (camera, pictures, topic) for camera, topic in _camera_topics(pictures, results).items()
    ]
    return Playback(
        bag,
        results,
        images,
        MessageTypes(),
        pose_topic=arguments.pose,
        speed=arguments.rate,
    )


def _camera_topics(pictures: Bag, results: ResultTopics) -> dict[str, str]:
    """Return the image topic of each camera; none where the bag tells of no camera."""
    from mast3r_ros.bags.camera_topics import choose_cameras
    from mast3r_ros.config import NodeConfig

    topics = {
        name: topic
        for name, topic in pictures.topics.items()
        if not name.startswith(f'{results.node}/')
    }
    for mode in ('stereo', 'sequence'):
        config = NodeConfig()
        config = config.replace(pairing=config.pairing.replace(mode=mode))
        try:
            return {camera.source: camera.image for camera in choose_cameras(topics, config, {})}
        except InvalidInput:
            continue
    return {}


def _show_run(arguments: argparse.Namespace) -> None:
    from mast3r_ros.viewer.run_playback import RunPlayback

    for option in ('images', 'node', 'pose'):
        if getattr(arguments, option):
            raise InvalidInput(f'--{option} is for bags; {arguments.path} is a run folder')
    path = Path(arguments.path)
    _show(arguments, RunPlayback(path, speed=arguments.rate), path.resolve().name)


def _show(arguments: argparse.Namespace, playback: Playback | RunPlayback, title: str) -> None:
    from mast3r_ros.viewer.image_store import ImageStore
    from mast3r_ros.viewer.scene import Scene
    from mast3r_ros.viewer.server import address_of, is_loopback, open_server

    server = open_server(arguments.host, arguments.port)
    store = ImageStore()
    scene = Scene(server, title, gated=False, images_of=store.find)
    try:
        print(f'open {address_of(server)} in a browser', flush=True)
        if not is_loopback(arguments.host):
            print('everybody who reaches this machine may look, unasked', flush=True)
        while not scene.watched and not arguments.once:
            threading.Event().wait(0.1)
        while True:
            shown = playback.play(scene, store)
            if not arguments.loop:
                break
        scene.ended = True
        print(f'{shown} {playback.unit} shown', flush=True)
        while not arguments.once:
            threading.Event().wait(1.0)
    finally:
        scene.close()


if __name__ == '__main__':
    sys.exit(main())
