# SPDX-License-Identifier: Apache-2.0
"""Results as message fields: complete, in the right types, for messages of either kind."""

from __future__ import annotations

import array
import re
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Matches, PairResult
from mast3r_ros.core.results import EngineInfo, ScaleSource
from mast3r_ros.core.scale import Scale
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.match_fields import match_fields
from mast3r_ros.wire.message_fields import (
    MessageFields,
    fill,
    make_by_attributes,
    make_by_constructor,
)
from mast3r_ros.wire.stamps import header_fields, stamp_ns, time_fields
from mast3r_ros.wire.stats_fields import Publication, stats_fields

MESSAGES = Path(__file__).resolve().parents[2] / 'msg'
KINDS = {
    'float32[]': lambda value: isinstance(value, array.array) and value.typecode == 'f',
    'uint64[]': lambda value: isinstance(value, array.array) and value.typecode == 'Q',
    'string[]': lambda value: all(isinstance(item, str) for item in value),
    'float32': lambda value: type(value) is float,
    'uint32': lambda value: type(value) is int,
    'string': lambda value: type(value) is str,
    'std_msgs/Header': lambda value: value.type_name == 'std_msgs/msg/Header',
}
PUBLICATION = Publication(
    'geometric', 'processor', publish_ms=2.5, age_ms=40.0, drops={'replaced': 3, 'late': 1}
)


def result_of(count=4, *, with_points=True, matches=True):
    rng = np.random.default_rng(0)
    uv_1, uv_2 = rng.uniform(0, 100, (2, count, 2)).astype(np.float32)
    points = rng.normal(size=(count, 3)).astype(np.float32) if with_points else None
    found = Matches(uv_1, uv_2, rng.random(count, np.float32), 'desc_conf', points)
    view_1 = View(np.zeros((480, 640, 3), np.uint8), stamp_ns=1_500_000_000)
    view_2 = View(np.zeros((240, 320, 3), np.uint8), stamp_ns=1_499_999_999)
    return PairResult(
        pair=ViewPair(view_1, view_2),
        cloud_1=None,
        cloud_2=None,
        matches=found if matches else None,
        scale=Scale(0.37, ScaleSource.STEREO_BASELINE, 0.01, 90),
        T_2_1=None,
        engine=EngineInfo('geometric', 'processor', 'fp32', {}),
        notes=(),
        timing_ms={'wait': 1.0, 'encode': np.float64(20.0), 'match': 3.0},
    )


def declared(name):
    lines = (line.partition('#')[0].split() for line in (MESSAGES / name).read_text().splitlines())
    return {words[1]: words[0] for words in lines if words}


@pytest.mark.parametrize(
    ('name', 'fields'),
    [
        ('MatchArray.msg', match_fields(result_of(), 'left', 'right')),
        ('MatchArray.msg', match_fields(result_of(0, with_points=False), 'left', 'right')),
        ('PairStats.msg', stats_fields(result_of(), 'left', PUBLICATION)),
        ('PairStats.msg', stats_fields(result_of(matches=False), 'left', PUBLICATION)),
    ],
)
def test_every_declared_field_is_there_in_its_type(name, fields):
    kinds = declared(name)
    assert fields.type_name == f'mast3r_ros/msg/{name.removesuffix(".msg")}'
    assert set(fields.values) == set(kinds)
    for field, kind in kinds.items():
        assert KINDS[kind](fields[field]), f'{field} is a {type(fields[field]).__name__}'


def test_matches_carry_pixels_points_sizes_and_both_stamps():
    result = result_of()
    message = make_by_attributes(match_fields(result, 'left', 'right'), lambda _: SimpleNamespace)
    assert (message.header.frame_id, message.header_2.frame_id) == ('left', 'right')
    assert stamp_ns(message.header.stamp) == 1_500_000_000
    assert stamp_ns(message.header_2.stamp) == 1_499_999_999
    assert (message.width_1, message.height_1) == (640, 480)
    assert (message.width_2, message.height_2) == (320, 240)
    np.testing.assert_array_equal(np.stack([message.u_1, message.v_1], -1), result.matches.uv_1)
    np.testing.assert_array_equal(np.stack([message.u_2, message.v_2], -1), result.matches.uv_2)
    xyz = np.stack([message.x, message.y, message.z], -1)
    np.testing.assert_array_equal(xyz, result.matches.points)
    np.testing.assert_array_equal(message.confidence, result.matches.confidence)
    assert (message.confidence_kind, message.scale_source) == ('desc_conf', 'stereo_baseline')


@pytest.mark.parametrize('options', [{'with_points': False}, {}])
def test_matches_without_points_leave_them_empty(options):
    result = result_of(with_points=bool(options))
    fields = match_fields(result, 'left', 'right', **options)
    assert [len(fields[name]) for name in ('u_1', 'x', 'y', 'z')] == [4, 0, 0, 0]


