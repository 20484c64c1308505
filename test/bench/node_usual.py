# SPDX-License-Identifier: Apache-2.0
"""How a node is usually written: images through a bridge, clouds through create_cloud, lists."""

from __future__ import annotations

import array
from typing import Any

import numpy as np
from sensor_msgs.msg import Image, PointCloud2, PointField
from wire import usual_cloud

from mast3r_ros.core.products import PairResult
from mast3r_ros.msg import MatchArray
from mast3r_ros.ros.outputs import Outputs
from mast3r_ros.ros.publishers import message_class
from mast3r_ros.wire.message_fields import make_by_attributes
from mast3r_ros.wire.result_topics import STATS_TOPIC
from mast3r_ros.wire.stamps import header_fields
from mast3r_ros.wire.stats_fields import Publication, stats_fields


def read_usual_way(message: Any) -> Any:
    """See the bytes as an array and copy it, as a bridge does."""
    shape = (message.height, message.width, 3)
    return np.ndarray(shape, np.uint8, buffer=message.data).copy()


def publish_usual_way(outputs: Outputs, result: PairResult, drops: dict[str, int]) -> None:
    """Make each message anew and publish it to the node's own publishers."""
    header = make_by_attributes(
        header_fields(result.stamp_ns, result.pair.view_1.frame_id), message_class
    )
    cloud, matches = result.cloud_1, result.matches
    assert cloud is not None
    assert matches is not None
    publishers = outputs.publishers._publishers
    data = usual_cloud(cloud.points, cloud.grid.image, cloud.confidence)
    publishers['points'].publish(_cloud_message(header, cloud.confidence.shape, data))
    publishers['confidence'].publish(_image_message(header, cloud.confidence))
    publishers['matches'].publish(_matches_message(header, result, matches))
    info = result.engine
    how = Publication(info.name, info.device, 0.0, 0.0, drops)
    fields = stats_fields(result, result.pair.view_1.frame_id, how)
    publishers[STATS_TOPIC].publish(make_by_attributes(fields, message_class))


def _cloud_message(header: Any, shape: tuple[int, ...], data: array.array[int]) -> PointCloud2:
    names = ('x', 'y', 'z', 'rgb', 'confidence')
    fields = [
        PointField(name=name, offset=4 * place, datatype=PointField.FLOAT32, count=1)
        for place, name in enumerate(names)
    ]
    return PointCloud2(
        header=header,
        height=shape[0],
        width=shape[1],
        is_dense=False,
        is_bigendian=False,
        fields=fields,
        point_step=20,
        row_step=20 * shape[1],
        data=data,
    )


def _image_message(header: Any, values: Any) -> Image:
    message = Image(header=header, height=values.shape[0], width=values.shape[1])
    message.encoding, message.step = '32FC1', values.nbytes // values.shape[0]
    message.data.frombytes(values.tobytes())
    return message


def _matches_message(header: Any, result: PairResult, matches: Any) -> MatchArray:
    message = MatchArray(header=header, header_2=header)
    message.u_1, message.v_1 = (column.tolist() for column in matches.uv_1.T)
    message.u_2, message.v_2 = (column.tolist() for column in matches.uv_2.T)
    message.confidence = matches.confidence.tolist()
    message.confidence_kind = matches.confidence_kind
    if matches.points is not None:
        message.x, message.y, message.z = (column.tolist() for column in matches.points.T)
    message.scale_source = result.scale.source.value
    return message
