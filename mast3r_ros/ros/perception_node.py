# SPDX-License-Identifier: Apache-2.0
"""The node: a lifecycle around a session of engine, pipeline, inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from rclpy.clock import Clock, ClockType, JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.timer import Timer
from std_srvs.srv import Trigger

from mast3r_ros.config import ExecutorRule, NodeConfig
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.errors import Mast3rError
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.findings import no_engine
from mast3r_ros.ros.health import PERIOD_S, Health
from mast3r_ros.ros.lifecycle import (
    ImpossibleTransition,
    leave_graph,
    logged,
    refuse_impossible_requests,
)
from mast3r_ros.ros.parameters import NodeParameters
from mast3r_ros.ros.session import Session

_LOOK_PERIOD_S = 0.5  # for what the middleware does not tell
_ANY_JUMP_BACK = JumpThreshold(
    min_forward=None, min_backward=Duration(nanoseconds=-1), on_clock_change=False
)


class Mast3rNode(LifecycleNode):
    """Turns a stereo pair or the frames of one camera into clouds, depth and matches.

    :param hub: engines shared with the other nodes of this process; nothing: its own.
    :param defaults: settings where no parameter says otherwise.
    :param keywords: what every rclpy node takes: ``namespace``, ``parameter_overrides``,
        ``context``, ``cli_args``, ``use_global_arguments``.
    :raises ConfigError: a parameter is unknown or out of range.
    """

    def __init__(
        self,
        node_name: str = 'mast3r',
        *,
        hub: EngineHub | None = None,
        defaults: NodeConfig | None = None,
        **keywords: Any,
    ) -> None:
        super().__init__(node_name, **keywords)
        self.session: Session | None = None
        self.failure: str | None = None  # why the last transition failed
        self._hub = hub or EngineHub()
        self._is_gone = False
        self._said_state: WorkerState | None = None
        try:
            self._declared = NodeParameters(self, defaults, self._on_parameters)
            self._health = Health(self)
        except BaseException:
            self.destroy_node()
            raise
        refuse_impossible_requests(self)
        self.create_service(Trigger, '~/reset', self._on_reset)
        self._jumps = self.get_clock().create_jump_callback(
            _ANY_JUMP_BACK, post_callback=self._on_time_jump
        )
        self._look_timer = self._timer(_LOOK_PERIOD_S, self._look)
        self._health_timer = self._timer(PERIOD_S, self._report)
        if self.config.autostart:
            self._start_timer = self._timer(0.0, self._autostart)

    @property
    def config(self) -> NodeConfig:
        """The settings that the parameters amount to now."""
        return self._declared.config

    @property
    def executor_rule(self) -> ExecutorRule:
        """What is to spin this node in a process of its own."""
        return self.config.executor

    @property
    def fatal(self) -> str | None:
        """Why this node can do nothing any more: its engine is dead; else None.

        One that could not be had in the first place can be asked for again by configuring.
        """
        if self.session is None or self.session.worker.state is not WorkerState.DEAD:
            return None
        return str(self.session.worker.error)

    @logged
    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Check settings and files; the engine loads in the background."""
        self._end_session()
        self.session = Session(self, self.config, self._hub)
        self._said_state = None
        return super().on_configure(state)

    @logged
    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Take images in as soon as somebody listens."""
        if self.session is None:
            raise Mast3rError('the last cleanup failed; clean up and configure anew')
        outcome = super().on_activate(state)
        try:
            self.session.activate(True)
        except Exception:
            self._undo_activation(state)
            raise
        return outcome

    @logged
    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop taking images in; the engine stays loaded."""
        if self.session is not None:
            self.session.activate(False)
        return super().on_deactivate(state)

    @logged
    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the engine and its memory."""
        self._end_session()
        return super().on_cleanup(state)

    @logged
    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free everything for good."""
        self._end_session()
        return super().on_shutdown(state)

    @logged
    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Clear up after a failure, so that configure works again."""
        self._end_session()
        return TransitionCallbackReturn.SUCCESS

    def destroy_node(self) -> None:
        """Free the engine, then the node."""
        self._is_gone = True
        self._end_session()
        super().destroy_node()
        leave_graph(self)

    def _timer(self, period_s: float, callback: Callable[[], None]) -> Timer:
        """Call back every so often, as long as this node is there."""

        def call() -> None:
            if not self._is_gone:  # the events executor may still have a call of it in hand
                callback()

        # The node's own clock stands still with use_sim_time until somebody publishes the time.
        return self.create_timer(period_s, call, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def _undo_activation(self, state: LifecycleState) -> None:
        """Leave the node as inactive as it was before activating it failed."""
        try:
            if self.session is not None:
                self.session.activate(False)
        finally:
            super().on_deactivate(state)

    def _end_session(self) -> None:
        session, self.session = self.session, None
        if session is not None and not session.close():
            self.get_logger().error(
                'the engine does not end yet; it is closed when its running call returns'
            )

    def _autostart(self) -> None:
        self._start_timer.cancel()
        try:
            if self.trigger_configure() is TransitionCallbackReturn.SUCCESS:
                self.trigger_activate()
        except ImpossibleTransition:
            self.get_logger().info('somebody else configures this node, so it does not autostart')

    def _on_parameters(self, config: NodeConfig) -> None:
        if self.session is not None:
            self.session.configure(config)

    def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        if self.session is not None:
            self.session.reset()
        response.success = True
        response.message = 'earlier frames, waiting images and the last scale are forgotten'
        return response

    def _on_time_jump(self, _: TimeJump) -> None:
        if self.session is not None:
            self.session.reset()

    def _look(self) -> None:
        """Look who is there, and say once what became of the engine."""
        if self.session is None:
            return
        self.session.look()
        worker = self.session.worker
        if worker.state is self._said_state:
            return
        self._said_state = worker.state
        if worker.state is WorkerState.FAILED:
            self.get_logger().error(no_engine(worker.error))
        elif worker.state is WorkerState.DEAD:
            self.get_logger().error(f'the engine is dead: {worker.error}')
        else:
            self.get_logger().info(f'the engine is {worker.state.value}')

    def _report(self) -> None:
        self._health.publish(self.session, self.failure)
