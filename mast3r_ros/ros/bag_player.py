# SPDX-License-Identifier: Apache-2.0
"""Plays a bag into a running node, the next pair when the last is answered."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import islice
from typing import Any, cast

import rclpy
from builtin_interfaces.msg import Time
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.signals import SignalHandlerOptions
from rosgraph_msgs.msg import Clock

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.camera_topics import CameraTopics
from mast3r_ros.bags.mask_order import masks_first
from mast3r_ros.bags.recorded import RecordedMessage, Tell
from mast3r_ros.bags.replay import Part
from mast3r_ros.config import NodeConfig, PairingMode
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.msg import PairStats
from mast3r_ros.ros.filter_pairing import make_node_pairing
from mast3r_ros.ros.node_inputs import DEPTH, NodeInputs
from mast3r_ros.wire.result_topics import STATS_TOPIC
from mast3r_ros.wire.stamps import stamp_ns

_SETTLE_S = 0.3  # for a calibration to arrive before the first image
_LOOK_S = 0.1
_AFTER_IMAGE_S = 0.01
_SEND_AGAIN_S = 1.0  # unless answers take longer
_END_OF_TIME_NS = 2**31 * 10**9  # that a message holds

OnPair = Callable[[float, int], None]


@dataclass
class Played:
    """What became of a bag that was played into a node."""

    sent: int = 0
    answered: int = 0
    stopped: bool = False  # by Ctrl-C

    @property
    def unanswered(self) -> int:
        """Pairs that the node did not answer in time."""
        return self.sent - self.answered


@dataclass(frozen=True)
class _Sent:
    """An image that was sent, as it was: it may have to be sent again."""

    message: RecordedMessage
    stamp_ns: int

    def view(self) -> View:
        raise InvalidInput('the picture was sent to the node and is not kept')


def play_into_node(
    bag: Bag,
    cameras: Sequence[CameraTopics],
    config: NodeConfig,
    part: Part,
    *,
    node_name: str,
    timeout_s: float,
    tell: Tell,
    on_pair: OnPair = lambda fraction, sent: None,
) -> Played:
    """Publish a bag's images where the node listens, and wait for the answer to each pair.

    :param config: the node's settings: what makes a pair is told from them.
    :param node_name: full name of the node.
    :param timeout_s: how long to wait for the node, and for each of its answers.
    :param tell: is told of answers that do not come.
    :param on_pair: called after each pair with the part of the bag that is done, from 0 to 1, and
        the number of pairs.
    :raises Mast3rError: there is no such node, or it does not listen to what the bag has.
    """
    with _own_node() as (node, spin):
        player = BagPlayer(node, spin, f'/{node_name.strip("/")}', config, timeout_s, tell)
        try:
            player.connect(cameras)
            player.play(bag, cameras, part, on_pair)
        except KeyboardInterrupt:
            player.played.stopped = True
        return player.played


class BagPlayer:
    """Publishes a bag's messages and hears of the node's answers by its statistics.

    The time of recording goes out on /clock, for a node with use_sim_time; no other hears it.

    :param spin: lets the executor work for so many seconds, or until something has happened.
    :param target: full name of the node.
    """

    def __init__(
        self,
        node: Node,
        spin: Callable[[float], None],
        target: str,
        config: NodeConfig,
        timeout_s: float,
        tell: Tell,
    ) -> None:
        self.played = Played()
        self._node = node
        self._spin = spin
        self._target = target
        self._config = config
        self._timeout_s = timeout_s
        self._tell = tell
        self._publishers: dict[str, Publisher] = {}  # by the bag's topic
        self._answered_ns: set[int] = set()  # stamps; an answer may come while still sending
        self._slowest_s = 0.0
        self._clock = node.create_publisher(Clock, '/clock', 1)
        self._clock_ns = -1  # told last
        self._has_rival_clock = False
        self._stats_topic = f'{target}/{STATS_TOPIC}'
        node.create_subscription(PairStats, self._stats_topic, self._on_stats, DEPTH)

    def connect(self, cameras: Sequence[CameraTopics]) -> None:
        """Find the node and what it listens to, and make a publisher for each topic of the bag."""
        if not self._wait(lambda: bool(self._node.count_publishers(self._stats_topic))):
            raise Mast3rError(
                f'nobody publishes {self._stats_topic}; start the node, or give its name by --node'
            )
        inputs = NodeInputs(self._node, self._target, self._wait)
        self._publishers = inputs.publishers(cameras, self._config)

    def play(
        self,
        bag: Bag,
        cameras: Sequence[CameraTopics],
        part: Part,
        on_pair: OnPair,
    ) -> None:
        """Publish the bag's messages in order; after each pair wait for its answer."""
        window_ns = part.window_ns(bag)
        self._send_first_calibration(bag, cameras, window_ns[0])
        source_of = {camera.image: camera.source for camera in cameras}
        length_ns = max(1, min(window_ns[1], bag.end_ns or 0) - window_ns[0])
        pairing = make_node_pairing(self._config.pairing)
        messages = bag.messages(self._publishers, *window_ns)
        self._has_rival_clock = self._node.count_publishers('/clock') > 1
        for message in masks_first(messages, cameras):
            self._tell_time(message.time_ns)
            source, stamp = source_of.get(message.topic), message.stamp_ns
            if source is None or stamp is None:
                self._publishers[message.topic].publish(message.data)
                continue
            self._send_image(message)
            for pair in pairing.add(source, _Sent(message, stamp)):
                self._await_answer(cast(tuple[_Sent, _Sent], pair))
                on_pair((message.time_ns - window_ns[0]) / length_ns, self.played.sent)
                if self.played.sent == part.pairs:
                    return
        rest = None if part.pairs is None else part.pairs - self.played.sent
        for left, _ in islice(pairing.finish(), rest):
            self._await_late_answer(left.stamp_ns)

    def _tell_time(self, time_ns: int) -> None:
        """Let the clock go on, never back: a node would forget what it has."""
        if self._has_rival_clock or not self._clock_ns < time_ns < _END_OF_TIME_NS:
            return  # a simulator's, another player's; a message put forward; a damaged bag
        self._clock_ns = time_ns
        seconds, nanoseconds = divmod(time_ns, 10**9)
        self._clock.publish(Clock(clock=Time(sec=seconds, nanosec=nanoseconds)))

    def _send_first_calibration(
        self, bag: Bag, cameras: Sequence[CameraTopics], start_ns: int
    ) -> None:
        """Let the node know the cameras before their first image comes."""
        infos = {camera.info for camera in cameras if camera.info} & self._publishers.keys()
        for message in bag.first_messages(infos, start_ns):
            self._publishers[message.topic].publish(message.data)
        self._wait(lambda: False, _SETTLE_S)

    def _await_answer(self, pair: Sequence[_Sent]) -> None:
        """Wait for a pair's statistics, and send it again meanwhile: images may get lost."""
        begun_s = time.monotonic()
        stamp = pair[0].stamp_ns
        self.played.sent += 1
        # Going back in time would make the node forget, so of a sequence only the newer frame.
        images = pair if self._config.pairing.mode is PairingMode.STEREO else pair[:1]
        again_s = max(_SEND_AGAIN_S, 2.0 * self._slowest_s)
        while not self._wait(lambda: stamp in self._answered_ns, min(again_s, self._timeout_s)):
            if time.monotonic() - begun_s >= self._timeout_s:
                self._tell(
                    f'no answer to the pair of stamp {stamp} within {self._timeout_s:g} s; '
                    'see /diagnostics, or run `ros2 run mast3r_ros doctor`'
                )
                self._check_alive()
                return
            for image in images:
                self._send_image(image.message)
        self._slowest_s = max(self._slowest_s, time.monotonic() - begun_s)
        self.played.answered += 1
        self._answered_ns.clear()

    def _await_late_answer(self, stamp: int) -> None:
        """Hear of a pair that is one because the bag is over, which the node cannot know."""
        self.played.sent += 1
        patience_s = max(_SEND_AGAIN_S, 2.0 * self._slowest_s)
        if self._wait(lambda: stamp in self._answered_ns, min(patience_s, self._timeout_s)):
            self.played.answered += 1
            return
        self._tell(
            f'no answer to the last pair, of stamp {stamp}: its images differ in time, and the '
            'node waits for one that could be nearer'
        )

    def _check_alive(self) -> None:
        if not self._node.count_publishers(self._stats_topic):
            raise Mast3rError(f'{self._target} has ended after {self.played.answered} answers')

    def _send_image(self, message: RecordedMessage) -> None:
        """Send an image and let it get out: two at once can exceed what the middleware holds."""
        self._publishers[message.topic].publish(message.data)
        self._wait(lambda: False, _AFTER_IMAGE_S)

    def _on_stats(self, stats: PairStats) -> None:
        self._answered_ns.add(stamp_ns(stats.header.stamp))

    def _wait(self, is_done: Callable[[], bool], timeout_s: float | None = None) -> bool:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        deadline_s = time.monotonic() + limit_s
        while not is_done():
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0:
                return False
            self._spin(min(left_s, _LOOK_S))
        return True


@contextmanager
def _own_node() -> Iterator[tuple[Node, Callable[[float], None]]]:
    """Make a node in a context of its own, with a way to let it work."""
    context = Context()
    rclpy.init(context=context, signal_handler_options=SignalHandlerOptions.NO)
    executor = SingleThreadedExecutor(context=context)
    node: Any = rclpy.create_node('mast3r_replay', context=context)
    executor.add_node(node)
    try:
        yield node, executor.spin_once
    finally:
        executor.shutdown()
        node.destroy_node()
        rclpy.try_shutdown(context=context)
