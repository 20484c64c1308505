# SPDX-License-Identifier: Apache-2.0
"""Whatever a message holds, decoding it gives a picture or an InvalidInput, and nothing else."""

from __future__ import annotations

import array
from types import SimpleNamespace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.compressed_decoding import decode_compressed
from mast3r_ros.wire.encodings import ENCODINGS
from mast3r_ros.wire.image_decoding import MAX_PIXELS, decode_image, decode_mask
from mast3r_ros.wire.stamps import stamp_ns

ANYTHING = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=20),
    st.binary(max_size=20),
    st.lists(st.integers(-1, 300), max_size=5),
    st.dictionaries(st.text(max_size=3), st.integers(), max_size=2),
    st.just(np.zeros((2, 2))),
    st.just(np.int64(7)),
    st.just(np.zeros(0, np.uint8)),
    st.just(object()),
)
COUNTS = st.one_of(
    st.integers(0, 40),
    st.sampled_from([2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**63, -1, 10**5000]),
    ANYTHING,
)
DATA = st.one_of(
    st.binary(max_size=4000),
    st.integers(0, 4000).map(bytes),
    st.integers(0, 4000).map(bytearray),
    st.integers(0, 4000).map(lambda size: array.array('B', bytes(size))),
    st.integers(0, 4000).map(lambda size: np.zeros(size, np.uint8)),
    st.sampled_from(['B', 'b', 'h', 'd']).map(lambda code: array.array(code, [1, 2, 3])),
    ANYTHING,
)
ENCODING = st.one_of(st.sampled_from(list(ENCODINGS)), st.text(max_size=12), ANYTHING)


def refusal(decode, message):
    """Why it is refused, or None and what it became; any other exception ends the test."""
    try:
        return None, decode(message)
    except InvalidInput as error:
        return str(error), None


def is_refused(decode, message):
    """Whether an image is refused in one sentence that fits a log line."""
    why, result = refusal(decode, message)
    if why is not None:
        assert 0 < len(why) < 1000
        return True
    assert result.shape[0] * result.shape[1] <= MAX_PIXELS
    assert result.shape[:2] == (message.height, message.width)
    return False


@given(COUNTS, COUNTS, ENCODING, COUNTS, ANYTHING, DATA)
@settings(max_examples=600, deadline=None)
def test_no_malformed_image_raises_anything_else(width, height, encoding, step, endian, data):
    message = SimpleNamespace(
        width=width, height=height, encoding=encoding, step=step, is_bigendian=endian, data=data
    )
    is_refused(decode_image, message)
    is_refused(decode_mask, message)


@given(
    st.sampled_from(list(ENCODINGS)),
    st.integers(0, 24),
    st.integers(0, 24),
    st.integers(0, 200),
    st.integers(0, 6000),
    st.booleans(),
)
@settings(max_examples=600, deadline=None)
def test_image_is_read_exactly_when_all_its_pixels_are_there(
    encoding, width, height, step, size, endian
):
    message = SimpleNamespace(
        width=width,
        height=height,
        encoding=encoding,
        step=step,
        is_bigendian=endian,
        data=bytes(size),
    )
    known = ENCODINGS[encoding]
    across, down = known.multiple_of
    rows = height * 3 // 2 if known.is_semi_planar else height
    is_whole = (
        min(width, height) >= known.smallest
        and width % across == 0
        and height % down == 0
        and step >= width * known.channels * known.sample_bytes
        and size >= rows * step
    )
    assert is_refused(decode_image, message) is not is_whole


@given(ANYTHING, DATA)
@settings(max_examples=200, deadline=None)
def test_no_malformed_compressed_image_raises_anything_else(format_text, data):
    why, _ = refusal(decode_compressed, SimpleNamespace(format=format_text, data=data))
    assert why is not None
    assert len(why) < 1000


@given(COUNTS, COUNTS)
def test_no_malformed_stamp_raises_anything_else(sec, nanosec):
    why, time_ns = refusal(stamp_ns, SimpleNamespace(sec=sec, nanosec=nanosec))
    assert why or 0 <= time_ns < 2**31 * 10**9


@given(st.sampled_from([decode_image, decode_mask, decode_compressed, stamp_ns]), ANYTHING)
@settings(deadline=None)
def test_no_message_at_all_is_refused(decode, message):
    assert refusal(decode, message)[0]
