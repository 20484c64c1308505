# SPDX-License-Identifier: Apache-2.0
"""What a node has between configure and cleanup: engine, pipeline, inputs, outputs."""

from __future__ import annotations

from collections import Counter, deque
from contextlib import ExitStack

from rclpy.lifecycle import LifecycleNode

from mast3r_ros.config import NodeConfig, QueueRule
from mast3r_ros.core.images import load_mask
from mast3r_ros.core.mask_store import KEPT, MaskStore
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.views import LazyView
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineCancelled, Mast3rError
from mast3r_ros.ros.camera_following import CameraFollowing
from mast3r_ros.ros.camera_input import CameraInput
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.filter_pairing import make_node_pairing
from mast3r_ros.ros.outputs import Outputs
from mast3r_ros.wire.input_topics import CAMERA_TOPICS

AGES_KEPT = 1000
"""Latest ages that percentiles are made from."""


class Session:
    """Connects inputs, pipeline and outputs while a configuration holds.

    :raises Mast3rError: a file that the settings name cannot be used; nothing is left behind.
    """

    def __init__(self, node: LifecycleNode, config: NodeConfig, hub: EngineHub) -> None:
        masks = _mask_stores(config)
        cameras = CAMERA_TOPICS[config.pairing.mode]
        pairing = make_node_pairing(config.pairing)
        self.config = config
        self.active = False
        self.last_problem: str | None = None
        self.last_result: PairResult | None = None
        self.ages_ms: deque[float] = deque(maxlen=AGES_KEPT)
        self._node = node
        self._hub = hub
        self.inputs = [
            CameraInput(node, source, topic, config.input, store, self._take)
            for (source, topic), store in zip(cameras, masks, strict=False)
        ]
        self._check_inputs()
        self._has_ended = True
        with ExitStack() as made:  # the reverse of making it ends all, whatever one of them raises
            self.outputs = Outputs(node, config, self.refresh)
            made.callback(self.outputs.publishers.close)
            self.worker: EngineWorker = hub.acquire(config)
            made.callback(self._release_worker)
            self.pipeline = Pipeline(
                self.worker,
                config,
                on_result=self._on_result,
                on_problem=self._on_problem,
                pairing=pairing,
                queue_limit=_queue_limit(config),
            )
            made.callback(self.pipeline.close)
            self.following = self._make_following() if config.sequence.enable else None
            if self.following is not None:
                made.callback(self.following.close)
            for item in self.inputs:
                made.callback(item.close)
            self._made = made.pop_all()

    @property
    def listens(self) -> bool:
        """Whether anything is to be computed: active, and somebody wants it."""
        follows = self.following is not None and self.following.needed
        return self.active and (self.outputs.needed or follows)

    @property
    def drops(self) -> dict[str, int]:
        """How much came to nothing so far, by reason."""
        total = Counter(self.pipeline.drops)
        for item in self.inputs:
            total.update(item.drops)
        if self.following is not None:
            total.update(self.following.drops)
        return dict(total)

    def activate(self, active: bool) -> None:
        """Begin or cease to take images in."""
        self.active = active
        self.refresh()
        if not active:
            self.pipeline.reset()

    def refresh(self) -> None:
        """Bring inputs and computed parts in line with who listens."""
        self.pipeline.wanted = self.outputs.wanted()
        for item in self.inputs:
            if self.listens:
                item.open()
            else:
                item.close()
        if self.following is not None:
            self.following.listen(self.active)

    def look(self) -> None:
        """Look who listens and who publishes, where the middleware does not tell."""
        self.outputs.publishers.count_listeners()
        if self.following is not None:
            self.following.count_listeners()
        for item in self.inputs:
            item.look()

    def configure(self, config: NodeConfig) -> None:
        """Take over changed dynamic settings from the next pair on."""
        self.config = config
        self.pipeline.configure(config)
        self.outputs.configure(config)
        if self.following is not None:
            self.following.configure(config)
        self.refresh()

    def reset(self) -> None:
        """Forget earlier frames, waiting images and the last scale."""
        for item in self.inputs:
            item.reset()
        self.pipeline.reset()
        if self.following is not None:
            self.following.reset()

    def close(self) -> bool:
        """Free everything; False when the engine's thread does not end in time."""
        self.active = False
        self._made.close()
        return self._has_ended

    def _release_worker(self) -> None:
        self._has_ended = self._hub.release(self.worker)

    def _check_inputs(self) -> None:
        """Subscribe once: what cannot be subscribed to is to be known now, not when it is used."""
        for item in self.inputs:
            item.open()
            item.close()

    def _take(self, source: str, frame: LazyView) -> None:
        try:
            pairs = self.pipeline.pair_up(source, frame)
            try:
                if self.outputs.needed:
                    self.pipeline.submit(pairs)
            finally:  # that one queue is full is no reason for the other to miss a pair
                if self.following is not None:
                    self.following.add(pairs)
        except Mast3rError as error:  # a full queue: said, and the next image is taken again
            self._say(str(error))

    def _on_result(self, result: PairResult) -> None:
        self.last_result = result
        self.ages_ms.append(self.outputs.publish(result, self.drops))

    def _make_following(self) -> CameraFollowing:
        return CameraFollowing(
            self._node,
            self.config,
            self.worker,
            self.pipeline,
            on_change=self.refresh,
            on_problem=self._on_problem,
            queue_limit=_queue_limit(self.config),
        )

    def _on_problem(self, _pair: ViewPair, error: Exception) -> None:
        if isinstance(error, EngineCancelled) and not self.active:
            return  # the node ends or was deactivated: nobody waits for that pair
        self._say(str(error) or type(error).__name__)

    def _say(self, problem: str) -> None:
        self.last_problem = problem
        self._node.get_logger().error(f'a pair failed: {problem}', throttle_duration_sec=5.0)


def _queue_limit(config: NodeConfig) -> int:
    return config.input.queue_limit if config.input.queue is QueueRule.ALL else 1


def _mask_stores(config: NodeConfig) -> list[MaskStore]:
    limit = config.input.queue_limit if config.input.queue is QueueRule.ALL else 0
    return [
        MaskStore(config.input.mask_policy, load_mask(path) if path else None, kept=KEPT + limit)
        for path in (config.input.mask_file_1, config.input.mask_file_2)
    ]
