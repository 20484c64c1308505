# SPDX-License-Identifier: Apache-2.0
"""The matches of one pair as the fields of a ``mast3r_ros/MatchArray``."""

from __future__ import annotations

import numpy as np

from mast3r_ros.core.products import PairResult
from mast3r_ros.errors import InvalidInput
from mast3r_ros.wire.message_fields import MessageFields, float_array
from mast3r_ros.wire.stamps import header_fields


def match_fields(
    result: PairResult, frame_id_1: str, frame_id_2: str, *, with_points: bool = True
) -> MessageFields:
    """Return the matches in pixels of both input images.

    :param frame_id_1: optical frame of view 1's camera.
    :param frame_id_2: optical frame of view 2's camera.
    :param with_points: also the points of view 1, where its cloud was made.
    """
    matches, (view_1, view_2) = result.matches, (result.pair.view_1, result.pair.view_2)
    if matches is None:
        raise InvalidInput('the pair was answered without matches; ask the pipeline for them')
    points = matches.points if with_points else None
    if points is None:
        points = np.empty((0, 3), np.float32)
    return MessageFields(
        'mast3r_ros/msg/MatchArray',
        {
            'header': header_fields(view_1.stamp_ns, frame_id_1),
            'header_2': header_fields(view_2.stamp_ns, frame_id_2),
            'width_1': view_1.width,
            'height_1': view_1.height,
            'width_2': view_2.width,
            'height_2': view_2.height,
            'u_1': float_array(matches.uv_1[:, 0]),
            'v_1': float_array(matches.uv_1[:, 1]),
            'u_2': float_array(matches.uv_2[:, 0]),
            'v_2': float_array(matches.uv_2[:, 1]),
            'confidence': float_array(matches.confidence),
            'confidence_kind': matches.confidence_kind,
            'x': float_array(points[:, 0]),
            'y': float_array(points[:, 1]),
            'z': float_array(points[:, 2]),
            'scale_source': result.scale.source.value,
        },
    )
