# SPDX-License-Identifier: Apache-2.0
"""The node of the bench: its engine answers at once, and a clock runs from callback to publish.

Now and then some pairs are published the usual way instead, by the same publishers. Prints what it
saw as JSON once enough pairs are through.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import rclpy
from node_usual import publish_usual_way, read_usual_way
from rclpy.executors import SingleThreadedExecutor
from rclpy.publisher import Publisher

from mast3r_ros.config import ResizeFilter
from mast3r_ros.core.preprocessing import plan_official, to_grid
from mast3r_ros.core.products import PairResult
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.outputs import Outputs
from mast3r_ros.ros.perception_node import Mast3rNode

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))
from ros_engines import ScriptedEngine, wall

SIZE, GRID = (640, 480), (512, 384)  # width and height of the images, of the results
BLOCK = 6  # pairs that are published one way before it is the other's turn
WARM_UP = 2  # blocks
ENGINE_STAGES = ('preprocess', 'encode', 'decode', 'postprocess', 'match')
DEADLINE_S = 90.0


class InstantEngine(ScriptedEngine):
    """Has its answer ready, on a grid of the size that a network would use."""

    def __init__(self) -> None:
        super().__init__(self._ready_answer)
        self._answer_made: Any = None

    def prepare(self, view: Any) -> Any:
        """Bring a view onto the grid."""
        plan = plan_official(*SIZE, GRID[0], 16, False)
        grid = to_grid(view, plan, ResizeFilter.FAST)
        self._views[id(grid)] = (grid, view)
        return grid

    def _ready_answer(self, _number: int, _engine: Any) -> Any:
        self.forget()
        if self._answer_made is None:
            self._answer_made = wall(*self.grids)
        return replace(self._answer_made, grid_1=self.grids[0], grid_2=self.grids[1])


@dataclass
class Clock:
    """Notes when images were handed over, and how long rclpy's own publish took."""

    handed_over: dict[int, list[float]] = field(default_factory=dict)  # by stamp
    publish_ms: float = 0.0
    bytes_published: int = 0
    times: dict[str, list[tuple[float, float]]] = field(
        default_factory=lambda: {'ours': [], 'usual': []}
    )
    messages: dict[int, list[Any]] = field(default_factory=dict)
    pairs: int = 0

    def watch_inputs(self, node: Mast3rNode) -> None:
        """Note the moment at which rclpy calls back with an image."""
        subscribe = node.create_subscription

        def watched(
            kind: Any, topic: str, callback: Callable[[Any], None], *rest: Any, **more: Any
        ) -> Any:
            def called(message: Any) -> None:
                now = time.perf_counter()
                if topic.endswith('/image'):
                    stamp = message.header.stamp
                    at = stamp.sec * 10**9 + stamp.nanosec
                    self.handed_over.setdefault(at, []).append(now)
                    self.messages.setdefault(at, []).append(message)
                callback(message)

            return subscribe(kind, topic, called, *rest, **more)

        node.create_subscription = watched  # type: ignore[method-assign]

    def watch_outputs(self) -> None:
        """Note the time from the second image to the last publish, and publish in turns."""
        ours, to_middleware = Outputs.publish, Publisher.publish

        def timed(publisher: Publisher, message: Any) -> None:
            start = time.perf_counter()
            to_middleware(publisher, message)
            self.publish_ms += (time.perf_counter() - start) * 1e3

        def watched(outputs: Outputs, result: PairResult, drops: dict[str, int]) -> float:
            self.publish_ms = 0.0
            self.pairs += 1
            images = self.messages.pop(result.stamp_ns)
            number, in_block = divmod(self.pairs, BLOCK)
            if is_usual := number % 2 == 1:
                for image in images:
                    read_usual_way(image)
                publish_usual_way(outputs, result, drops)
                age_ms = 0.0
            else:
                age_ms = ours(outputs, result, drops)
            end = time.perf_counter()
            second = max(self.handed_over.pop(result.stamp_ns))
            engine_ms = sum(result.timing_ms.get(stage, 0.0) for stage in ENGINE_STAGES)
            if number >= WARM_UP and in_block:  # the first finds memory as the other way left it
                added_ms = (end - second) * 1e3 - engine_ms
                self.times['usual' if is_usual else 'ours'].append((added_ms, self.publish_ms))
            return age_ms

        Publisher.publish = timed
        Outputs.publish = watched


def main() -> int:
    """Answer pairs until there are enough."""
    wanted = int(sys.argv[1])
    clock = Clock()
    clock.watch_outputs()
    rclpy.init()
    node = Mast3rNode(hub=EngineHub(lambda config: InstantEngine()))
    clock.watch_inputs(node)
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    deadline = time.monotonic() + DEADLINE_S
    while len(clock.times['usual']) < wanted and time.monotonic() < deadline:
        executor.spin_once(timeout_sec=0.2)
    executor.shutdown()
    node.destroy_node()
    rclpy.try_shutdown()
    print(json.dumps(clock.times))
    return 0


if __name__ == '__main__':
    sys.exit(main())
