# SPDX-License-Identifier: Apache-2.0
"""A node's followed camera: it follows as long as anybody wants to know where the camera is."""

from __future__ import annotations

from collections.abc import Callable

from rclpy.lifecycle import LifecycleNode

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.ros.odometry_input import OdometryInput
from mast3r_ros.ros.sequence_outputs import SequenceOutputs
from mast3r_ros.sequence.follower import Follower, Following
from mast3r_ros.sequence.frames import TrackedFrame
from mast3r_ros.wire.pose_fields import from_ros_world


class CameraFollowing:
    """Connects a follower and its publishers.

    :param worker: owner of the engine that the pipeline uses too.
    :param on_change: called when somebody begins or ceases to listen, in the executor's thread.
    :param on_problem: called with what a pair failed of.
    :param queue_limit: 1 for newest wins; more keeps every pair.
    """

    def __init__(
        self,
        node: LifecycleNode,
        config: NodeConfig,
        worker: EngineWorker,
        pipeline: Pipeline,
        *,
        on_change: Callable[[], None],
        on_problem: Callable[[ViewPair, Exception], None],
        queue_limit: int,
    ) -> None:
        sequence = config.sequence
        self.odometry = OdometryInput(node, sequence) if sequence.odometry_topic else None
        self._follower = Follower(
            worker,
            config,
            config.sequence,
            posed=pipeline.posed,
            on_frame=self._on_frame,
            on_problem=on_problem,
            odometry=self._told,
            queue_limit=queue_limit,
        )
        try:
            self._listen(True)  # what cannot be subscribed to is to be known now
            self._listen(False)
            self._outputs = SequenceOutputs(node, config, on_change)
        except Exception:
            self._follower.close()
            raise

    @property
    def needed(self) -> bool:
        """Whether anybody wants to know where the camera is."""
        return self._outputs.needed

    @property
    def now(self) -> Following:
        """How it goes."""
        return self._follower.now

    @property
    def drops(self) -> dict[str, int]:
        """How many pairs were not followed, by reason."""
        drops = {f'not_followed_{why}': count for why, count in self._follower.drops.items()}
        return drops if self.odometry is None else {**drops, **self.odometry.drops}

    def listen(self, active: bool) -> None:
        """Begin or cease to listen to the odometry, as the camera is followed or not."""
        self._listen(active and self.needed)

    def add(self, pairs: list[ViewPair]) -> None:
        """Follow from these pairs on, where that is wanted."""
        if self.needed:
            self._follower.add(pairs)

    def count_listeners(self) -> None:
        """Look who listens now; needed where the middleware does not tell (Humble)."""
        self._outputs.publishers.count_listeners()

    def configure(self, config: NodeConfig) -> None:
        """Take over changed dynamic settings."""
        self._outputs.configure(config)

    def reset(self) -> None:
        """Begin a new world with the next frame."""
        if self.odometry is not None:
            self.odometry.reset()
        self._follower.reset()

    def close(self) -> None:
        """Leave the engine and destroy the publishers."""
        self._listen(False)
        self._follower.close()
        self._outputs.close()

    def _listen(self, wanted: bool) -> None:
        if self.odometry is not None:
            (self.odometry.open if wanted else self.odometry.close)()

    def _told(self, view: View) -> Matrix | None:
        """Return what the odometry tells of a view, as the follower takes it."""
        if self.odometry is None:
            return None
        T = self.odometry.nearest(view.stamp_ns, view.frame_id)
        return None if T is None else from_ros_world(T)

    def _on_frame(self, found: TrackedFrame, view: View) -> None:
        self._outputs.publish(self._follower, found, view)
