# SPDX-License-Identifier: Apache-2.0
"""A small ROS world around a node under test: cameras, listeners, service calls, waiting."""

from __future__ import annotations

import gc
import os
import threading
import time
import traceback
from contextlib import contextmanager
from unittest.mock import patch

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.srv import ChangeState, GetState
from rcl_interfaces.srv import SetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import QoSProfile, ReliabilityPolicy
from ros_cameras import CameraDouble

from mast3r_ros.ros import perception_node
from mast3r_ros.ros.container import Container
from mast3r_ros.ros.engine_hub import EngineHub
from mast3r_ros.ros.perception_node import Mast3rNode
from mast3r_ros.ros.publishers import message_class
from mast3r_ros.wire.result_topics import RESULT_TOPICS, STATS_TOPIC, STATS_TYPE
from mast3r_ros.wire.sequence_topics import SEQUENCE_TOPICS

DEADLINE_S = 30.0
RESEND_S = 3.0
TYPES = {topic.name: topic.type_name for topic in RESULT_TOPICS} | {STATS_TOPIC: STATS_TYPE}
ALL_TYPES = TYPES | SEQUENCE_TOPICS
TRANSITIONS = {'configure': 1, 'cleanup': 2, 'activate': 3, 'deactivate': 4}
GEOMETRIC = {'runtime.backend': 'geometric', 'runtime.num_threads': 1}


def until(condition, what, timeout_s=DEADLINE_S):
    """Wait for a condition and return what it gave; the limit is for a machine that hangs.

    :param what: what is waited for in words, or a function that says it once it did not happen.
    """
    deadline = time.monotonic() + timeout_s
    while not (value := condition()):
        if time.monotonic() > deadline:
            words = what() if callable(what) else what
            raise AssertionError(f'waited {timeout_s} s for this in vain: {words}')
        time.sleep(0.005)
    return value


def persist(send, arrived, what):
    """Send until it arrived: images travel best-effort, so one may be lost on the way."""
    deadline, send_at = time.monotonic() + DEADLINE_S, 0.0
    while not arrived():
        now_s = time.monotonic()
        assert now_s < deadline, f'waited {DEADLINE_S} s for this in vain: {what}'
        if now_s > send_at:
            send()
            send_at = now_s + RESEND_S
        time.sleep(0.002)


def stamp_of(message):
    """Return the stamp of a message in nanoseconds."""
    stamp = message.header.stamp
    return stamp.sec * 10**9 + stamp.nanosec


class Spinner:
    """Spins a node in a thread of its own; ``errors`` keeps what its callbacks raised."""

    def __init__(self, node, executor=None):
        self.errors = []
        self._executor = executor or SingleThreadedExecutor()
        self._executor.add_node(node)
        self._going_on = True
        self._thread = threading.Thread(target=self._spin, daemon=True)
        self._thread.start()

    def close(self):
        self._going_on = False
        self._executor.wake()
        self._thread.join(DEADLINE_S)
        self._executor.shutdown()

    def _spin(self):
        while self._going_on:
            try:
                self._executor.spin_once(timeout_sec=0.2)
            except Exception:
                self.errors.append(traceback.format_exc())


class Heard(list):
    """The messages of one topic, in the order they came."""

    def wait(self, count=1):
        """Wait until so many have come and return the latest."""
        until(lambda: len(self) >= count, lambda: f'{count} messages, {len(self)} came')
        return self[-1]

    def of_stamp(self, stamp_ns):
        """Wait for the message of that stamp and return it."""
        found = until(
            lambda: [item for item in list(self) if stamp_of(item) == stamp_ns],
            lambda: f'a message of stamp {stamp_ns}; came: {[stamp_of(item) for item in self]}',
        )
        return found[-1]


