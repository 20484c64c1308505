# SPDX-License-Identifier: Apache-2.0
"""Whether Core ML can run is told without its library, and what lists its packages is checked."""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path
from typing import Any

import pytest
from support.empty_model import WEIGHTS, description, write

from mast3r_ros.choices import ComputeUnits
from mast3r_ros.engines.coreml_engine import presence
from mast3r_ros.engines.coreml_engine.presence import coreml_obstacle
from mast3r_ros.errors import EngineUnavailable, ModelError
from mast3r_ros.models.coreml_packages import (
    FOLDER,
    INDEX_FILE,
    CoreMlIndex,
    open_packages,
    wanted_packages,
)
from mast3r_ros.models.folder import ModelFolder


def index(**changes: Any) -> CoreMlIndex:
    names = [item.name for item in wanted_packages(description())]
    entries: dict[str, Any] = {
        'weights': description().weights.sha256,
        'compute_units': ComputeUnits.CPU_AND_NE,
        'packages': dict.fromkeys(names, len(WEIGHTS)),
        'inputs': {'encoder': ('image',)},
        'versions': {'torch': '2.13.0'},
    }
    return CoreMlIndex(**{**entries, **changes})


@pytest.fixture
def model(tmp_path: Path) -> ModelFolder:
    """Return a model whose packages hold a single file each."""
    write(tmp_path, description())
    for name in index().packages:
        (tmp_path / FOLDER / name).mkdir(parents=True)
        (tmp_path / FOLDER / name / 'weight.bin').write_bytes(WEIGHTS)
    (tmp_path / FOLDER / INDEX_FILE).write_text(index().to_json())
    return ModelFolder.open(tmp_path)


def test_every_size_and_every_mixed_pair_has_its_packages_once() -> None:
    names = [item.name for item in wanted_packages(description())]
    assert len(names) == len(set(names)) == 2 + 3 * 5
    assert {'84x112_encoder.mlpackage', '84x112_112x84_points_2.mlpackage'} <= set(names)


def test_the_index_survives_the_way_through_json(model: ModelFolder) -> None:
    assert open_packages(model) == index()


@pytest.mark.parametrize(
    'changes',
    [
        {'format': 2},
        {'compute_units': 'all of them'},
        {'packages': {'84x112_encoder.mlpackage': 'large'}},
        {'packages': {'../84x112_encoder.mlpackage': 1}},
        {'inputs': {'encoder': 'image'}},
        {'weights': 1},
        {'more': 1},
    ],
)
def test_an_index_that_nobody_wrote_is_refused(model: ModelFolder, changes) -> None:
    values = {**json.loads(index().to_json()), **changes}
    (model.path / FOLDER / INDEX_FILE).write_text(json.dumps(values))
    with pytest.raises(ModelError, match=INDEX_FILE):
        open_packages(model)


def test_a_model_that_is_not_or_only_partly_converted_names_the_command(
    model: ModelFolder,
) -> None:
    some = dict(list(index().packages.items())[:3])
    (model.path / FOLDER / INDEX_FILE).write_text(index(packages=some).to_json())
    command = r'mast3r-export --variant dune_vit_small --target coreml --precision fp32 --output'
    with pytest.raises(EngineUnavailable, match=command):
        open_packages(model)
    (model.path / FOLDER / INDEX_FILE).write_text(index(weights='of another').to_json())
    with pytest.raises(EngineUnavailable, match=command):
        open_packages(model)
    (model.path / FOLDER / INDEX_FILE).unlink()
    with pytest.raises(EngineUnavailable, match='was not converted for Core ML'):
        open_packages(model)


def test_a_package_that_was_cut_short_is_named(model: ModelFolder) -> None:
    (model.path / FOLDER / '112x84_decoder.mlpackage' / 'weight.bin').write_bytes(b'')
    with pytest.raises(ModelError, match=r'112x84_decoder.mlpackage has 0 bytes and should have'):
        open_packages(model)


@pytest.mark.parametrize(
    ('system', 'version', 'library', 'words'),
    [
        ('linux', '', True, 'runs on Apple machines alone and this one runs linux'),
        ('darwin', '12.7.6', True, 'macOS is 12.7.6 and at least 13 is needed'),
        ('darwin', '13.0', False, 'coremltools is not installed'),
        ('darwin', '13.0', True, ''),
        ('darwin', '26.1', True, ''),
    ],
)
def test_what_keeps_core_ml_from_running_is_said(
    system: str, version: str, library: bool, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, 'platform', system)
    monkeypatch.setattr(platform, 'mac_ver', lambda: (version, ('', '', ''), 'arm64'))
    monkeypatch.setattr(presence, 'find_spec', lambda _: object() if library else None)
    said = coreml_obstacle()
    assert words in said
    assert bool(said) == bool(words)
