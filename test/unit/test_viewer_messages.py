# SPDX-License-Identifier: Apache-2.0
"""The view reads what the node publishes, and says what is wrong with anything else."""

from __future__ import annotations

import contextlib
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.message_reading import (
    read_cloud,
    read_matches,
    read_pose,
    read_sentences,
    read_stats,
)
from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.message_fields import MessageFields, float_array
from mast3r_ros.wire.stamps import header_fields


def as_message(fields):
    """Return fields as an object with attributes, the way messages have them."""
    if isinstance(fields, MessageFields):
        return SimpleNamespace(**{k: as_message(v) for k, v in fields.values.items()})
    return [as_message(item) for item in fields] if isinstance(fields, list) else fields


def cloud_message(seed=0, width=7, height=5):
    rng = np.random.default_rng(seed)
    points = rng.normal(size=(height, width, 3)).astype(np.float32)
    points[0, 0] = np.nan
    image = rng.integers(0, 256, (height, width, 3), dtype=np.uint8)
    confidence = rng.random((height, width), dtype=np.float32)
    packed = CloudPacker().pack_arrays(header_fields(17, 'left'), points, image, confidence)
    return as_message(packed), points, image, confidence


def match_message(count=3):
    columns = {
        name: float_array(np.arange(count) + 10 * place)
        for place, name in enumerate(('u_1', 'v_1', 'u_2', 'v_2', 'confidence'))
    }
    sizes = {'width_1': 64, 'height_1': 48, 'width_2': 32, 'height_2': 24}
    headers = {'header': header_fields(5, 'left'), 'header_2': header_fields(7, 'right')}
    return as_message(MessageFields('mast3r_ros/msg/MatchArray', {**headers, **sizes, **columns}))


def test_a_cloud_comes_back_as_it_was_packed():
    message, points, image, confidence = cloud_message()
    part = read_cloud(message)
    np.testing.assert_array_equal(part.points, points)
    np.testing.assert_array_equal(part.colors, image)
    np.testing.assert_array_equal(part.confidence, confidence)
    assert part.stamp_ns == 17


def test_a_cloud_of_another_maker_needs_no_colours_nor_confidence():
    message, points, _, _ = cloud_message()
    message.fields = [field for field in message.fields if field.name in 'xyz']
    part = read_cloud(message)
    np.testing.assert_array_equal(part.points, points)
    assert (part.colors == 255).all()
    assert (part.confidence == 1).all()


@pytest.mark.parametrize(
    ('change', 'word'),
    [
        ({'data': b'short'}, 'too short'),
        ({'width': 2**31}, 'at most'),
        ({'point_step': 4}, 'begins at'),
        ({'row_step': 1}, 'too short'),
        ({'fields': []}, 'needs x, y and z'),
        ({'height': -1}, 'height'),
    ],
)
def test_a_broken_cloud_is_refused_in_one_sentence(change, word):
    message, *_ = cloud_message()
    vars(message).update(change)
    with pytest.raises(InvalidInput, match=word):
        read_cloud(message)


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(['height', 'width', 'point_step', 'row_step']), st.integers(-5, 2**33)
    ),
    st.binary(max_size=300),
)
def test_no_numbers_make_a_cloud_anything_but_read_or_refused(numbers, data):
    message, *_ = cloud_message()
    vars(message).update(numbers, data=data)
    with contextlib.suppress(InvalidInput):
        read_cloud(message)


def test_matches_keep_pixels_sizes_and_both_stamps():
    part = read_matches(match_message())
    assert (part.stamp_1_ns, part.stamp_2_ns) == (5, 7)
    assert (part.size_1, part.size_2) == ((64, 48), (32, 24))
    np.testing.assert_array_equal(part.uv_1, [[0, 10], [1, 11], [2, 12]])
    np.testing.assert_array_equal(part.uv_2, [[20, 30], [21, 31], [22, 32]])


def test_matches_of_uneven_length_are_refused():
    message = match_message()
    message.v_2 = message.v_2[:1]
    with pytest.raises(InvalidInput, match='v_2 1'):
        read_matches(message)


def test_statistics_tell_age_cost_and_drops():
    stages = ('wait', 'preprocess', 'encode', 'decode', 'postprocess', 'match', 'publish')
    message = SimpleNamespace(
        header=as_message(header_fields(9, 'left')),
        engine='geometric',
        device='cpu',
        age_ms=42.0,
        **{f'{stage}_ms': 1.0 for stage in stages},
        drop_reasons=['superseded', 'no_partner'],
        drop_counts=np.array([3, 4], np.uint64),
        matches=5,
        scale_source='stereo_baseline',
    )
    part = read_stats(message)
    assert part.drops == {'superseded': 3, 'no_partner': 4}
    assert part.engine_ms == 6.0  # all but waiting
    assert (part.engine, part.age_ms, part.matches) == ('geometric', 42.0, 5)


def pose_message(x=1.0, w=1.0, wrap=False):
    place, turn = SimpleNamespace(x=x, y=2.0, z=3.0), SimpleNamespace(x=0.0, y=0.0, z=0.0, w=w)
    pose = SimpleNamespace(position=place, orientation=turn)
    header = as_message(header_fields(9, 'world'))
    return SimpleNamespace(header=header, pose=SimpleNamespace(pose=pose) if wrap else pose)


@pytest.mark.parametrize('wrap', [False, True], ids=['PoseStamped', 'Odometry'])
def test_poses_of_both_kinds_are_read(wrap):
    part = read_pose(pose_message(wrap=wrap))
    np.testing.assert_allclose(part.T_world_camera[:3, 3], [1, 2, 3])
    np.testing.assert_allclose(part.T_world_camera[:3, :3], np.eye(3))


@pytest.mark.parametrize('change', [{'x': float('nan')}, {'w': 0.0}])
def test_a_pose_that_is_none_is_refused(change):
    with pytest.raises(InvalidInput, match='mended'):
        read_pose(pose_message(**change))


def status(name, level, message):
    return SimpleNamespace(name=name, level=bytes([level]), message=message)


def test_only_the_node_that_is_shown_has_its_say():
    report = SimpleNamespace(
        status=[
            status('/mast3r: engine', 0, 'the engine is ready'),
            status('/mast3r: inputs', 2, 'left: nobody publishes left/image'),
            status('/mast3r: pairs', 0, 'ok'),
            status('/other: engine', 2, 'the engine is dead'),
            status('/mast3r: battery', 2, 'empty'),
        ]
    )
    found = read_sentences(report, '/mast3r')
    assert [(item.level, item.text) for item in found] == [
        (0, 'the engine is ready'),
        (2, 'left: nobody publishes left/image'),
    ]
