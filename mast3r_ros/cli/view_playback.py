# SPDX-License-Identifier: Apache-2.0
"""Plays a bag of results, with the images they were made from, into a view."""

from __future__ import annotations

import heapq
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.bags.message_types import MessageTypes
    from mast3r_ros.bags.recorded import RecordedMessage
    from mast3r_ros.viewer.image_store import ImageStore
    from mast3r_ros.viewer.parts import StatsPart
    from mast3r_ros.viewer.scene import Scene

_KINDS = {
    'points': 'sensor_msgs/msg/PointCloud2',
    'matches': 'mast3r_ros/msg/MatchArray',
    'stats': 'mast3r_ros/msg/PairStats',
}
_POSES = ('geometry_msgs/msg/PoseStamped', 'nav_msgs/msg/Odometry')

# Results carry the time of their images' exposure, and images are recorded later than that: so the
# reading of results lags behind, that of images never does.
_LAG_NS = 1_000_000_000
_LONGEST_WAIT_S = 5.0  # between two pairs, whatever gap the recording has


@dataclass(frozen=True)
class ResultTopics:
    """The topics of one node's results in a bag."""

    node: str
    topics: dict[str, str]  # by kind: points, matches, stats

    @classmethod
    def find(cls, bag: Bag, node: str | None) -> ResultTopics:
        """Return a node's results in a bag.

        :param node: nothing: the first node that has any.
        :raises InvalidInput: there are none.
        """
        for name, topic in bag.topics.items():
            owner, _, kind = name.rpartition('/')
            wanted = kind in ('points', 'matches') and topic.type_name == _KINDS[kind]
            if wanted and node in (None, owner):
                there = {
                    kind: f'{owner}/{kind}'
                    for kind, type_name in _KINDS.items()
                    if (found := bag.topics.get(f'{owner}/{kind}'))
                    and found.type_name == type_name
                }
                return cls(owner, there)
        whose = f'of {node} ' if node else ''
        raise InvalidInput(
            f'{bag.path} holds no results {whose}(a topic named .../points or .../matches); '
            'make a bag of results with mast3r-replay'
        )


@dataclass
class _Pair:
    """What was read of one pair so far."""

    stamp_ns: int
    messages: dict[str, RecordedMessage] = field(default_factory=dict)


