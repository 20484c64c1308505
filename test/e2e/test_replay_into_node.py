# SPDX-License-Identifier: Apache-2.0
"""mast3r-replay --into-node: the running node answers every pair of a bag, over real DDS."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from functools import partial

import pytest

pytest.importorskip('rosbags', reason='needs rosbags')
pytest.importorskip('rclpy', reason='needs ROS 2')

import rclpy
from rclpy.context import Context
from rclpy.event_handler import SubscriptionEventCallbacks
from rclpy.executors import SingleThreadedExecutor
from rclpy.serialization import deserialize_message
from support import bag_files
from support.bag_files import START_NS, stamp_of, stereo_plan

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import RecordedMessage
from mast3r_ros.cli import replay
from mast3r_ros.msg import PairStats
from mast3r_ros.ros.publishers import message_class

DEADLINE_S = 120.0
os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
ENVIRONMENT = {
    'ROS_DOMAIN_ID': str(1 + os.getpid() % 100),
    **os.environ,
    'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
}


@contextmanager
def running_node(*ros_arguments):
    """Run the perception node with the geometric engine."""
    process = subprocess.Popen(
        [
            *(sys.executable, '-m', 'mast3r_ros.ros.perception', '--ros-args'),
            *('-p', 'runtime.backend:=geometric', '-p', 'runtime.num_threads:=1'),
            *ros_arguments,
        ],
        env=ENVIRONMENT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(20.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def command(bag, *words):
    parts = [sys.executable, '-m', 'mast3r_ros.cli.replay', bag, '--into-node', *words]
    return [str(part) for part in parts]


def play(bag, *words):
    """Run the command; return its exit code, its report and what it complained of."""
    answer = subprocess.run(
        command(bag, '--json', *words),
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_S,
    )
    return answer.returncode, json.loads(answer.stdout or 'null'), answer.stderr


def wait_until_it_plays(player):
    """Wait until it has said which topics it plays, and some seconds more for the node."""
    for _ in range(2):
        assert 'calibration' in player.stderr.readline()
    time.sleep(4.0)


@pytest.fixture(scope='module')
def flight(tmp_path_factory):
    return stereo_plan(8).write(tmp_path_factory.mktemp('bags') / 'flight')


@pytest.mark.parametrize('wait', ['0', '-1', 'nan', 'inf'])
def test_a_wait_that_is_none_is_refused(flight, wait, capsys):
    assert replay.main([str(flight), '--into-node', '--timeout', wait]) == 1
    assert '--timeout is' in capsys.readouterr().err


def test_every_pair_of_a_bag_is_answered_by_the_node(flight):
    with running_node():
        code, report, said = play(flight)
        assert (code, report) == (0, {'pairs': 8, 'answered': 8, 'unanswered': 0}), said
        # A second time: the node lives on, and takes stamps that lie back as a new beginning.
        code, report, said = play(flight, '--frames', '3')
        assert (code, report) == (0, {'pairs': 3, 'answered': 3, 'unanswered': 0}), said


def test_node_and_replay_hand_out_the_same_messages(flight, tmp_path):
    words = ('--backend', 'geometric', '--threads', '1', '--output', tmp_path / 'out')
    assert replay.main([str(flight), *(str(word) for word in words)]) == 0
    with Bag(tmp_path / 'out', pytest.fail) as bag:
        written = [(item.topic, item.stamp_ns, item.data) for item in bag.messages(bag.topics)]
        types = {name: topic.type_name for name, topic in bag.topics.items()}
    depths = (f'qos_overrides.{topic}.publisher.depth:=100' for topic in types)  # none is lost
    node = running_node(*(part for depth in depths for part in ('-p', depth)))
    with node, listening(types) as heard:
        code, _, said = play(flight)
        deadline = time.monotonic() + 10.0
        while len(heard) < len(written) and time.monotonic() < deadline:
            time.sleep(0.1)
    assert code == 0, said
    assert len(written) == 8 * len(types)
    published = {
        (topic, stamp_of_bytes(data)): without_gaps(data, types[topic]) for topic, data in heard
    }
    assert {key[:2] for key in written} == set(published)
    assert [key for *key, data in written if published[tuple(key)] != data] == []


@contextmanager
def listening(types):
    """Collect the bytes of every message of some topics, as (topic, bytes)."""
    context = Context()
    rclpy.init(context=context, domain_id=int(ENVIRONMENT['ROS_DOMAIN_ID']))
    node = rclpy.create_node('listener', context=context)
    heard, matched = [], []
    for topic, type_name in types.items():
        node.create_subscription(
            message_class(type_name),
            topic,
            partial(keep, heard, topic),
            50,
            raw=True,
            event_callbacks=SubscriptionEventCallbacks(matched=matched.append),
        )
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin)
    thread.start()
    deadline = time.monotonic() + 20.0
    while len(matched) < len(types):
        assert time.monotonic() < deadline, 'the node is not seen'
        time.sleep(0.1)
    try:
        yield heard
    finally:
        executor.shutdown()
        thread.join()
        node.destroy_node()
        rclpy.shutdown(context=context)


def keep(heard, topic, data):
    heard.append((topic, bytes(data)))


def without_gaps(data, type_name):
    """Serialise once more: what the middleware leaves between fields is not defined."""
    store = MessageTypes().store
    return bytes(store.serialize_cdr(store.deserialize_cdr(data, type_name), type_name))


def stamp_of_bytes(data):
    return RecordedMessage('', 0, data).stamp_ns


def test_the_node_is_found_under_other_names_and_topics(flight):
    names = ['__ns:=/arm', '__node:=eye', 'left/image:=/rig/left/image_raw']
    names.append('right/image:=/rig/right/image_raw')
    with running_node(*(part for name in names for part in ('-r', name))):
        code, report, said = play(flight, '--node', '/arm/eye', '--frames', '3')
    assert (code, report) == (0, {'pairs': 3, 'answered': 3, 'unanswered': 0}), said


def test_a_node_on_simulated_time_gets_the_time_of_recording(flight):
    stats = {'/mast3r/stats': 'mast3r_ros/msg/PairStats'}
    with running_node('-p', 'use_sim_time:=true'), listening(stats) as heard:
        code, report, said = play(flight)
        again, _, _ = play(flight, '--frames', '2')  # the clock goes back, once, in between
    assert (code, again) == (0, 0), said
    assert report == {'pairs': 8, 'answered': 8, 'unanswered': 0}
    ages_ms = [deserialize_message(data, PairStats).age_ms for _, data in heard]
    assert len(ages_ms) >= 10
    assert all(-1000.0 < age_ms < 1000.0 for age_ms in ages_ms), ages_ms


def test_a_sequence_is_played_frame_by_frame(tmp_path):
    plan = bag_files.BagPlan()
    for number in range(5):
        picture = bag_files.made_up_pair(160, 120, 4 * number + 1)[1]
        plan.add('/eye/image', stamp_of(number), bag_files.image_fields(picture, stamp_of(number)))
    with running_node('-p', 'pairing.mode:=sequence'):
        code, report, said = play(plan.write(tmp_path / 'walk'), '--mode', 'sequence')
    assert (code, report) == (0, {'pairs': 4, 'answered': 4, 'unanswered': 0}), said


def test_pairs_that_the_node_does_not_answer_are_said(tmp_path):
    plan = stereo_plan(2)
    for place in (0, 4):  # both left images
        topic, time_ns, fields = plan.messages[place]
        cut = {**fields.values, 'data': fields['data'][:100]}
        plan.messages[place] = (topic, time_ns, type(fields)(fields.type_name, cut))
    with running_node():
        code, report, said = play(plan.write(tmp_path / 'broken'), '--timeout', '4')
    assert (code, report) == (1, {'pairs': 2, 'answered': 0, 'unanswered': 2})
    assert f'no answer to the pair of stamp {START_NS} within 4 s' in said
    assert f'no answer to the pair of stamp {stamp_of(1)} within 4 s' in said


def test_a_last_pair_that_the_node_cannot_be_sure_of_is_said_without_a_long_wait(tmp_path):
    bag = stereo_plan(1, gap_ns=2_000_000).write(tmp_path / 'one')
    with running_node():
        code, report, said = play(bag)
    assert (code, report) == (1, {'pairs': 1, 'answered': 0, 'unanswered': 1}), said
    assert f'no answer to the last pair, of stamp {START_NS}' in said
    assert 'within 30 s' not in said


def test_a_node_that_is_not_there_is_said_in_one_line(flight):
    code, report, said = play(flight, '--node', '/nobody', '--timeout', '1')
    assert (code, report) == (1, None)
    last = said.strip().splitlines()[-1]
    assert last.startswith('mast3r-replay: error: nobody publishes /nobody/stats')
    assert '--node' in last


def test_a_node_that_takes_other_images_is_said_in_one_line(flight):
    with running_node('-p', 'input.image_transport:=compressed'):
        code, report, said = play(flight, '--timeout', '6')
    assert (code, report) == (1, None)
    assert 'input.image_transport' in said.strip().splitlines()[-1]


def test_a_node_that_ends_ends_the_playing(tmp_path):
    bag = stereo_plan(200).write(tmp_path / 'long')
    with running_node() as node:
        player = subprocess.Popen(
            command(bag, '--timeout', '4'),
            env=ENVIRONMENT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until_it_plays(player)
        node.send_signal(signal.SIGINT)
        _, said = player.communicate(timeout=DEADLINE_S)
    assert player.returncode == 1
    assert 'error: /mast3r has ended after' in said.strip().splitlines()[-1]


def test_ctrl_c_ends_the_playing(tmp_path):
    bag = stereo_plan(400).write(tmp_path / 'long')
    with running_node():
        player = subprocess.Popen(
            command(bag),
            env=ENVIRONMENT,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        wait_until_it_plays(player)
        player.send_signal(signal.SIGINT)
        printed, said = player.communicate(timeout=DEADLINE_S)
    assert player.returncode == 130
    assert 'Traceback' not in said
    assert 'pairs were answered by /mast3r' in printed
    assert 'stopped after' in said.splitlines()[-1]


def test_a_bag_is_not_written_at_the_same_time(flight, tmp_path):
    code, _, said = play(flight, '--output', tmp_path / 'out')
    assert code == 1
    assert 'ros2 bag record' in said
