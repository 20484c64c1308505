# SPDX-License-Identifier: Apache-2.0
"""Messages of a bag as frames: calibration, masks under each policy, and what is broken."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files
from support.bag_files import START_NS, image_fields, info_fields, mask_fields, serialised

from mast3r_ros.bags.camera_topics import COMPRESSED_IMAGE, IMAGE, CameraTopics
from mast3r_ros.bags.frame_stream import FrameStream
from mast3r_ros.bags.mask_order import MASK_WAIT_NS, masks_first
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.bags.recorded import RecordedMessage
from mast3r_ros.config import InputConfig
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.stamps import header_fields

MS = 1_000_000
TYPES = MessageTypes()
CAMERA = CameraTopics('image', '/image', IMAGE, '/camera_info', '/mask')
HALF = np.tile(np.arange(bag_files.WIDTH) < 80, (bag_files.HEIGHT, 1))
PICTURE, _ = bag_files.pictures(0)


def message(topic, at_ms, fields):
    return RecordedMessage(topic, START_NS + at_ms * MS, bytes(serialised(fields)))


def image(at_ms, stamp_ms=None):
    stamp_ms = at_ms if stamp_ms is None else stamp_ms
    return message('/image', at_ms, image_fields(PICTURE, START_NS + stamp_ms * MS, 'optical'))


def mask(at_ms, stamp_ms, keep=HALF):
    return message('/mask', at_ms, mask_fields(keep, START_NS + stamp_ms * MS))


def info(at_ms, baseline_m=0.0):
    return message('/camera_info', at_ms, info_fields(START_NS + at_ms * MS, baseline_m))


def frames_of(messages, *, camera=CAMERA, said=None, **settings):
    """Return the stream and the views made of the messages."""
    tell = pytest.fail if said is None else said.append
    stream = FrameStream([camera], InputConfig(**settings), TYPES, tell)
    return stream, [frame.view() for _, frame in stream.frames(messages)]


def test_a_frame_carries_picture_stamp_and_frame():
    _, views = frames_of([image(0), image(50)])
    assert [view.stamp_ns for view in views] == [START_NS, START_NS + 50 * MS]
    assert views[0].frame_id == 'optical'
    np.testing.assert_array_equal(views[0].image, PICTURE)
    assert views[0].camera is None
    assert views[0].mask is None


def test_a_12_bit_camera_uses_the_whole_range():
    fields = image_fields(PICTURE, START_NS, 'optical').values
    wide = np.full((2, 3), 4095, '<u2')
    changed = {'encoding': 'mono16', 'width': 3, 'height': 2, 'step': 6}
    twelve = MessageFields(IMAGE, {**fields, **changed, 'data': wide.view(np.uint8).reshape(-1)})
    for bits, white in ((12, 255), (16, 16)):
        _, views = frames_of([message('/image', 0, twelve)], significant_bits=bits)
        np.testing.assert_array_equal(views[0].image, np.full((2, 3, 3), white))


def test_the_calibration_counts_from_its_message_on():
    _, views = frames_of([image(0), info(1), image(50), info(51), image(100), info(101, 0.2)])
    assert views[0].camera is None
    assert views[1].camera is views[2].camera is not None


def test_the_first_calibration_is_known_before_the_first_image():
    stream = FrameStream([CAMERA], InputConfig(), TYPES, pytest.fail)
    stream.learn_calibration([info(500), info(600, 0.3)])
    stream.learn_calibration([info(0, 0.7)])  # of an earlier part: it knows one already
    (view,) = (frame.view() for _, frame in stream.frames([image(0)]))
    assert view.camera is not None
    assert view.camera.P[0, 3] == 0.0


def test_a_broken_calibration_is_said_and_done_without():
    fields = info_fields(START_NS)
    broken = MessageFields(fields.type_name, {**fields.values, 'k': np.full(9, np.nan)})
    said = []
    _, views = frames_of([message('/camera_info', 0, broken), image(1)], said=said)
    assert views[0].camera is None
    assert said
    assert said[0].startswith('/camera_info: ')


def test_an_image_gets_its_mask_though_that_was_recorded_later():
    stream, views = frames_of([image(0), image(50), mask(60, 0), mask(110, 50), image(150)])
    assert [view.mask is not None for view in views] == [True, True, False]
    np.testing.assert_array_equal(views[0].mask, HALF)
    assert stream.drops == {'mask_late': 1}


def test_masks_of_every_second_image_keep_nobody_waiting():
    messages = [image(0), image(50), image(100), mask(120, 0), image(150), mask(220, 100)]
    _, views = frames_of(messages)
    assert [view.mask is not None for view in views] == [True, False, True, False]


def test_a_mask_that_comes_too_late_is_not_waited_for():
    late_ms = MASK_WAIT_NS // MS + 1
    _, views = frames_of([image(0), image(late_ms), mask(late_ms + 1, 0)])
    assert [view.mask for view in views] == [None, None]


def test_latest_takes_the_mask_that_came_last():
    other = ~HALF
    messages = [mask(0, 0), image(10), mask(20, 10, other), image(30)]
    _, views = frames_of(messages, mask_policy='latest')
    np.testing.assert_array_equal(views[0].mask, HALF)
    np.testing.assert_array_equal(views[1].mask, other)


def test_required_drops_and_counts_images_without_a_mask():
    messages = [image(0), image(50), mask(60, 50), image(100)]
    stream, views = frames_of(messages, mask_policy='required')
    assert [view.stamp_ns for view in views] == [START_NS + 50 * MS]
    assert stream.drops == {'mask_missing': 2}


def test_a_fixed_mask_serves_every_image(tmp_path):
    Image.fromarray(np.where(HALF, 255, 0).astype(np.uint8)).save(tmp_path / 'mask.png')
    _, views = frames_of([image(0), image(50)], mask_file_1=tmp_path / 'mask.png')
    for view in views:
        np.testing.assert_array_equal(view.mask, HALF)


def test_a_late_mask_of_one_camera_keeps_the_order_of_both():
    left = CameraTopics('left', '/left', IMAGE, None, '/left_mask')
    right = CameraTopics('right', '/right', IMAGE, None, None)
    messages = []
    for at_ms in (0, 50, 100):
        fields = image_fields(PICTURE, START_NS + at_ms * MS)
        messages += [message('/left', at_ms, fields), message('/right', at_ms, fields)]
        masked = mask_fields(HALF, START_NS + at_ms * MS)
        messages.append(message('/left_mask', at_ms + 90, masked))
    messages.sort(key=lambda item: item.time_ns)
    stream = FrameStream([left, right], InputConfig(), TYPES, pytest.fail)
    found = [(source, frame.view()) for source, frame in stream.frames(messages)]
    assert [source for source, _ in found] == ['left', 'right'] * 3
    assert all((view.mask is not None) == (source == 'left') for source, view in found)


@given(delays=st.lists(st.integers(0, 900), min_size=1, max_size=12), gap_ms=st.integers(1, 200))
def test_no_message_is_lost_and_each_image_follows_its_mask(delays, gap_ms):
    header = [header_fields(START_NS + n * gap_ms * MS, '') for n in range(len(delays))]
    messages = [
        RecordedMessage('/image', START_NS + n * gap_ms * MS, serialised_header(h))
        for n, h in enumerate(header)
    ]
    messages += [
        RecordedMessage(
            '/mask', START_NS + (n * gap_ms + delay) * MS, serialised_header(header[n])
        )
        for n, delay in enumerate(delays)
    ]
    messages.sort(key=lambda item: item.time_ns)
    order = list(masks_first(messages, [CAMERA]))
    assert sorted(order, key=identity) == sorted(messages, key=identity)
    stamps = [item.stamp_ns for item in order if item.topic == '/image']
    assert stamps == sorted(stamps)
    in_order = sorted(delays[n] + n * gap_ms for n in range(len(delays))) == [
        delays[n] + n * gap_ms for n in range(len(delays))
    ]
    if in_order:  # as one who makes masks one after the other would send them
        places = {(item.topic, item.stamp_ns): place for place, item in enumerate(order)}
        assert all(places['/mask', stamp] < places['/image', stamp] for stamp in stamps)


def identity(item):
    return item.time_ns, item.topic, item.stamp_ns


def serialised_header(fields):
    return bytes(serialised(fields))


def test_compressed_images_are_read():
    data = cv2.imencode('.png', PICTURE[..., ::-1])[1].reshape(-1)
    fields = MessageFields(
        COMPRESSED_IMAGE, {'header': header_fields(START_NS, ''), 'format': 'png', 'data': data}
    )
    camera = CameraTopics('image', '/image', COMPRESSED_IMAGE, None, None)
    _, views = frames_of([message('/image', 0, fields)], camera=camera)
    np.testing.assert_array_equal(views[0].image, PICTURE)


@given(st.binary(max_size=60))
def test_broken_messages_are_counted_said_and_passed_over(garbage):
    said = []
    broken = [RecordedMessage(topic, START_NS, garbage) for topic in CAMERA.names]
    stream, views = frames_of([*broken, image(50)], said=said)
    assert len(views) >= 1
    assert views[-1].stamp_ns == START_NS + 50 * MS
    if len(garbage) < 20:  # shorter than any of the messages
        assert stream.drops == {'invalid_message': 3}
        assert len(said) == 3
