# SPDX-License-Identifier: Apache-2.0
"""What rclpy's lifecycle lacks: causes of failures, peace after wrong requests, a clean end."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable
from typing import Any, Protocol

from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from mast3r_ros.errors import Mast3rError

ImpossibleTransition = rclpy_implementation.RCLError
"""What rclpy raises for a transition that the current state does not have."""


class _Failing(Protocol):
    """A node that remembers why its last transition failed."""

    failure: str | None

    def get_logger(self) -> Any:
        """Return the node's logger."""


Transition = Callable[[Any, LifecycleState], TransitionCallbackReturn]


def logged(transition: Transition) -> Transition:
    """Log why a transition failed and remember it; rclpy would swallow it without a word."""

    @functools.wraps(transition)
    def run(self: _Failing, state: LifecycleState) -> TransitionCallbackReturn:
        step = transition.__name__.removeprefix('on_')
        self.failure = None
        try:
            return transition(self, state)
        except Mast3rError as error:
            self.failure = f'{step} failed: {error}'
            self.get_logger().error(self.failure)
        except Exception as error:
            self.failure = f'{step} failed: {type(error).__name__}: {error}'
            self.get_logger().error(f'{step} failed:\n{traceback.format_exc()}')
        return TransitionCallbackReturn.FAILURE

    return run


def refuse_impossible_requests(node: LifecycleNode) -> None:
    """Answer a request for a transition that the current state does not have with a no.

    rclpy raises in the service's callback instead, which ends the executor and so the process.
    """
    service = getattr(node, '_service_change_state', None)
    if service is None:  # made without services
        return
    change_state = service.callback

    def answer(request: Any, response: Any) -> Any:
        try:
            return change_state(request, response)
        except ImpossibleTransition as error:
            node.get_logger().warning(f'a change of state is refused: {error}')
            response.success = False
            return response

    service.callback = answer


def leave_graph(node: LifecycleNode) -> None:
    """Let go of what keeps a destroyed node alive: rclpy's state machine holds on to its handle.

    Until then others see the node, and its name cannot be used again.
    """
    node._state_machine = None