def test_asking_for_matches_that_were_not_made_is_refused():
    with pytest.raises(InvalidInput, match='without matches'):
        match_fields(result_of(matches=False), 'left', 'right')


def test_stats_tell_stages_drops_and_scale():
    fields = stats_fields(result_of(), 'left', PUBLICATION)
    assert (fields['wait_ms'], fields['encode_ms'], fields['match_ms']) == (1.0, 20.0, 3.0)
    assert (fields['decode_ms'], fields['publish_ms'], fields['age_ms']) == (0.0, 2.5, 40.0)
    assert (
        dict(zip(fields['drop_reasons'], fields['drop_counts'], strict=True)) == PUBLICATION.drops
    )
    assert (fields['matches'], fields['scale'], fields['scale_spread']) == (4, 0.37, 0.01)
    assert fields['scale_source'] == 'stereo_baseline'


@given(st.integers(0, (2**31 - 1) * 10**9 + 999_999_999))
def test_stamp_comes_back_to_the_nanosecond(time_ns):
    fields = time_fields(time_ns)
    assert 0 <= fields['nanosec'] < 10**9
    assert stamp_ns(SimpleNamespace(**fields.values)) == time_ns


@pytest.mark.parametrize(
    ('sec', 'nanosec', 'said'),
    [
        (-1, 0, 'sec is below 0'),
        (2**31, 0, 'above 2147483647'),
        (0, -1, 'nanosec is below 0'),
        (0, 10**9, 'nanosec is below 0 or above 999999999'),
        (1.5, 0, 'sec is a float'),
        (None, 0, 'sec is a NoneType'),
        (0, '7', 'nanosec is a str'),
    ],
)
def test_impossible_stamp_is_refused(sec, nanosec, said):
    with pytest.raises(InvalidInput, match=said):
        stamp_ns(SimpleNamespace(sec=sec, nanosec=nanosec))


@pytest.mark.parametrize('stamp', [None, SimpleNamespace(), 17])
def test_missing_stamp_is_refused(stamp):
    with pytest.raises(InvalidInput, match='sec is a NoneType'):
        stamp_ns(stamp)


@pytest.mark.parametrize('time_ns', [-1, 2**31 * 10**9])
def test_time_that_no_message_can_hold_is_refused(time_ns):
    with pytest.raises(InvalidInput, match='does not fit into a message'):
        time_fields(time_ns)


class Empty:
    """A message as rclpy makes them: there from the start, with messages inside, no new fields."""

    __slots__ = ('frame_id', 'header', 'items', 'nanosec', 'numbers', 'sec', 'stamp')

    def __init__(self):
        self.header = None


class EmptyHeader(Empty):
    def __init__(self):
        self.stamp = Empty()


@dataclass(frozen=True)
class Time:
    sec: int
    nanosec: int


@dataclass(frozen=True)
class Header:
    stamp: Time
    frame_id: str


@dataclass(frozen=True)
class Whole:
    """A message as rosbags makes them: from all its fields at once, never changed."""

    header: Header
    numbers: Any
    items: Any


FIELDS = MessageFields(
    'some/msg/Whole',
    {
        'header': header_fields(1_000_000_002, 'map'),
        'numbers': array.array('f', [1.0, 2.5]),
        'items': [time_fields(3), time_fields(4)],
    },
)


def test_message_that_starts_empty_is_filled_to_the_bottom():
    message = Empty()
    message.header = EmptyHeader()
    inside, stamp = message.header, message.header.stamp
    assert fill(message, FIELDS, lambda _: Empty) is message
    assert message.header is inside
    assert message.header.stamp is stamp
    assert (stamp.sec, stamp.nanosec, inside.frame_id) == (1, 2, 'map')
    assert message.numbers is FIELDS['numbers']
    assert [item.nanosec for item in message.items] == [3, 4]


def test_message_of_constructors_is_built_whole_with_shared_arrays():
    classes = {'Whole': Whole, 'Header': Header, 'Time': Time}
    message = make_by_constructor(FIELDS, lambda name: classes[name.rpartition('/')[2]])
    assert message.header == Header(Time(1, 2), 'map')
    assert message.items == [Time(0, 3), Time(0, 4)]
    assert message.numbers.dtype == np.float32
    assert np.shares_memory(message.numbers, np.asarray(FIELDS['numbers']))


def test_field_that_the_message_lacks_is_an_error():
    unknown = MessageFields('some/msg/Whole', {'colour': 1})
    with pytest.raises(AttributeError):
        fill(Empty(), unknown, lambda _: Empty)


def test_message_types_have_full_names():
    fields = match_fields(result_of(), 'left', 'right')
    names = [fields.type_name, fields['header'].type_name, fields['header']['stamp'].type_name]
    assert all(re.fullmatch(r'[a-z0-9_]+/msg/[A-Z]\w+', name) for name in names)
