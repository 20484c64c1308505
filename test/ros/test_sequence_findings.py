# SPDX-License-Identifier: Apache-2.0
"""What the node says of a followed camera: lost or not, its unit, its map, and its odometry."""

from __future__ import annotations

import pytest

from mast3r_ros.choices import OdometryUse
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.ros.finding import Level
from mast3r_ros.ros.odometry_facts import OdometryFacts
from mast3r_ros.ros.sequence_findings import about_odometry, about_sequence
from mast3r_ros.sequence.follower import Following
from mast3r_ros.sequence.frames import TrackingState

WELL = {'state': TrackingState.TRACKED, 'keyframes': 3, 'scale_source': ScaleSource.MODEL}
TOLD = {'publishers': 1, 'received': 9, 'silent_s': 0.01}

OF_THE_CAMERA = {
    'nothing yet': ({'state': None}, Level.OK, 'no frame was followed yet'),
    'lost': (
        {'state': TrackingState.LOST, 'reason': 'it is dark'},
        Level.WARN,
        'the camera is lost: it is dark',
    ),
    'no unit': ({'scale_source': ScaleSource.NONE}, Level.WARN, 'no known unit'),
    'no calibration': ({'camera': 'it is 500 px'}, Level.OK, 'it is 500 px'),
    'a guess': ({'camera': 'it is one', 'camera_is_guessed': True}, Level.WARN, 'it is one'),
    'after a loop': ({'map_share': 0.25}, Level.OK, 'laid anew, 25% of it by now'),
}

OF_THE_ODOMETRY = {
    'not heard': ({'incompatible': 1}, Level.ERROR, 'cannot be heard'),
    'no publisher': ({'publishers': 0}, Level.WARN, 'nobody publishes /odom'),
    'none yet': ({'silent_s': None}, Level.WARN, 'has come on /odom yet'),
    'silent': ({'silent_s': 5.0}, Level.WARN, 'has come on /odom for 5 s'),
    'not usable': (
        {'invalid_lately': 4, 'problem': 'it is NaN'},
        Level.WARN,
        '4 messages cannot be used (it is NaN)',
    ),
    'other times': ({'missed_lately': 2}, Level.WARN, 'sequence.odometry_tolerance_s'),
    'another body': (
        {'child_frame': 'base_link', 'camera_frame': 'optical'},
        Level.WARN,
        'sequence.odometry_to_camera',
    ),
    'taken': ({'use': OdometryUse.POSES}, Level.OK, 'poses are those of /odom'),
}


@pytest.mark.parametrize('what', OF_THE_CAMERA)
def test_what_there_is_to_say_of_the_camera_is_said(what):
    changes, level, words = OF_THE_CAMERA[what]
    found = list(about_sequence(Following(**{**WELL, **changes})))
    assert [item.level for item in found if words in item.text] == [level]


@pytest.mark.parametrize('what', OF_THE_ODOMETRY)
def test_what_there_is_to_say_of_the_odometry_is_said(what):
    changes, level, words = OF_THE_ODOMETRY[what]
    facts = OdometryFacts(**{'topic': '/odom', 'use': OdometryUse.MOTION, **TOLD, **changes})
    (finding,) = about_odometry(facts)
    assert finding.level is level
    assert words in finding.text


def test_of_an_odometry_that_is_well_or_not_wanted_nothing_is_said():
    assert not list(about_odometry(OdometryFacts('/odom', OdometryUse.MOTION, **TOLD)))
    assert not list(about_odometry(None))
    (only,) = about_sequence(Following(**WELL))
    assert (only.level, only.text) == (Level.OK, 'tracked; 3 keyframes, 0 loop edges')
