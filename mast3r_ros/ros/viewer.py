# SPDX-License-Identifier: Apache-2.0
"""``ros2 run mast3r_ros viewer``: the browser view of a running node, in a process of its own."""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import PoseStamped
from nav_msgs.msg import Odometry
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.utilities import remove_ros_args
from sensor_msgs.msg import CompressedImage, Image, PointCloud2

from mast3r_ros.bags.recorded import RecordedMessage
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.msg import MatchArray, PairStats
from mast3r_ros.ros import qos
from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.view_inputs import STATS_DEPTH, ViewInput, ViewInputs
from mast3r_ros.viewer.image_store import CAMERAS, ImageStore
from mast3r_ros.viewer.message_reading import (
    read_cloud,
    read_matches,
    read_pose,
    read_sentences,
    read_stats,
)
from mast3r_ros.viewer.parts import Sentence
from mast3r_ros.viewer.scene import RATE_HZ, Scene
from mast3r_ros.viewer.server import LOOPBACK, PORT, address_of, is_loopback, open_server
from mast3r_ros.wire.compressed_decoding import decode_compressed
from mast3r_ros.wire.image_decoding import decode_image
from mast3r_ros.wire.input_topics import COMPRESSED
from mast3r_ros.wire.sequence_topics import MAP, ODOMETRY

_LOOK_PERIOD_S = 0.25
_NICENESS = 10  # where processors are short, the node goes first
_IMAGE_DEPTH = 8  # taking bytes is quick, and which ones a pair needs is known only later
_SILENT_S = 3.0  # without a report, the node is gone

_CAMERA_TOPICS = {'left': 'left/image', 'right': 'right/image', 'image': 'image'}
_EXAMPLES = """examples:
  ros2 run mast3r_ros viewer
  ros2 run mast3r_ros viewer --node /drone/mast3r --pose /drone/pose
  ros2 run mast3r_ros viewer --ros-args -r left/image:=/cam0/image -r right/image:=/cam1/image
  ros2 run mast3r_ros viewer --host 0.0.0.0      (everybody in the network may look)"""


