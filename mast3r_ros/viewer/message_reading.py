# SPDX-License-Identifier: Apache-2.0
"""Reads the node's messages, or anything with their fields, into the parts that the view shows."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.rotations import rotation_of
from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.parts import CloudPart, MatchPart, PosePart, Sentence, StatsPart
from mast3r_ros.wire.raw_fields import byte_view, text, whole_number
from mast3r_ros.wire.stamps import stamp_ns
from mast3r_ros.wire.stats_fields import STAGES

MAX_POINTS = 50_000_000
"""More than any cloud of pixels has; above it a header is broken."""

_FLOAT32 = 7  # sensor_msgs/PointField's number for it
_PARTS = ('engine', 'inputs', 'pairs')  # of the node's own diagnostics


def read_cloud(message: Any) -> CloudPart:
    """Return a ``sensor_msgs/PointCloud2``; white without colours, confidence 1 without any."""
    height, width = whole_number(message, 'height'), whole_number(message, 'width')
    step = whole_number(message, 'point_step')
    offsets = {field.name: _offset(field, step) for field in message.fields}
    if not {'x', 'y', 'z'} <= offsets.keys():
        raise InvalidInput(f'the cloud has the fields {sorted(offsets)}; it needs x, y and z')
    rows = _rows(message, height, width, step)
    kind = '>f4' if message.is_bigendian else '<f4'

    def column(name: str) -> NDArray[np.float32]:
        start = offsets[name]
        part = np.ascontiguousarray(rows[:, :, start : start + 4])
        return np.asarray(part.view(kind)[..., 0], np.float32)

    points = np.stack([column(axis) for axis in 'xyz'], axis=-1)
    if 'rgb' in offsets:
        words = np.ascontiguousarray(column('rgb')).view(np.uint32)
        colors = np.stack([(words >> shift) & 0xFF for shift in (16, 8, 0)], axis=-1)
    else:
        colors = np.full(points.shape, 255)
    known = 'confidence' in offsets
    confidence = column('confidence') if known else np.ones((height, width), np.float32)
    return CloudPart(_stamp(message), points, colors.astype(np.uint8), confidence)


def read_matches(message: Any) -> MatchPart:
    """Return a ``mast3r_ros/MatchArray``."""
    columns = [np.asarray(getattr(message, name), np.float32) for name in _MATCH_COLUMNS]
    if len({len(column) for column in columns}) > 1:
        lengths = ', '.join(f'{n} {len(c)}' for n, c in zip(_MATCH_COLUMNS, columns, strict=True))
        raise InvalidInput(f'the arrays of matches differ in length ({lengths})')
    u_1, v_1, u_2, v_2, confidence = columns
    return MatchPart(
        _stamp(message),
        stamp_ns(message.header_2.stamp),
        (whole_number(message, 'width_1'), whole_number(message, 'height_1')),
        (whole_number(message, 'width_2'), whole_number(message, 'height_2')),
        np.stack([u_1, v_1], axis=-1),
        np.stack([u_2, v_2], axis=-1),
        confidence,
    )


_MATCH_COLUMNS = ('u_1', 'v_1', 'u_2', 'v_2', 'confidence')


def read_stats(message: Any) -> StatsPart:
    """Return a ``mast3r_ros/PairStats``."""
    stages = (*STAGES, 'publish')
    counts = [int(count) for count in message.drop_counts]
    return StatsPart(
        _stamp(message),
        text(message, 'engine'),
        text(message, 'device'),
        float(message.age_ms),
        {stage: float(getattr(message, f'{stage}_ms')) for stage in stages},
        dict(zip(message.drop_reasons, counts, strict=False)),
        whole_number(message, 'matches'),
        text(message, 'scale_source'),
    )


def read_pose(message: Any) -> PosePart:
    """Return a ``geometry_msgs/PoseStamped`` or a ``nav_msgs/Odometry`` of camera 1's frame."""
    pose = message.pose
    pose = getattr(pose, 'pose', pose)  # an odometry's lies beside its covariance
    place, turn = pose.position, pose.orientation
    numbers = np.array([place.x, place.y, place.z, turn.x, turn.y, turn.z, turn.w], np.float64)
    if not np.isfinite(numbers).all() or np.linalg.norm(numbers[3:]) < 1e-6:
        raise InvalidInput(f'the pose {numbers.tolist()} is none; have its publisher mended')
    T = np.eye(4)
    T[:3, :3], T[:3, 3] = rotation_of(numbers[3:]), numbers[:3]
    return PosePart(_stamp(message), T)


def read_sentences(message: Any, node_name: str) -> list[Sentence]:
    """Return what a ``diagnostic_msgs/DiagnosticArray`` says about one node of ours."""
    found = []
    for status in message.status:
        name, _, part = status.name.partition(': ')
        if name == node_name and part in _PARTS:
            level = min(operator.index(_number(status.level)), 2)
            if level or part == 'engine':
                found.append(Sentence(level, status.message))
    return found


def _number(level: Any) -> int:
    return int(level[0]) if isinstance(level, (bytes, bytearray)) else int(level)


def _stamp(message: Any) -> int:
    return stamp_ns(message.header.stamp)


def _offset(field: Any, step: int) -> int:
    offset = whole_number(field, 'offset')
    if field.name in ('x', 'y', 'z', 'rgb', 'confidence') and field.datatype != _FLOAT32:
        raise InvalidInput(f'the field {field.name} has datatype {field.datatype}; float32 is 7')
    if offset + 4 > step:
        raise InvalidInput(f'the field {field.name} begins at {offset} of a point of {step} bytes')
    return offset


def _rows(message: Any, height: int, width: int, step: int) -> NDArray[np.uint8]:
    """Return the cloud's bytes (H, W, step)."""
    if height * width > MAX_POINTS:
        raise InvalidInput(f'the cloud has {height}x{width} points; at most {MAX_POINTS} are read')
    row_step = whole_number(message, 'row_step')
    data = byte_view(message)
    if row_step < width * step or len(data) < height * row_step:
        raise InvalidInput(
            f'a cloud of {height}x{width} points of {step} bytes has rows of {row_step} and '
            f'{len(data)} bytes in all; that is too short'
        )
    rows = data[: height * row_step].reshape(height, row_step)[:, : width * step]
    return rows.reshape(height, width, step)
