# SPDX-License-Identifier: Apache-2.0
"""What the node says of its health: which link is dead, how bad that is, what to do."""

from __future__ import annotations

from dataclasses import replace

import pytest

from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.ros.findings import SILENT_S, InputFacts, Level, Snapshot, findings


def camera(side, **facts):
    well = {
        'publishers': 1,
        'received': 30,
        'silent_s': 0.03,
        'has_calibration': True,
    }
    topics = (f'/{side}/image', f'/{side}/camera_info', f'/{side}/mask')
    return InputFacts(side, *topics, **{**well, **facts})


WELL = Snapshot(
    engine_state=WorkerState.READY,
    active=True,
    listened_to=True,
    inputs=(camera('left'), camera('right')),
    paired_lately=30,
    answered=300,
    answered_lately=30,
    tolerance_ms=10.0,
    median_age_ms=25.0,
)


NOTHING = replace(WELL, paired_lately=0, answered_lately=0)


def with_left(**facts):
    return replace(WELL, inputs=(camera('left', **facts), camera('right')))


def worst(snapshot):
    return findings(snapshot)[0]


def test_a_healthy_node_has_nothing_but_good_to_say():
    found = findings(WELL)
    assert {item.level for item in found} == {Level.OK}
    assert [item.text for item in found] == ['the engine is ready', '30 pairs answered lately']


WRONG = {
    'no camera': (with_left(publishers=0), Level.ERROR, 'inputs', '/left/image', 'remap'),
    'no image yet': (with_left(silent_s=None), Level.WARN, 'inputs', '/left/image yet', ''),
    'silent': (with_left(silent_s=9.0), Level.WARN, 'inputs', '/left/image for 9 s', ''),
    'cannot be heard': (
        with_left(incompatible={'/left/image': 1}),
        Level.ERROR,
        'inputs',
        '1 publisher of /left/image',
        'qos_overrides./left/image.subscription.reliability to best_effort',
    ),
    'no calibration': (
        with_left(has_calibration=False),
        Level.WARN,
        'inputs',
        '/left/camera_info',
        'remap',
    ),
    'bad calibration': (
        with_left(calibration_problem='/left/camera_info: K holds no finite number'),
        Level.ERROR,
        'inputs',
        'K holds no finite number',
        '',
    ),
    'late mask': (
        with_left(drops_lately={'mask_late': 2}),
        Level.WARN,
        'inputs',
        '/left/mask: 2 images',
        'required',
    ),
    'too many wait for masks': (
        with_left(drops_lately={'overflow': 7}),
        Level.ERROR,
        'inputs',
        '/left/mask: 7 images did not fit into the queue',
        'input.queue_limit',
    ),
    'no stamp': (
        with_left(drops_lately={'invalid_stamp': 5}),
        Level.WARN,
        'inputs',
        '/left/image: 5 messages',
        'set header.stamp',
    ),
    'stamps apart': (
        replace(WELL, paired_lately=0, answered_lately=0, closest_miss_ms=16.7),
        Level.ERROR,
        'pairs',
        '16.7 ms apart',
        'pairing.tolerance_s',
    ),
    'stamps not equal': (
        replace(WELL, paired_lately=0, closest_miss_ms=0.4, only_equal_stamps=True),
        Level.ERROR,
        'pairs',
        '0.4 ms apart at best and pairing.sync exact asks for equal ones',
        'pairing.sync to nearest',
    ),
    'images without stamps': (
        replace(NOTHING, drops_lately={'duplicate_stamp': 58}),
        Level.WARN,
        'pairs',
        '58 images had the stamp of the one before',
        'set header.stamp',
    ),
    'one camera alone is late': (
        replace(NOTHING, drops_lately={'no_partner': 30}),
        Level.WARN,
        'pairs',
        '30 images came without one of the other camera',
        'the same clock',
    ),
    'stamps go back': (
        replace(NOTHING, drops_lately={'time_jump': 7}),
        Level.WARN,
        'pairs',
        '7 images were waiting when stamps went back',
        'one clock',
    ),
    'older pairs': (
        replace(NOTHING, drops_lately={'out_of_order': 4}),
        Level.WARN,
        'pairs',
        '4 images made a pair older',
        'pairing.sync to nearest',
    ),
    'dropped for a reason without words': (
        replace(NOTHING, drops_lately={'closed': 2}),
        Level.WARN,
        'pairs',
        '2 images or pairs were dropped: closed',
        '',
    ),
    'overflow': (
        replace(WELL, drops_lately={'overflow': 3}),
        Level.ERROR,
        'pairs',
        '3 pairs',
        'input.queue_limit',
    ),
    'some failed': (
        replace(WELL, drops_lately={'invalid_input': 1, 'failed': 1}, last_problem='step is 5'),
        Level.WARN,
        'pairs',
        '2 pairs failed: step is 5',
        '',
    ),
    'all failed': (
        replace(WELL, answered_lately=0, drops_lately={'engine_failed': 9}, last_problem='fire'),
        Level.ERROR,
        'pairs',
        '9 pairs failed: fire',
        '',
    ),
    'clocks disagree': (
        replace(WELL, median_age_ms=3.6e6),
        Level.WARN,
        'pairs',
        '3600 s old',
        'use_sim_time',
    ),
    'a note of the engine': (
        replace(WELL, notes=('there is no texture',)),
        Level.WARN,
        'pairs',
        'there is no texture',
        '',
    ),
    'loading': (
        replace(WELL, engine_state=WorkerState.LOADING, state_s=12.3),
        Level.WARN,
        'engine',
        'for 12 s',
        '',
    ),
    'no engine': (
        replace(WELL, engine_state=WorkerState.FAILED, engine_error='no model; export it'),
        Level.ERROR,
        'engine',
        'there is no engine: no model; export it',
        'configure',
    ),
    'fallback': (
        replace(WELL, instead_of='no model; export it'),
        Level.WARN,
        'engine',
        'geometry runs instead',
        'no model; export it',
    ),
    'dead': (
        replace(WELL, engine_state=WorkerState.DEAD, engine_error='it hangs'),
        Level.ERROR,
        'engine',
        'the engine is dead: it hangs',
        '',
    ),
    'closed under a node that still uses it': (
        replace(WELL, engine_state=WorkerState.CLOSED),
        Level.ERROR,
        'engine',
        'the engine is closed',
        'configure the node anew',
    ),
    'not configured': (
        Snapshot(failure='configure failed: mask.png does not exist'),
        Level.ERROR,
        'engine',
        'mask.png does not exist',
        '',
    ),
}


