# SPDX-License-Identifier: Apache-2.0
"""The simulated stereo drone as a node: images, calibration, masks, true depth and pose."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from geometry_msgs.msg import PoseStamped
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import CameraInfo, Image

from mast3r_ros.config import default_cache_dir
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.rotations import quaternion_of
from mast3r_ros.ros import qos
from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.publishers import message_class
from mast3r_ros.ros.usage import check_words
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.recording import Frame, Recording
from mast3r_ros.wire.camera_info import camera_info_fields
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.message_fields import MessageFields, make_by_attributes
from mast3r_ros.wire.stamps import header_fields, time_fields

FRAME_IDS = {'left': 'drone_left_optical', 'right': 'drone_right_optical'}
"""Optical frames of the two cameras."""

_SETTINGS = ('width', 'height', 'rate_hz', 'duration_s', 'seed', 'baseline_m', 'raw')
_NOTES = f"""parameters, in brackets what they are by default:
  {', '.join(f'{name} ({getattr(SimConfig(), name)})' for name in _SETTINGS)}
  raw: distorted lenses, not rectified; folder: where flights are kept

examples:
  ros2 run mast3r_ros simulator
  ros2 run mast3r_ros simulator --ros-args -p duration_s:=10.0 -p raw:=true

exit codes: 0 stopped by a signal, 2 wrong use"""


class SimulatorNode(Node):
    """Plays a flight in real time, again and again.

    Publishes ``left/`` and ``right/`` ``image``, ``camera_info`` and ``mask`` (0 on moving boxes),
    and the truth: ``left/true_depth`` and ``left/true_pose`` (of the left camera in the world).
    """

    def __init__(self, node_name: str = 'simulator', **keywords: Any) -> None:
        super().__init__(node_name, **keywords)
        config = self._config()
        self._recording = Recording.open_or_render(self._folder(), config, show_progress)
        self._encoder = ImageEncoder()
        # Frames follow the clock: a late one is skipped, so that the flight never falls behind.
        given_ns = self.declare_parameter('start_ns', 0).value
        self._start_ns = given_ns or self.get_clock().now().nanoseconds
        self._last_index = -1
        self._publishers_of = {side: self._side_publishers(side) for side in FRAME_IDS}
        self._true_depth = self.create_publisher(Image, 'left/true_depth', qos.output())
        self._true_pose = self.create_publisher(PoseStamped, 'left/true_pose', qos.output())
        # Looks twice a frame, so that a frame is late by half a period at most.
        self._timer = self.create_timer(0.5 / config.rate_hz, self._publish_next)
        self.get_logger().info(f'flying, {config.rate_hz:g} stereo pairs a second')

    def _config(self) -> SimConfig:
        """Return the flight that the parameters ask for."""
        default = SimConfig()
        values = {
            name: self.declare_parameter(name, getattr(default, name)).value for name in _SETTINGS
        }
        return SimConfig(**values)

    def _folder(self) -> Path:
        given = self.declare_parameter('folder', '').value
        return Path(given) if given else default_cache_dir() / 'flights'

    def _side_publishers(self, side: str) -> dict[str, Publisher]:
        kinds = {'image': Image, 'camera_info': CameraInfo, 'mask': Image}
        return {
            name: self.create_publisher(kind, f'{side}/{name}', qos.output())
            for name, kind in kinds.items()
        }

    def _publish_next(self) -> None:
        index = self._index_now()
        if index <= self._last_index:
            return
        self._last_index = index
        frame = self._recording.frame(index)
        stamp_ns = self._start_ns + frame.stamp_ns
        for side, camera, picture in zip(
            FRAME_IDS, self._recording.cameras, (frame.left, frame.right), strict=True
        ):
            header = header_fields(stamp_ns, FRAME_IDS[side])
            to = self._publishers_of[side]
            _send(to['camera_info'], lambda h=header, c=camera: camera_info_fields(h, c))
            if to['mask'].get_subscription_count():
                mask = frame.mask_left if side == 'left' else frame.mask_right
                self._send_image(to['mask'], self._encoder.mask(header, mask != 0))
            if to['image'].get_subscription_count():
                self._send_image(to['image'], self._encoder.rgb(header, picture))
        self._publish_truth(frame, header_fields(stamp_ns, FRAME_IDS['left']), stamp_ns)

    def _index_now(self) -> int:
        flown_ns = self.get_clock().now().nanoseconds - self._start_ns
        return int(flown_ns * self._recording.config.rate_hz / 1e9)

    def _publish_truth(self, frame: Frame, header: MessageFields, stamp_ns: int) -> None:
        if self._true_depth.get_subscription_count():
            self._send_image(self._true_depth, self._encoder.float_map(header, frame.depth))
        _send(self._true_pose, lambda: _pose_fields(stamp_ns, frame.T_world_left))

    def _send_image(self, publisher: Publisher, fields: MessageFields) -> None:
        publisher.publish(make_by_attributes(fields, message_class))
        self._encoder.release(fields)


def _send(publisher: Publisher, make: Callable[[], MessageFields]) -> None:
    if publisher.get_subscription_count():
        publisher.publish(make_by_attributes(make(), message_class))


def _pose_fields(stamp_ns: int, T_world_left: Matrix) -> MessageFields:
    x, y, z = (float(value) for value in T_world_left[:3, 3])
    qx, qy, qz, qw = (float(value) for value in quaternion_of(T_world_left[:3, :3]))
    position = MessageFields('geometry_msgs/msg/Point', {'x': x, 'y': y, 'z': z})
    turn = MessageFields('geometry_msgs/msg/Quaternion', {'x': qx, 'y': qy, 'z': qz, 'w': qw})
    pose = MessageFields('geometry_msgs/msg/Pose', {'position': position, 'orientation': turn})
    header = MessageFields(
        'std_msgs/msg/Header', {'stamp': time_fields(stamp_ns), 'frame_id': 'world'}
    )
    return MessageFields('geometry_msgs/msg/PoseStamped', {'header': header, 'pose': pose})


def show_progress(done: int, total: int) -> None:
    """Say how far the rendering of a flight is; in a terminal all the time, else at its end."""
    is_done = done == total
    if is_done or sys.stderr.isatty():
        end = '\n' if is_done else '\r'
        print(f'rendering the flight: {done} of {total} stereo pairs', end=end, file=sys.stderr)


def main(argv: Sequence[str] | None = None) -> int:
    """Fly until stopped."""
    check_words(argv, 'simulator', 'Fly a simulated stereo drone, again and again.', _NOTES)
    return run_nodes(lambda: [SimulatorNode()], argv)


if __name__ == '__main__':
    sys.exit(main())