class Playback:
    """Plays pairs at the speed they were taken at, as the view's flow lets them.

    :param images: camera names, each with the bag and the topic of its images.
    :param pose_topic: of camera 1's poses, in the bag of results.
    :param speed: times that of the recording.
    """

    unit = 'pairs'
    """What is shown one after the other."""

    def __init__(
        self,
        bag: Bag,
        results: ResultTopics,
        images: Sequence[tuple[str, Bag, str]],
        types: MessageTypes,
        *,
        pose_topic: str | None = None,
        speed: float = 1.0,
    ) -> None:
        self._bag = bag
        self._results = results
        self._images = images
        self._types = types
        self._pose_topic = pose_topic
        self._speed = speed
        topic = bag.topics.get(pose_topic) if pose_topic else None
        if pose_topic and topic is None:
            raise InvalidInput(f'{bag.path} has no topic {pose_topic}; see `ros2 bag info`')
        if topic is not None and topic.type_name not in _POSES:
            raise InvalidInput(
                f'{pose_topic} holds {topic.type_name}; poses are {" or ".join(_POSES)}'
            )

    def play(self, scene: Scene, store: ImageStore) -> int:
        """Play to the end, or until the view is closed; return how many pairs were shown."""
        shown = 0
        before_ns: int | None = None
        for pair in self._pairs(scene, store):
            gap_s = 0.0 if before_ns is None else (pair.stamp_ns - before_ns) / 1e9 / self._speed
            before_ns = pair.stamp_ns
            if gap_s > 0.0 and not scene.flow.paused:
                time.sleep(min(gap_s, _LONGEST_WAIT_S))
            if not scene.flow.wait_for_turn():
                break
            self._show(scene, pair)
            shown += 1
        return shown

    def _pairs(self, scene: Scene, store: ImageStore) -> Iterator[_Pair]:
        """Yield pairs in order; images and poses that come between go where they are kept."""
        kinds = {topic: kind for kind, topic in self._results.topics.items()}
        cameras = {(bag.path, topic): camera for camera, bag, topic in self._images}
        pair: _Pair | None = None
        for path, message in self._messages():
            camera = cameras.get((path, message.topic))
            stamp_ns = message.stamp_ns
            if stamp_ns is None:
                continue
            if camera is not None:
                store.add(camera, stamp_ns, len(message.data), self._decoder(path, message))
            elif message.topic == self._pose_topic:
                self._add_pose(scene, message)
            elif message.topic in kinds:
                if pair is not None and stamp_ns != pair.stamp_ns:
                    yield pair
                    pair = None
                pair = pair or _Pair(stamp_ns)
                pair.messages[kinds[message.topic]] = message
        if pair is not None:
            yield pair

    def _messages(self) -> Iterator[tuple[Any, RecordedMessage]]:
        """Yield the messages of all bags by time, each with the path of its bag."""
        streams = [self._stream(self._bag, list(self._results.topics.values()), _LAG_NS)]
        for bag in {bag.path: bag for _, bag, _ in self._images}.values():
            names = [topic for _, of, topic in self._images if of.path == bag.path]
            streams.append(self._stream(bag, names, 0))
        if self._pose_topic:
            streams.append(self._stream(self._bag, [self._pose_topic], 0))
        for _, path, message in heapq.merge(*streams, key=lambda item: item[0]):
            yield path, message

    def _stream(
        self, bag: Bag, topics: list[str], lag_ns: int
    ) -> Iterator[tuple[int, Any, RecordedMessage]]:
        for message in bag.messages(topics):
            yield message.time_ns + lag_ns, bag.path, message

    def _decoder(self, path: Any, message: RecordedMessage) -> Callable[[], Any]:
        from mast3r_ros.wire.compressed_decoding import decode_compressed
        from mast3r_ros.wire.image_decoding import decode_image

        bag = next(bag for _, bag, _ in self._images if bag.path == path)
        type_name = bag.topics[message.topic].type_name
        decode = decode_compressed if type_name.endswith('CompressedImage') else decode_image
        return lambda: decode(self._types.read(message.data, type_name))

    def _add_pose(self, scene: Scene, message: RecordedMessage) -> None:
        from mast3r_ros.viewer.message_reading import read_pose

        type_name = self._bag.topics[message.topic].type_name
        scene.add_pose(read_pose(self._types.read(message.data, type_name)))

    def _show(self, scene: Scene, pair: _Pair) -> None:
        from mast3r_ros.viewer.message_reading import read_cloud, read_matches, read_stats

        def reader(kind: str, read: Callable[[Any], Any]) -> Callable[[], Any]:
            data = pair.messages[kind].data
            return lambda: read(self._types.read(data, _KINDS[kind]))

        if 'matches' in pair.messages:
            scene.offer_matches(reader('matches', read_matches))
        if 'points' in pair.messages:
            scene.offer_cloud(reader('points', read_cloud))
        if 'stats' in pair.messages:
            scene.add_stats(reader('stats', read_stats)())
        else:
            scene.add_stats(self._known_of(pair))

    def _known_of(self, pair: _Pair) -> StatsPart:
        """Return what is known of a pair where no statistics were recorded."""
        from mast3r_ros.viewer.parts import NO_UNIT, StatsPart

        count, source = 0, NO_UNIT
        if 'matches' in pair.messages:
            message = self._types.read(pair.messages['matches'].data, _KINDS['matches'])
            count, source = len(message.u_1), message.scale_source
        return StatsPart(pair.stamp_ns, 'recorded', matches=count, scale_source=source)