class ViewerNode(Node):
    """Feeds a view with what a node publishes.

    While no browser is open it hears nothing but reports, so that nothing is computed for it.

    :param options: what :func:`parse` returns.
    """

    def __init__(self, options: argparse.Namespace, node_name: str = 'viewer') -> None:
        super().__init__(node_name)
        self._target = self._full_name(options.node)
        self._images = ImageStore()
        self._heard_at_s = float('-inf')
        self._started_at_s = time.monotonic()
        server = open_server(options.host, options.port)
        self.scene = Scene(server, self._target, rate_hz=options.rate, images_of=self._images.find)
        self._inputs = ViewInputs(self, [*self._result_inputs(), *self._other_inputs(options)])
        self.create_subscription(DiagnosticArray, '/diagnostics', self._on_report, qos.output())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(_LOOK_PERIOD_S, self._look, clock=steady)
        self.get_logger().info(f'open {address_of(server)} in a browser')
        if not is_loopback(options.host):
            self.get_logger().warning('everybody who reaches this machine may look, unasked')

    def destroy_node(self) -> None:
        """Close the view, then the node."""
        self.scene.close()
        super().destroy_node()

    def _full_name(self, name: str) -> str:
        return name if name.startswith('/') else f'{self.get_namespace().rstrip("/")}/{name}'

    def _result_inputs(self) -> list[ViewInput]:
        def offer(kind: Any, read: Callable[[Any], Any], take: Callable[..., None]) -> Any:
            return lambda data: take(lambda: read(deserialize_message(data, kind)))

        clouds = offer(PointCloud2, read_cloud, self.scene.offer_cloud)
        maps = offer(PointCloud2, read_cloud, self.scene.offer_map)
        matches = offer(MatchArray, read_matches, self.scene.offer_matches)
        return [
            ViewInput(PointCloud2, f'{self._target}/points', clouds),
            ViewInput(MatchArray, f'{self._target}/matches', matches),
            ViewInput(PointCloud2, f'{self._target}/{MAP}', maps),
            ViewInput(PairStats, f'{self._target}/stats', self._on_stats, STATS_DEPTH),
        ]

    def _other_inputs(self, options: argparse.Namespace) -> list[ViewInput]:
        found = []
        packed = options.images == 'compressed'
        for camera in CAMERAS if options.images != 'none' else ():
            topic = _CAMERA_TOPICS[camera] + (COMPRESSED if packed else '')
            kind = CompressedImage if packed else Image
            found.append(ViewInput(kind, topic, self._image_taker(camera, kind), _IMAGE_DEPTH))
        is_odometry = not options.pose or options.pose_type == 'odometry'
        kind, topic = Odometry if is_odometry else PoseStamped, options.pose or self._own_pose
        found.append(ViewInput(kind, topic, self._pose_taker(kind), STATS_DEPTH))
        return found

    @property
    def _own_pose(self) -> str:
        """Where the node tells the camera's pose, if it follows it."""
        return f'{self._target}/{ODOMETRY}'

    def _image_taker(self, camera: str, kind: Any) -> Callable[[bytes], None]:
        decode = decode_compressed if kind is CompressedImage else decode_image

        def take(data: bytes) -> None:
            stamp_ns = RecordedMessage('', 0, data).stamp_ns
            if stamp_ns is not None:
                self._images.add(camera, stamp_ns, len(data), lambda: unpacked(data))

        def unpacked(data: bytes) -> ImageArray:
            return decode(deserialize_message(data, kind))

        return take

    def _pose_taker(self, kind: Any) -> Callable[[bytes], None]:
        def take(data: bytes) -> None:
            try:
                self.scene.add_pose(read_pose(deserialize_message(data, kind)))
            except InvalidInput as error:
                self.get_logger().warning(str(error), throttle_duration_sec=10.0)

        return take

    def _on_stats(self, data: bytes) -> None:
        try:
            self.scene.add_stats(read_stats(deserialize_message(data, PairStats)))
        except InvalidInput as error:
            self.get_logger().warning(str(error), throttle_duration_sec=10.0)

    def _on_report(self, message: DiagnosticArray) -> None:
        found = read_sentences(message, self._target)
        if found:
            self._heard_at_s = time.monotonic()
            self.scene.say(found)

    def _look(self) -> None:
        watched = self.scene.watched
        self._inputs.look(wanted=watched)
        if not watched:
            self._images.clear()
        now_s = time.monotonic()
        if now_s - max(self._heard_at_s, self._started_at_s) > _SILENT_S:
            self.scene.say([Sentence(2, self._nothing_heard())])

    def _nothing_heard(self) -> str:
        before = 'any more' if self._heard_at_s > 0 else 'yet'
        return (
            f'nothing is heard of {self._target} {before}; start it (ros2 launch mast3r_ros '
            'stereo_geometric.launch.py), in the same ROS_DOMAIN_ID, or name it with --node'
        )


def parse(argv: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of a command line; those of ROS are left out."""
    words = remove_ros_args(list(argv) if argv is not None else sys.argv)[1:]
    parser = argparse.ArgumentParser(
        prog='viewer',
        description='Show a running mast3r_ros node in a browser.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--node', default='mast3r', metavar='NAME', help='the node (mast3r)')
    parser.add_argument(
        '--host', default=LOOPBACK, help=f'address to listen on; this machine alone: {LOOPBACK}'
    )
    parser.add_argument('--port', type=int, default=PORT, help=f'or the next free one ({PORT})')
    parser.add_argument(
        '--pose',
        default='',
        metavar='TOPIC',
        help="the camera's pose in a world with z up (the node's own ~/odometry)",
    )
    parser.add_argument(
        '--pose-type', choices=('pose', 'odometry'), default='pose', help='PoseStamped or Odometry'
    )
    parser.add_argument(
        '--images', choices=('raw', 'compressed', 'none'), default='raw', help='what to hear (raw)'
    )
    parser.add_argument(
        '--rate', type=float, default=RATE_HZ, metavar='HZ', help=f'at most ({RATE_HZ:g})'
    )
    options = parser.parse_args(words)
    if not 0.1 <= options.rate <= 60.0:
        parser.error(f'--rate is {options.rate:g}; allowed are 0.1 to 60')
    return options


def main(argv: Sequence[str] | None = None) -> int:
    """Show until stopped."""
    options = parse(argv)

    def make_nodes() -> list[Node]:
        nodes: list[Node] = [ViewerNode(options)]
        os.nice(_NICENESS)
        return nodes

    return run_nodes(make_nodes, argv)


if __name__ == '__main__':
    sys.exit(main())
