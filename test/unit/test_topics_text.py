# SPDX-License-Identifier: Apache-2.0
"""The page of topics says what the code publishes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mast3r_ros.wire.result_topics import RESULT_TOPICS, STATS_TOPIC
from mast3r_ros.wire.sequence_topics import SEQUENCE_MEANINGS, SEQUENCE_TOPICS
from mast3r_ros.wire.topics_text import tables, with_tables

ROOT = Path(__file__).parents[2]
PAGE = ROOT / 'docs' / 'topics.md'


def test_the_page_is_what_the_code_says():
    text = PAGE.read_text()
    assert with_tables(text, ROOT / 'msg') == text, 'run: python -m mast3r_ros.wire.topics_text'


def test_every_topic_and_message_is_on_it():
    text = tables(ROOT / 'msg')
    names = [topic.name for topic in RESULT_TOPICS] + [STATS_TOPIC, *SEQUENCE_TOPICS]
    for name in names:
        assert f'`~/{name}`' in text
    for path in (ROOT / 'msg').glob('*.msg'):
        assert path.read_text().strip() in text


def test_every_topic_of_a_followed_camera_has_a_meaning():
    assert SEQUENCE_MEANINGS.keys() == SEQUENCE_TOPICS.keys()


def test_a_page_without_the_markers_is_refused():
    with pytest.raises(ValueError, match='lacks the lines'):
        with_tables('# Topics', ROOT / 'msg')