@pytest.mark.parametrize('what', WRONG)
def test_what_is_wrong_is_named_with_its_cure_and_comes_first(what):
    snapshot, level, about, words, cure = WRONG[what]
    found = worst(snapshot)
    assert (found.level, found.about) == (level, about)
    assert words in found.text
    assert cure in found.text


@pytest.mark.parametrize('changes', [{'active': False}, {'listened_to': False}])
def test_a_node_that_has_nothing_to_do_misses_nothing(changes):
    snapshot = replace(WELL, inputs=(camera('left', publishers=0, silent_s=None),), **changes)
    assert [item.level for item in findings(snapshot)] == [Level.OK]


@pytest.mark.parametrize(
    'changes',
    [
        {'paired_lately': 1},  # pairs come about, whatever was missed
        {'closest_miss_ms': None},  # nothing was there to be paired
        {'inputs': (camera('left'), camera('right', silent_s=SILENT_S + 1.0))},
    ],
)
def test_stamps_are_blamed_only_while_both_cameras_send_and_nothing_pairs(changes):
    apart = {'paired_lately': 0, 'answered_lately': 0, 'closest_miss_ms': 16.7}
    texts = [item.text for item in findings(replace(WELL, **{**apart, **changes}))]
    assert not [text for text in texts if 'apart' in text]


def test_drops_of_a_healthy_node_are_told_beside_its_answers():
    found = findings(replace(WELL, drops_lately={'superseded': 12}))
    assert '30 pairs answered lately; dropped: 12 superseded' in [item.text for item in found]


def test_a_slow_engine_is_not_ill_but_what_it_passes_over_is_told():
    found = findings(replace(NOTHING, paired_lately=30, drops_lately={'superseded': 29}))
    assert {item.level for item in found} == {Level.OK}
    assert '29 pairs gave way to newer ones' in found[-1].text


def test_what_stamps_apart_explain_is_told_once():
    apart = replace(NOTHING, closest_miss_ms=16.7, drops_lately={'no_partner': 60})
    assert len([item for item in findings(apart) if item.about == 'pairs']) == 1


def test_no_engine_error_hides_the_inputs():
    snapshot = replace(
        with_left(publishers=0), engine_state=WorkerState.LOADING, answered_lately=0
    )
    assert {item.about for item in findings(snapshot)} == {'engine', 'inputs'}
