# SPDX-License-Identifier: Apache-2.0
"""A few pairs of pictures out of a bag, spread over its whole length."""

from __future__ import annotations

from pathlib import Path

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.camera_topics import choose_cameras
from mast3r_ros.bags.frame_stream import FrameStream
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import Tell
from mast3r_ros.config import NodeConfig, PairingMode
from mast3r_ros.core.pairing import make_pairing
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput


def sample_pairs(path: Path, count: int, tell: Tell) -> list[tuple[ImageArray, ImageArray]]:
    """Return up to ``count`` pairs: of the bag's stereo cameras, else of one camera's frames.

    :param tell: is told what is wrong with the messages.
    """
    with Bag(path, tell) as bag:
        config = NodeConfig()
        try:
            cameras = choose_cameras(bag.topics, config, {})
        except InvalidInput:
            config = config.replace(pairing=config.pairing.replace(mode=PairingMode.SEQUENCE))
            cameras = choose_cameras(bag.topics, config, {})
        names = [name for camera in cameras for name in camera.names]
        stream = FrameStream(cameras, config.input, MessageTypes(), tell)
        pairing = make_pairing(config.pairing)
        start_ns, end_ns = bag.start_ns or 0, bag.end_ns or 0
        step_ns = max(1, (end_ns - start_ns) // count)
        found: list[tuple[ImageArray, ImageArray]] = []
        for source, frame in stream.frames(bag.messages(names, start_ns, end_ns + 1)):
            for one, other in pairing.add(source, frame):
                # Half a step early: recording began a little after the first exposure.
                due_ns = start_ns + len(found) * step_ns - step_ns // 2
                if len(found) < count and frame.stamp_ns >= due_ns:
                    found.append((one.view().image, other.view().image))
        if not found:
            raise InvalidInput(f'{path} holds no pair of pictures to calibrate with')
        return found
