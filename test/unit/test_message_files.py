# SPDX-License-Identifier: Apache-2.0
"""The message files: the fields that the design promises, each with its unit and frame."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

FILES = sorted((Path(__file__).resolve().parents[2] / 'msg').glob('*.msg'))
FIELD = re.compile(r'(?P<type>[\w/\[\]]+)\s+(?P<name>\w+)\s*(?:#\s*(?P<comment>.*))?$')
UNITS = (
    'px',
    'ms',
    'stamp',
    'no unit',
    'unit that scale_source',
    'count',
    'inputs',
    'length',
    'fraction',
)
FRAMES = ('image', 'frame', 'machine', 'clock')


def fields(path):
    lines = [line.strip() for line in path.read_text().splitlines()]
    return [FIELD.match(line) for line in lines if line and not line.startswith('#')]


def test_both_messages_are_there():
    assert [path.stem for path in FILES] == ['MatchArray', 'PairStats']


@pytest.mark.parametrize('path', FILES, ids=lambda path: path.stem)
def test_every_field_says_its_unit_and_frame(path):
    for field in fields(path):
        comment = field['comment'] or ''
        assert any(word in comment for word in UNITS), f'no unit: {field[0]}'
        assert any(word in comment for word in FRAMES), f'no frame: {field[0]}'


def test_match_fields_are_flat_arrays():
    types = {field['name']: field['type'] for field in fields(FILES[0])}
    for name in ('u_1', 'v_1', 'u_2', 'v_2', 'confidence', 'x', 'y', 'z'):
        assert types[name] == 'float32[]'


def test_every_stage_has_its_time():
    names = {field['name'] for field in fields(FILES[1])}
    stages = ('wait', 'preprocess', 'encode', 'decode', 'postprocess', 'match', 'publish', 'age')
    assert {f'{stage}_ms' for stage in stages} <= names
    assert {'drop_reasons', 'drop_counts', 'scale', 'scale_spread', 'scale_source'} <= names