class World:
    """Everything around the node under test; to be used in a with-statement.

    ``report_period_s`` is how often the nodes started here report: more often than usual, so that
    a test need not wait for long.
    """

    def __init__(self):
        self.report_period_s = 0.25
        rclpy.init()
        self.node = Node('world', parameter_overrides=[])
        self._spinner = Spinner(self.node)
        self._started = {}
        self._health = Heard()
        self._told_at = 0
        self.node.create_subscription(DiagnosticArray, '/diagnostics', self._health.append, 50)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for node in list(self._started):
            self.stop(node)
        self._spinner.close()
        self.node.destroy_node()
        rclpy.shutdown()

    def start(self, settings=None, *, engine=None, name='mast3r', hub=None, **keywords):
        """Start a node under test with these parameters.

        :param engine: what every engine it asks for is; nothing: the real ones.
        """
        if engine is not None:
            hub = EngineHub(lambda _config: engine)
        overrides = [Parameter(key, value=value) for key, value in (settings or {}).items()]
        with patch.object(perception_node, 'PERIOD_S', self.report_period_s):
            node = Mast3rNode(name, hub=hub, parameter_overrides=overrides, **keywords)
        return self.adopt(node)

    def adopt(self, node, executor=None):
        """Spin a node and end it with this world."""
        self._started[node] = Spinner(node, executor)
        return node

    def stop(self, node):
        """End a node; none of its callbacks may have raised."""
        spinner = self._started.pop(node)
        spinner.close()
        node.destroy_node()
        assert spinner.errors == []

    def camera(self, topic='left/image', **keywords):
        """Return a camera that publishes an image topic and what lies beside it."""
        return CameraDouble(self.node, topic, **keywords)

    def stereo(self, **keywords):
        """Return the left and the right camera."""
        return self.camera('left/image', **keywords), self.camera('right/image', **keywords)

    @contextmanager
    def quiet(self):
        """Let everything but the nodes under test rest."""
        self._spinner.close()
        yield
        self._spinner = Spinner(self.node)

    def listen(self, *names, node='/mast3r', **quality):
        """Subscribe to results by name and return what is heard of each."""
        heard = []
        profile = QoSProfile(
            **{'depth': 1000, 'reliability': ReliabilityPolicy.RELIABLE, **quality}
        )
        for name in names:
            messages = Heard()
            messages.subscription = self.node.create_subscription(
                message_class(ALL_TYPES[name]), f'{node}/{name}', messages.append, profile
            )
            heard.append(messages)
        return heard[0] if len(heard) == 1 else heard

    def leave(self, heard):
        """Unsubscribe."""
        self.node.destroy_subscription(heard.subscription)

    def ready(self, *cameras):
        """Wait until the node hears these cameras and has the calibration of each that has one."""
        until(lambda: all(camera.is_heard() for camera in cameras), 'somebody hears the cameras')
        until(lambda: all(map(hears_its_cameras, self._nodes())), 'the nodes hear their cameras')
        until(lambda: self._is_calibrated(cameras), 'every calibration has come')

    def show(self, cameras, images, stamp_ns):
        """Publish a picture, or one each, by every camera, and see it taken in."""
        for camera, image in zip(cameras, each(images, cameras), strict=True):
            self.deliver(camera, camera.picture(image, stamp_ns))

    def deliver(self, camera, message):
        """Publish an image and wait until every node that hears this camera has taken it in."""
        inputs = [
            item
            for item in self._open_inputs()
            if item.image_topic.lstrip('/') == camera.topic.lstrip('/')
        ]
        assert inputs, f'no node hears {camera.topic}'
        before = [item.received for item in inputs]
        persist(
            lambda: camera.send(message),
            lambda: all(item.received > then for item, then in zip(inputs, before, strict=True)),
            f'an image arrives on {camera.topic}',
        )

    def _open_inputs(self):
        return [item for node in self._nodes() for item in open_inputs(node)]

    def _nodes(self):
        """Return every node under test, also those in a container."""
        groups = [
            node.nodes.values() if isinstance(node, Container) else [node]
            for node in self._started
        ]
        return [node for group in groups for node in group]

    def _is_calibrated(self, cameras):
        waiting = [camera for camera in cameras if camera.info is not None]
        for camera in waiting:
            camera.send_info(camera.info)
        time.sleep(0.02)
        known = [item.calibration.camera for item in self._open_inputs()]
        return sum(camera is not None for camera in known) >= len(waiting)

    def reports(self, part, node='/mast3r', start=0):
        """Return every report on engine, inputs or pairs, from the diagnostics message on."""
        return [
            status
            for message in self._health[start:]
            for status in message.status
            if status.name == f'{node}: {part}'
        ]

    def health(self, part, node='/mast3r'):
        """Return the latest report on engine, inputs or pairs, or None."""
        return next(reversed(self.reports(part, node)), None)

    def forget_reports(self):
        """Let go of every report so far."""
        self._health.clear()
        self._told_at = 0

    def told(self, part, *words, node='/mast3r'):
        """Wait until the diagnostics say these words in one report, and return it.

        What was said before the words that were last waited for is past.
        """

        def found():
            for place in range(self._told_at, len(self._health)):
                for status in self.reports(part, node, place)[:1]:
                    if all(word in status.message for word in words):
                        self._told_at = place
                        return status
            return None

        return until(found, lambda: f'{words} on /diagnostics: {self.health(part, node)}')

    def value(self, part, key, node='/mast3r'):
        """Return a value of the latest report as text, or None."""
        status = self.health(part, node)
        return values_of(status).get(key) if status else None

    def call(self, kind, name, request):
        """Call a service and return its answer."""
        client = self.node.create_client(kind, name)
        until(client.service_is_ready, f'the service {name}')
        future = client.call_async(request)
        until(future.done, f'an answer of {name}')
        self.node.destroy_client(client)
        return future.result()

    def change(self, transition, node='/mast3r'):
        """Ask for a transition of the lifecycle; return whether it succeeded."""
        request = ChangeState.Request()
        request.transition.id = TRANSITIONS[transition]
        return self.call(ChangeState, f'{node}/change_state', request).success

    def state(self, node='/mast3r'):
        """Return the label of the node's state."""
        return self.call(GetState, f'{node}/get_state', GetState.Request()).current_state.label

    def set(self, node='/mast3r', **values):
        """Set parameters, two underscores for a dot; return their results."""
        request = SetParameters.Request()
        for name, value in values.items():
            parameter = Parameter(name.replace('__', '.'), value=value)
            request.parameters.append(parameter.to_parameter_msg())
        return self.call(SetParameters, f'{node}/set_parameters', request).results


def resident_bytes():
    """Return the memory that this process really occupies, without garbage."""
    gc.collect()
    with open('/proc/self/statm', encoding='ascii') as file:
        return int(file.read().split()[1]) * os.sysconf('SC_PAGE_SIZE')


def values_of(status):
    """Return the figures of a report as text, by name."""
    return {item.key: item.value for item in status.values}


def open_inputs(node):
    """Return the cameras that a node takes images in from."""
    return [item for item in node.session.inputs if item.is_open] if node.session else []


def hears_its_cameras(node):
    """Whether the node takes images in and every subscription to them has found a publisher."""
    inputs = open_inputs(node)
    return bool(inputs) and all(
        subscription.get_publisher_count()
        for item in inputs
        for subscription in item._subscriptions._open
        if subscription.topic_name == item.image_topic
    )


def each(images, cameras):
    """Return a picture for each camera."""
    return images if isinstance(images, (list, tuple)) else [images] * len(cameras)
