# SPDX-License-Identifier: Apache-2.0
"""The demo as a user runs it: simulator, node and monitor, each in its own process."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from mast3r_ros.ros.dds_profile import profile_variable

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds.xml'
BURST_BYTES = 2 * 640 * 480 * (3 + 1)  # two pictures and two masks

FIND_SEGMENTS = """
import pathlib, rclpy
rclpy.init()
node = rclpy.create_node('here')
mapped = {line.split()[5] for line in open('/proc/self/maps') if '/dev/shm/fast' in line}
print(max(pathlib.Path(name).stat().st_size for name in mapped))
"""


def run_demo(*arguments, **variables):
    return subprocess.run(
        [sys.executable, '-m', 'mast3r_ros.ros.demo', *arguments],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture(scope='module')
def flown(tmp_path_factory):
    """A demo of a few seconds over a short loop: what it said, its summary, its flights."""
    folder = tmp_path_factory.mktemp('demo')
    places = ('--flights', str(folder / 'flights'), '--output', str(folder / 'out'))
    done = run_demo('--seconds', '4', '--loop', '1', *places)
    assert done.returncode == 0, done.stdout + done.stderr
    return done, json.loads((folder / 'out' / 'summary.json').read_text()), folder / 'flights'


def test_the_demo_ends_with_a_summary_of_right_depth(flown):
    _, summary, _ = flown
    assert set(summary) == {
        'pairs',
        'rate_hz',
        'age_ms',
        'drops',
        'median_depth_error',
        'matches',
        'scale_source',
    }
    assert summary['pairs'] > 0
    assert 0.0 < summary['median_depth_error'] < 0.02
    assert summary['matches'] > 1000
    assert summary['scale_source'] == 'stereo_baseline'


def test_the_demo_says_in_a_file_what_it_wrote_and_no_more_than_needed(flown):
    done, summary, _ = flown
    assert f'{"pairs":<20} {summary["pairs"]}' in done.stdout
    assert '\r' not in done.stdout + done.stderr
    assert 'failed' not in done.stdout + done.stderr


@pytest.fixture
def running(flown, tmp_path):
    """A demo in the middle of its flight, the processes it started, its summary's folder."""
    places = ('--flights', str(flown[2]), '--output', str(tmp_path))
    demo = subprocess.Popen(
        [sys.executable, '-m', 'mast3r_ros.ros.demo', '--loop', '1', '--no-view', *places],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    awaited = {'flying, ', 'the engine is ready'}
    for line in demo.stdout:
        awaited = {words for words in awaited if words not in line}
        if not awaited:
            break
    children = children_of(demo.pid)
    yield demo, children, tmp_path
    demo.kill()
    for child in filter(is_running, children):
        os.kill(child, signal.SIGKILL)
    demo.communicate()


def children_of(parent):
    """Return the processes that this one started."""
    found = []
    for folder in Path('/proc').glob('[0-9]*'):
        try:
            after_name = (folder / 'stat').read_text().rpartition(')')[2].split()
        except OSError:  # it has just ended
            continue
        if int(after_name[1]) == parent:
            found.append(int(folder.name))
    return found


def is_running(process):
    """Whether a process does anything: a zombie does not."""
    try:
        return Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[0] != 'Z'
    except OSError:
        return False


@pytest.mark.parametrize('number', [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_whatever_ends_the_demo_ends_its_processes_too(running, number):
    demo, children, folder = running
    assert len(children) == 2
    for again in (number, signal.SIGTERM):  # the second does not disturb the end
        demo.send_signal(again)
    code = demo.wait(60.0)
    assert not [child for child in children if is_running(child)]
    assert code == 130
    assert 'Traceback' not in demo.stdout.read()
    assert (folder / 'summary.json').is_file()


@pytest.mark.parametrize('arguments', [('--loop', '0'), ('--loop', '-3')])
def test_a_flight_that_cannot_be_is_refused_in_one_line(arguments, tmp_path):
    done = run_demo(*arguments, '--flights', str(tmp_path), '--output', str(tmp_path))
    assert done.returncode == 1
    assert done.stderr.startswith('error: duration_s is')
    assert 'Traceback' not in done.stderr


@pytest.mark.parametrize('seconds', ['-1', 'nan', 'inf', 'long'])
def test_a_time_that_is_none_is_wrong_use(seconds):
    done = run_demo('--seconds', seconds)
    assert done.returncode == 2
    assert '--seconds' in done.stderr.splitlines()[-1]
    assert 'Traceback' not in done.stderr


def test_the_profile_for_pictures_is_taken_by_the_middleware():
    room = int(ET.parse(PROFILE).find('.//{*}segment_size').text)
    assert room > 4 * BURST_BYTES
    sizes = []
    for profile in ({}, {profile_variable(): str(PROFILE)}):
        done = subprocess.run(
            [sys.executable, '-c', FIND_SEGMENTS],
            env={**os.environ, **profile},
            capture_output=True,
            text=True,
            check=True,
        )
        sizes.append(int(done.stdout))
    assert sizes[0] < BURST_BYTES  # else the profile is not needed any more
    assert sizes[1] >= room
