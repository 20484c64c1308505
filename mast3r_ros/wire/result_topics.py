# SPDX-License-Identifier: Apache-2.0
"""Every topic a pair's result goes out on: its name, type, what it needs and how it is packed.

The node publishes them and the replay writes them to a bag: both walk this one table.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from mast3r_ros.config import NodeConfig
from mast3r_ros.core.match_picture import draw_matches
from mast3r_ros.core.products import Cloud, PairResult, Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.wire.buffer_pool import BufferPool
from mast3r_ros.wire.camera_info import depth_camera_info_fields
from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.match_fields import match_fields
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.stamps import header_fields


class ResultPacker:
    """Packs results into messages' fields, in buffers that are used again."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        self._pool = BufferPool()
        self._clouds = CloudPacker(self._pool)
        self._images = ImageEncoder(self._pool)

    def release(self, fields: MessageFields) -> None:
        """Take a message's buffer back, once it is serialised."""
        if 'data' in fields.values:
            self._pool.give_back(fields['data'])

    def points(self, result: PairResult) -> MessageFields | None:
        """View 1's organised cloud."""
        return self._cloud(result, result.cloud_1)

    def points_2(self, result: PairResult) -> MessageFields | None:
        """View 2's organised cloud, in the frame of camera 1."""
        return self._cloud(result, result.cloud_2)

    def depth(self, result: PairResult) -> MessageFields | None:
        """Z in metres on view 1's grid; nothing where the unit is unknown, unless asked for."""
        if result.cloud_1 is None or not self._has_unit(result):
            return None
        return self._images.float_map(_header(result), result.cloud_1.depth)

    def depth_camera_info(self, result: PairResult) -> MessageFields | None:
        """The camera of the depth image."""
        if result.cloud_1 is None or result.cloud_1.grid.camera is None:
            return None
        return depth_camera_info_fields(_header(result), result.cloud_1.grid)

    def confidence(self, result: PairResult) -> MessageFields | None:
        """View 1's confidence."""
        return self._confidence(result, result.cloud_1)

    def confidence_2(self, result: PairResult) -> MessageFields | None:
        """View 2's confidence."""
        return self._confidence(result, result.cloud_2)

    def matches(self, result: PairResult) -> MessageFields | None:
        """Matches in pixels of the input images."""
        if result.matches is None:
            return None
        view_1, view_2 = result.pair.view_1, result.pair.view_2
        return match_fields(result, view_1.frame_id, view_2.frame_id)

    def matches_image(self, result: PairResult) -> MessageFields | None:
        """A picture of the matches."""
        if result.matches is None:
            return None
        pair, matches = result.pair, result.matches
        picture = draw_matches(pair.view_1.image, pair.view_2.image, matches.uv_1, matches.uv_2)
        return self._images.rgb(_header(result), picture)

    def _cloud(self, result: PairResult, cloud: Cloud | None) -> MessageFields | None:
        if cloud is None:
            return None
        return self._clouds.pack(_header(result), cloud, self.config.output.downsample)

    def _confidence(self, result: PairResult, cloud: Cloud | None) -> MessageFields | None:
        if cloud is None:
            return None
        return self._images.float_map(_header(result), cloud.confidence)

    def _has_unit(self, result: PairResult) -> bool:
        return result.scale.source is not ScaleSource.NONE or self.config.cloud.publish_unscaled


@dataclass(frozen=True)
class ResultTopic:
    """One topic of results.

    :param name: below the node's own name.
    :param needs: what the pipeline must make for it.
    :param is_cloud: whether the limit on the rate of clouds holds.
    """

    name: str
    type_name: str
    needs: Product
    pack: Callable[[ResultPacker, PairResult], MessageFields | None]
    is_cloud: bool = False


_CLOUD, _IMAGE = 'sensor_msgs/msg/PointCloud2', 'sensor_msgs/msg/Image'
_INFO = 'sensor_msgs/msg/CameraInfo'

RESULT_TOPICS = (
    ResultTopic('points', _CLOUD, Product.CLOUD_1, ResultPacker.points, is_cloud=True),
    ResultTopic('points_2', _CLOUD, Product.CLOUD_2, ResultPacker.points_2, is_cloud=True),
    ResultTopic('depth/image', _IMAGE, Product.CLOUD_1, ResultPacker.depth),
    ResultTopic('depth/camera_info', _INFO, Product.CLOUD_1, ResultPacker.depth_camera_info),
    ResultTopic('confidence', _IMAGE, Product.CLOUD_1, ResultPacker.confidence),
    ResultTopic('confidence_2', _IMAGE, Product.CLOUD_2, ResultPacker.confidence_2),
    ResultTopic('matches', 'mast3r_ros/msg/MatchArray', Product.MATCHES, ResultPacker.matches),
    ResultTopic('matches/image', _IMAGE, Product.MATCHES, ResultPacker.matches_image),
)

STATS_TOPIC = 'stats'
STATS_TYPE = 'mast3r_ros/msg/PairStats'


def _header(result: PairResult) -> MessageFields:
    return header_fields(result.stamp_ns, result.pair.view_1.frame_id)
