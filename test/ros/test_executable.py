# SPDX-License-Identifier: Apache-2.0
"""What every program around nodes does: room for pictures before ROS starts, an end for all."""

from __future__ import annotations

import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

PROFILE = Path(__file__).resolve().parents[2] / 'config' / 'fastdds.xml'
ROOM_BYTES = int(ET.parse(PROFILE).find('.//{*}segment_size').text)
VARIABLES = (
    'FASTRTPS_DEFAULT_PROFILES_FILE',
    'FASTDDS_DEFAULT_PROFILES_FILE',
    'FASTDDS_BUILTIN_TRANSPORTS',
)

TELL_ROOM = """
import pathlib
from rclpy.node import Node
from mast3r_ros.ros.executable import run_nodes

def look(node):
    mapped = {line.split()[5] for line in open('/proc/self/maps') if '/dev/shm/fast' in line}
    print(max([pathlib.Path(name).stat().st_size for name in mapped], default=0))
    return 'that is all'

run_nodes(lambda: [Node('here')], [], failure_of=look)
"""

END_BADLY = """
import rclpy
from rclpy.node import Node
from mast3r_ros.ros.executable import run_nodes

class Bad(Node):
    asked = 0

    def destroy_node(self):
        self.asked += 1
        if self.asked == 1:  # from Kilted on, ROS asks once more when it ends
            raise RuntimeError('it does not want to end')
        super().destroy_node()

class Good(Node):
    def destroy_node(self):
        super().destroy_node()
        print('the good one has ended')

try:
    run_nodes(lambda: [Bad('bad'), Good('good')], [], failure_of=lambda node: 'over')
except RuntimeError as error:
    print(error)
print('ROS goes on' if rclpy.ok() else 'ROS has ended')
"""


def run(script, **variables):
    others = {name: value for name, value in os.environ.items() if name not in VARIABLES}
    done = subprocess.run(
        [sys.executable, '-c', script],
        env={**others, **variables},
        capture_output=True,
        text=True,
        check=False,
        timeout=60.0,
    )
    return done.stdout.splitlines(), done.stderr


def test_a_program_has_room_for_pictures_unasked():
    printed, errors = run(TELL_ROOM)
    assert int(printed[0]) >= ROOM_BYTES, errors
    assert 'XMLPARSER' not in errors


@pytest.mark.parametrize('name', VARIABLES)
def test_what_a_user_sets_for_fast_dds_holds(name, tmp_path):
    own = tmp_path / 'own.xml'
    own.write_text(PROFILE.read_text().replace(str(ROOM_BYTES), str(ROOM_BYTES // 4)))
    value = 'DEFAULT' if name == 'FASTDDS_BUILTIN_TRANSPORTS' else str(own)
    printed, errors = run(TELL_ROOM, **{name: value})
    assert int(printed[0]) < ROOM_BYTES, errors


def test_a_node_that_fails_to_end_keeps_neither_the_others_nor_ros_from_ending():
    printed, errors = run(END_BADLY)
    expected = ['the good one has ended', 'it does not want to end', 'ROS has ended']
    assert printed == expected, errors


@pytest.mark.parametrize('program', ['perception', 'simulator'])
def test_a_node_says_how_it_is_used_and_refuses_words_that_mean_nothing(program):
    start = f'import sys; from mast3r_ros.ros.{program} import main; sys.argv = '
    asked, _ = run(f"{start} ['{program}', '--help']; sys.exit(main())")
    assert asked[0].startswith(f'usage: {program}')
    assert any(line.startswith('exit codes:') for line in asked)
    said, errors = run(f"{start} ['{program}', 'wide']; sys.exit(main())")
    assert said == []
    assert errors.splitlines()[-1] == f'{program}: error: unrecognized arguments: wide'
