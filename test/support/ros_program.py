# SPDX-License-Identifier: Apache-2.0
"""A program around the node for tests: prints ``there`` once it is in the state asked for.

``ros_program.py KIND [NAME:=VALUE ...]``
"""

from __future__ import annotations

import sys
import threading

from rclpy.node import Node
from ros_cameras import CameraDouble
from ros_engines import ScriptedEngine

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.executable import run_nodes
from mast3r_ros.ros.perception_node import Mast3rNode

FOREVER_S = 600.0


def say(word):
    print(word, flush=True)


class Surroundings(Node):
    """Two cameras at 20 Hz, and what a test wants to happen or to know."""

    def __init__(self, kind, node):
        super().__init__('surroundings')
        self._kind, self._node = kind, node
        self._images = made_up_pair(320, 240)
        self._cameras = [CameraDouble(self, f'{side}/image') for side in ('left', 'right')]
        self._ticks = 0
        self.create_timer(0.05, self._tick)
        if kind == 'raising callback':
            self.create_timer(0.2, self._raise)

    def _tick(self):
        self._ticks += 1
        now_ns = self.get_clock().now().nanoseconds
        for camera, image in zip(self._cameras, self._images, strict=True):
            camera.show(image, now_ns)
        if self._kind == 'inactive' and self._ticks == 5:
            self._node.trigger_configure()
        if self._kind in ('quiet', 'inactive', 'raising callback') and self._ticks == 5:
            say('there')
        if self._kind == 'missing' and self._has_no_engine():
            say('there')
        if self._kind == 'geometric' and self._answered() >= 3:
            say('there')
        if self._ticks == 15:
            say('still there')

    def _answered(self):
        return self._node.session.pipeline.answered if self._node.session else 0

    def _has_no_engine(self):
        session = self._node.session
        return session is not None and session.worker.state is WorkerState.FAILED

    def _raise(self):
        raise RuntimeError('nobody expected this')


def hang():
    say('there')
    threading.Event().wait(FOREVER_S)


def load(config):
    hang()
    return ScriptedEngine()


def miss(config):
    raise EngineUnavailable('no such device; plug it in')


def work_slowly(number, engine):
    say('there')
    engine.sleep(FOREVER_S)


ENGINES = {
    'quiet': lambda config: ScriptedEngine(),
    'inactive': lambda config: ScriptedEngine(),
    'real': get_runtime,
    'raising callback': lambda config: ScriptedEngine(),
    'slow load': load,
    'missing': miss,
    'slow': lambda config: ScriptedEngine(work_slowly),
    'hanging': lambda config: ScriptedEngine(lambda number, engine: hang()),
    'geometric': get_runtime,
}


def make_nodes(kind):
    node = Mast3rNode(hub=EngineHub(ENGINES[kind]))
    return [node, Surroundings(kind, node)]


def main():
    kind, *settings = sys.argv[1:]
    settings.append(f'output.always_on:={str(kind not in ("quiet", "inactive")).lower()}')
    if kind == 'geometric':
        settings.append('runtime.backend:=geometric')
    arguments = [sys.argv[0], '--ros-args']
    for item in settings:
        arguments += ['-p', f'mast3r:{item}']
    return run_nodes(lambda: make_nodes(kind), arguments)


if __name__ == '__main__':
    sys.exit(main())
