# SPDX-License-Identifier: Apache-2.0
"""A piece of the simulated flight as a rosbag2 bag, with the path that the camera really took."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.sequence.trajectory import Trajectory
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.rendering import PairRenderer
from mast3r_ros.sim.scene import Scene
from mast3r_ros.wire.camera_info import camera_info_fields
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.stamps import header_fields

SIDES = ('left', 'right')

_START_NS = (
    1_700_000_000 * 10**9
)  # of the first frame; a stamp of 0 often means that there is none
_IMAGE, _INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'


def write_flight(
    path: Path, config: SimConfig, pairs: int, on_pair: Callable[[int], None]
) -> Trajectory:
    """Write rectified pictures and calibrations of a flight's first pairs.

    :param path: the new folder.
    :param on_pair: called after each pair with the number of pairs so far.
    :return: the true poses of the left camera.
    :raises Mast3rError: rosbags is missing.
    """
    types = MessageTypes()
    renderer = PairRenderer(config, Scene.make(config.seed, config.period_s))
    encoder, cameras = ImageEncoder(), config.cameras()
    poses = []
    with _Writer(path, types) as writer:
        for number in range(pairs):
            pair, stamp_ns = renderer.render(number), _START_NS + config.stamp_ns(number)
            for name, side, camera in zip(SIDES, pair.sides, cameras, strict=True):
                header = header_fields(stamp_ns, f'drone_{name}_optical')
                image = encoder.rgb(header, np.ascontiguousarray(side.image))
                writer.write(f'/{name}/image_rect', stamp_ns, image)
                encoder.release(image)
                writer.write(f'/{name}/camera_info', stamp_ns, camera_info_fields(header, camera))
            poses.append(pair.T_world_left)
            on_pair(number + 1)
    stamps_ns = [_START_NS + config.stamp_ns(number) for number in range(pairs)]
    return Trajectory.of(stamps_ns, poses)


class _Writer:
    """A new bag with the topics of two cameras."""

    def __init__(self, path: Path, types: MessageTypes) -> None:
        from rosbags.rosbag2 import StoragePlugin, Writer

        self._types = types
        self._writer = Writer(path, version=9, storage_plugin=StoragePlugin.MCAP)

    def __enter__(self) -> _Writer:
        self._writer.open()
        topics = {f'/{name}/image_rect': _IMAGE for name in SIDES}
        topics |= {f'/{name}/camera_info': _INFO for name in SIDES}
        self._connections = {
            topic: self._writer.add_connection(topic, kind, typestore=self._types.store)
            for topic, kind in topics.items()
        }
        return self

    def write(self, topic: str, stamp_ns: int, fields: MessageFields) -> None:
        self._writer.write(self._connections[topic], stamp_ns, self._types.write(fields))

    def __exit__(self, *_: object) -> None:
        self._writer.close()
