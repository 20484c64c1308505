# SPDX-License-Identifier: Apache-2.0
"""The other process of the node's bench: two cameras, and listeners to whatever is published.

``node_peers.py PAIRS_PER_S``; runs until it is terminated.
"""

from __future__ import annotations

import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.signals import SignalHandlerOptions
from sensor_msgs.msg import Image, PointCloud2

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.msg import MatchArray, PairStats
from mast3r_ros.ros import qos

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))
from ros_cameras import CameraDouble

SIZE = (640, 480)
TOPICS: tuple[tuple[Any, str], ...] = (
    (PointCloud2, 'points'),
    (Image, 'confidence'),
    (MatchArray, 'matches'),
    (PairStats, 'stats'),
)


def main() -> None:
    """Listen, and show a pair again and again."""
    # rclpy's own handler would end the context in the midst of a publication.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    stopped = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stopped.set())
    node = rclpy.create_node('peers')
    for kind, name in TOPICS:
        node.create_subscription(kind, f'/mast3r/{name}', lambda _: None, qos.output())
    cameras = [CameraDouble(node, f'/{side}/image') for side in ('left', 'right')]
    messages = [
        camera.picture(image, 0)
        for camera, image in zip(cameras, made_up_pair(*SIZE, shift_px=8), strict=True)
    ]
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    listening = threading.Thread(target=_spin, args=(executor, stopped))
    listening.start()
    while not stopped.wait(1.0 / float(sys.argv[1])):
        now_ns = time.time_ns()
        for camera, message in zip(cameras, messages, strict=True):
            stamp = message.header.stamp
            stamp.sec, stamp.nanosec = divmod(now_ns, 10**9)
            camera.send(message)
    listening.join()
    rclpy.try_shutdown()


def _spin(executor: SingleThreadedExecutor, stopped: threading.Event) -> None:
    while not stopped.is_set():
        executor.spin_once(timeout_sec=0.1)


if __name__ == '__main__':
    main()
