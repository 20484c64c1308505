# SPDX-License-Identifier: Apache-2.0
"""Small bags of a made-up stereo pair, written by rosbags."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cameras import Camera
from mast3r_ros.wire.camera_info import camera_info_fields
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.message_fields import MessageFields, make_by_constructor
from mast3r_ros.wire.stamps import header_fields

WIDTH, HEIGHT = 160, 120
FOCAL_PX, BASELINE_M = 150.0, 0.1
SHIFT_PX = 8
DEPTH_M = FOCAL_PX * BASELINE_M / SHIFT_PX
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 50_000_000

IMAGE, CAMERA_INFO = 'sensor_msgs/msg/Image', 'sensor_msgs/msg/CameraInfo'
STORE = get_typestore(Stores.ROS2_JAZZY)


@dataclass
class BagPlan:
    """The messages of a bag: (topic, time of recording, fields)."""

    messages: list[tuple[str, int, MessageFields]] = field(default_factory=list)

    def add(self, topic: str, time_ns: int, fields: MessageFields) -> None:
        self.messages.append((topic, time_ns, fields))

    def write(
        self,
        path: Path,
        storage: str = 'mcap',
        compression: str = 'none',
        extra_topics: dict[str, str] | None = None,
    ) -> Path:
        """Write the bag, in the order of recording.

        :param extra_topics: types of topics without messages, by name.
        """
        writer = Writer(path, version=9, storage_plugin=StoragePlugin[storage.upper()])
        writer.set_compression(CompressionMode[compression.upper()], CompressionFormat.ZSTD)
        types = {topic: fields.type_name for topic, _, fields in self.messages}
        with writer:
            connections = {
                topic: writer.add_connection(topic, type_name, typestore=STORE)
                for topic, type_name in {**types, **(extra_topics or {})}.items()
            }
            for topic, time_ns, fields in sorted(self.messages, key=lambda item: item[1]):
                writer.write(connections[topic], time_ns, serialised(fields))
        return path


def serialised(fields: MessageFields) -> memoryview:
    message = make_by_constructor(fields, STORE.types.__getitem__)
    return STORE.serialize_cdr(message, fields.type_name)


def camera(baseline_m: float = 0.0) -> Camera:
    K = np.array([[FOCAL_PX, 0, WIDTH / 2], [0, FOCAL_PX, HEIGHT / 2], [0, 0, 1]])
    P = np.hstack([K, [[-FOCAL_PX * baseline_m], [0], [0]]])
    return Camera(WIDTH, HEIGHT, K, R=np.eye(3), P=P)


def pictures(number: int) -> tuple[np.ndarray, np.ndarray]:
    """The left and right picture of a pair; each number gives another."""
    left, right = made_up_pair(WIDTH, HEIGHT, SHIFT_PX)
    return tuple(
        np.ascontiguousarray(np.roll(image, 7 * number, axis=0)) for image in (left, right)
    )


def image_fields(image: np.ndarray, stamp_ns: int, frame_id: str = '') -> MessageFields:
    return ImageEncoder().rgb(header_fields(stamp_ns, frame_id), image)


def mask_fields(mask: np.ndarray, stamp_ns: int) -> MessageFields:
    return ImageEncoder().mask(header_fields(stamp_ns, ''), mask)


def info_fields(stamp_ns: int, baseline_m: float = 0.0, frame_id: str = '') -> MessageFields:
    return camera_info_fields(header_fields(stamp_ns, frame_id), camera(baseline_m))


def stamp_of(number: int) -> int:
    return START_NS + number * PERIOD_NS


def stereo_plan(
    pairs: int = 4, *, calibrated: bool = True, delay_ns: int = 2_000_000, gap_ns: int = 0
) -> BagPlan:
    """A stereo camera at 20 Hz; every message is recorded a little after its stamp.

    :param gap_ns: so much later than the left camera does the right one take its pictures.
    """
    plan = BagPlan()
    for number in range(pairs):
        for side, image, baseline_m, late_ns in zip(
            ('left', 'right'), pictures(number), (0.0, BASELINE_M), (0, gap_ns), strict=True
        ):
            stamp_ns = stamp_of(number) + late_ns
            frame_id = f'{side}_optical'
            time_ns = stamp_ns + delay_ns
            plan.add(f'/cam/{side}/image_rect', time_ns, image_fields(image, stamp_ns, frame_id))
            if calibrated:
                info = info_fields(stamp_ns, baseline_m, frame_id)
                plan.add(f'/cam/{side}/camera_info', time_ns, info)
    return plan
