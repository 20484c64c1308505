# SPDX-License-Identifier: Apache-2.0
"""Files that are made from config.py say what config.py says."""

from __future__ import annotations

from pathlib import Path

import pytest

from mast3r_ros.config import (
    NodeConfig,
)
from mast3r_ros.presets import (
    PRESET_DESKTOP_PRECISION,
    PRESET_DRONE_FAST,
    PRESET_DRONE_QUALITY,
)
from mast3r_ros.settings_text import config_files, with_tables

ROOT = Path(__file__).parents[2]
REMEDY = 'run: python -m mast3r_ros.settings_text'


@pytest.mark.parametrize('name', config_files())
def test_config_file_is_what_the_settings_say(name: str) -> None:
    assert (ROOT / 'config' / name).read_text() == config_files()[name], REMEDY


def test_no_config_file_is_written_by_hand() -> None:
    assert {path.name for path in (ROOT / 'config').glob('*.yaml')} == set(config_files())


def test_documented_tables_are_what_the_settings_say() -> None:
    page = (ROOT / 'docs' / 'settings.md').read_text()
    assert with_tables(page) == page, REMEDY


@pytest.mark.parametrize(
    ('name', 'preset'),
    [
        ('drone.yaml', PRESET_DRONE_FAST),
        ('quality.yaml', PRESET_DRONE_QUALITY),
        ('desktop.yaml', PRESET_DESKTOP_PRECISION),
    ],
)
def test_config_file_reads_back_as_its_preset(name: str, preset: object) -> None:
    read = NodeConfig.from_yaml(ROOT / 'config' / name)
    for group in ('model', 'runtime', 'matching'):
        assert getattr(read, group) == getattr(preset, group)
