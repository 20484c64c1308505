# SPDX-License-Identifier: Apache-2.0
"""The node's topics as tables for people, made from those that the code walks.

``python -m mast3r_ros.wire.topics_text`` writes docs/topics.md anew; a test fails while it
differs.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

from mast3r_ros.config import PairingMode
from mast3r_ros.wire.input_topics import CAMERA_TOPICS, ODOMETRY_SETTING, beside
from mast3r_ros.wire.result_topics import RESULT_TOPICS, STATS_TOPIC, STATS_TYPE
from mast3r_ros.wire.sequence_topics import SEQUENCE_MEANINGS, SEQUENCE_TOPICS

BEGIN = '<!-- made from the code: begin -->'
END = '<!-- made from the code: end -->'

_STATS = 'Where the time of each pair went, its age, what was dropped so far, its scale.'
_DIAGNOSTICS = 'What is wrong and what to do, rates, ages and drops; once a second.'
_BESIDE = (
    ('camera_info', 'sensor_msgs/msg/CameraInfo', 'its calibration, also one sent once and kept'),
    ('mask', 'sensor_msgs/msg/Image', 'its mask in mono8, as large as the image; 0 takes no part'),
)
_MESSAGES = ('MatchArray', 'PairStats')


def tables(messages: Path) -> str:
    """Return every topic in tables, and the package's own messages.

    :param messages: folder of the message files.
    """
    parts = [*_inputs(), *_outputs(), *_sequence()]
    for name in _MESSAGES:
        text = (messages / f'{name}.msg').read_text(encoding='utf-8').strip()
        parts += [f'## mast3r_ros/msg/{name}', f'```\n{text}\n```']
    return '\n\n'.join(parts)


def with_tables(page: str, messages: Path) -> str:
    """Return a page with what stands between its markers made anew."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f'the page lacks the lines {BEGIN} and {END}')
    return f'{before}{begin}\n\n{tables(messages)}\n\n{end}{after}'


def _inputs() -> Iterator[str]:
    for mode in PairingMode:
        rows = []
        for source, topic in CAMERA_TOPICS[mode]:
            about = f'the {source} camera' if mode is PairingMode.STEREO else 'the camera'
            rows.append((topic, 'sensor_msgs/msg/Image', f'pictures of {about}'))
            rows += [(beside(topic, name), kind, text) for name, kind, text in _BESIDE]
        yield f'## Inputs, `pairing.mode: {mode.value}`'
        yield _table(rows)
    about = 'where the camera, or what carries it, is as somebody else knows it'
    yield '## Input with `sequence.enable`, where that setting names a topic'
    yield _table([(ODOMETRY_SETTING, 'nav_msgs/msg/Odometry', about)])


def _outputs() -> Iterator[str]:
    rows = [
        (f'~/{topic.name}', topic.type_name, (topic.pack.__doc__ or '').splitlines()[0])
        for topic in RESULT_TOPICS
    ]
    rows.append((f'~/{STATS_TOPIC}', STATS_TYPE, _STATS))
    rows.append(('/diagnostics', 'diagnostic_msgs/msg/DiagnosticArray', _DIAGNOSTICS))
    yield '## Outputs'
    yield _table(rows)


def _sequence() -> Iterator[str]:
    rows = [(f'~/{name}', kind, SEQUENCE_MEANINGS[name]) for name, kind in SEQUENCE_TOPICS.items()]
    yield '## Outputs with `sequence.enable`'
    yield _table(rows)


def _table(rows: list[tuple[str, str, str]]) -> str:
    lines = [
        f'| `{name}` | `{kind.replace("/msg/", "/")}` | {text[0].upper()}{text[1:].rstrip(".")}. |'
        for name, kind, text in rows
    ]
    return '\n'.join(['| topic | type | holds |', '|---|---|---|', *lines])


def main() -> int:
    """Write the tables of docs/topics.md anew, from the repository's root."""
    page = Path('docs/topics.md')
    text = with_tables(page.read_text(encoding='utf-8'), Path('msg'))
    page.write_text(text, encoding='utf-8')
    return 0


if __name__ == '__main__':
    sys.exit(main())
