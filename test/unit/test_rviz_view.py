# SPDX-License-Identifier: Apache-2.0
"""The rviz2 view shows topics that the node publishes, with the display for their type."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from mast3r_ros.wire.result_topics import RESULT_TOPICS
from mast3r_ros.wire.sequence_topics import MAP, SEQUENCE_TOPICS

VIEW = Path(__file__).parents[2] / 'config' / 'mast3r.rviz'
DISPLAY_OF = {
    'sensor_msgs/msg/PointCloud2': 'rviz_default_plugins/PointCloud2',
    'sensor_msgs/msg/Image': 'rviz_default_plugins/Image',
    'nav_msgs/msg/Path': 'rviz_default_plugins/Path',
    'nav_msgs/msg/Odometry': 'rviz_default_plugins/Odometry',
}


def displays() -> list[dict[str, Any]]:
    """Return the displays that show a topic."""
    view = yaml.safe_load(VIEW.read_text())
    return [item for item in view['Visualization Manager']['Displays'] if 'Topic' in item]


@pytest.mark.parametrize('display', displays(), ids=lambda item: item['Name'])
def test_display_shows_a_topic_of_the_node(display: dict[str, Any]) -> None:
    types = {topic.name: topic.type_name for topic in RESULT_TOPICS} | SEQUENCE_TOPICS
    name = display['Topic']['Value'].removeprefix('/mast3r/')
    assert display['Class'] == DISPLAY_OF[types[name]]


@pytest.mark.parametrize('display', displays(), ids=lambda item: item['Name'])
def test_display_asks_for_what_the_node_offers(display: dict[str, Any]) -> None:
    assert display['Topic']['Reliability Policy'] == 'Reliable'
    is_latched = display['Topic']['Value'] == f'/mast3r/{MAP}'
    assert display['Topic']['Durability Policy'] == (
        'Transient Local' if is_latched else 'Volatile'
    )
