# SPDX-License-Identifier: Apache-2.0
"""What a running node listens to, and publishers that reach it there."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import QoSProfile, ReliabilityPolicy

from mast3r_ros.bags.camera_topics import CAMERA_INFO, IMAGE, CameraTopics, choose_cameras
from mast3r_ros.bags.recorded import RecordedTopic
from mast3r_ros.config import NodeConfig
from mast3r_ros.errors import Mast3rError
from mast3r_ros.ros.publishers import message_class

DEPTH = 32
"""Messages that may be under way on one topic."""

_RELIABLE_S = 2.0  # for a node to subscribe reliably, unless its settings forbid that

Wait = Callable[[Callable[[], bool], float | None], bool]
"""Lets messages come until a condition holds, for so many seconds at most (None: the usual)."""


class NodeInputs:
    """The inputs of one node, found by what it subscribes to, remapped or not.

    :param node: the node that looks, and publishes.
    :param target: full name of the one that listens.
    """

    def __init__(self, node: Node, target: str, wait: Wait) -> None:
        self._node = node
        self._target = target
        self._wait = wait

    def publishers(
        self, cameras: Sequence[CameraTopics], config: NodeConfig
    ) -> dict[str, Publisher]:
        """Return a publisher for each topic of a bag's cameras, heard by the node.

        :raises Mast3rError: the node does not listen to what the bag has, or is out of reach.
        """
        if not self._wait(lambda: len(self._image_inputs(cameras)) >= len(cameras), None):
            raise Mast3rError(
                f'{self._target} does not listen to {len(cameras)} topics of '
                f'{cameras[0].type_name}; activate it, and set its pairing.mode and '
                'input.image_transport as the bag needs'
            )
        theirs = choose_cameras(self._inputs(), config, {})
        made: dict[str, Publisher] = {}
        for ours, their in zip(cameras, theirs, strict=True):
            made |= self._camera_publishers(ours, their)
        images = [made[camera.image] for camera in cameras]
        if not self._wait(lambda: all(item.get_subscription_count() for item in images), None):
            raise Mast3rError(f'{self._target} cannot be reached; is it in another ROS domain?')
        # A node that sees reliable publishers subscribes anew; what is sent before gets lost.
        topics = [item.topic_name for item in images]
        self._wait(lambda: all(self._is_heard_reliably(topic) for topic in topics), _RELIABLE_S)
        return made

    def _is_heard_reliably(self, topic: str) -> bool:
        found = self._node.get_subscriptions_info_by_topic(topic)
        return bool(found) and all(
            item.qos_profile.reliability is ReliabilityPolicy.RELIABLE for item in found
        )

    def _camera_publishers(self, ours: CameraTopics, theirs: CameraTopics) -> dict[str, Publisher]:
        made = {}
        names = [
            (ours.image, theirs.image, ours.type_name, theirs.type_name),
            (ours.info, theirs.info, CAMERA_INFO, None),
            (ours.mask, theirs.mask, IMAGE, None),
        ]
        for name, target, type_name, wanted in names:
            if wanted not in (None, type_name):
                raise Mast3rError(
                    f'{self._target} takes {wanted} on {target}, but {name} carries {type_name}; '
                    "set the node's input.image_transport to fit"
                )
            if name is not None and target is not None:
                quality = QoSProfile(depth=DEPTH, reliability=ReliabilityPolicy.RELIABLE)
                made[name] = self._node.create_publisher(message_class(type_name), target, quality)
        return made

    def _image_inputs(self, cameras: Sequence[CameraTopics]) -> list[str]:
        """Return the image topics that the node listens to, of the bag's type, without masks."""
        kind = cameras[0].type_name
        return [
            name
            for name, topic in self._inputs().items()
            if topic.type_name == kind and not name.endswith('mask')
        ]

    def _inputs(self) -> dict[str, RecordedTopic]:
        """Return what the node listens to."""
        namespace, _, name = self._target.rpartition('/')
        try:
            found: Iterable[tuple[str, list[str]]] = (
                self._node.get_subscriber_names_and_types_by_node(name, namespace or '/')
            )
        except RuntimeError:  # rclpy's NodeNameNonExistentError: it is not known yet
            return {}
        return {topic: RecordedTopic(topic, types[0], None) for topic, types in found}
