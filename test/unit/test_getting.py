# SPDX-License-Identifier: Apache-2.0
"""A command that an error names cures it, wherever the model lies and whatever it is."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest
from support.empty_model import LANDSCAPE, PORTRAIT, description, write

from mast3r_ros.cli import download, export
from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, Precision
from mast3r_ros.errors import ModelError
from mast3r_ros.models.catalogue import published_model
from mast3r_ros.models.description import SourceFile
from mast3r_ros.models.folder import ModelFolder, default_place
from mast3r_ros.models.getting import how_to_add, how_to_get


def commands(sentence: str) -> list[list[str]]:
    """Return the words of the commands in a sentence, as a shell would take them."""
    return [shlex.split(text) for text in re.findall('`([^`]+)`', sentence)]


def published(**changes: Any) -> Any:
    sources = published_model(description().variant).files
    names = tuple(SourceFile(file.name, 1, 'cd' * 32) for file in sources)
    return description(**{'sources': names, **changes})


def test_a_size_goes_into_the_folder_that_lacks_it_at_its_precision() -> None:
    folder = Path('/models of mine/dune')
    model = published(precision=Precision.INT8)
    (words,) = commands(how_to_add('add it', model, folder, LANDSCAPE, PORTRAIT))
    assert words == [
        *(
            'mast3r-export',
            '--variant',
            'dune_vit_small',
            '--size',
            '112x84',
            '--size-2',
            '84x112',
        ),
        *('--precision', 'int8', '--output', '/models of mine/dune'),
    ]
    (words,) = commands(how_to_add('add it', published(), folder, LANDSCAPE, LANDSCAPE))
    assert words[3:] == ['--size', '112x84', '--output', '/models of mine/dune']


@pytest.mark.parametrize('place', ['default', 'other'])
def test_a_model_at_its_default_place_is_led_to_by_the_cache(place: str, tmp_path: Path) -> None:
    cache_dir = None if place == 'default' else tmp_path
    config = MASt3RRuntimeConfig(cache_dir=cache_dir)
    folder = default_place(config) / 'fp32'
    (words,) = commands(how_to_add('add it', published(), folder, LANDSCAPE, LANDSCAPE))
    assert words[5:] == ([] if cache_dir is None else ['--cache-dir', str(tmp_path)])


def test_weights_under_names_of_their_own_are_named() -> None:
    own = (SourceFile('my decoder.pth', 1, ''), SourceFile('my_encoder.pth', 1, ''))
    sentence = how_to_add('add it', description(sources=own), Path('m'), LANDSCAPE, LANDSCAPE)
    (words,) = commands(sentence)
    place = words.index('--checkpoint')
    assert words[place : place + 4] == [
        *('--checkpoint', 'my decoder.pth', '--encoder', 'my_encoder.pth')
    ]


@pytest.mark.parametrize('damage', ['84x112_encoder.onnx', 'weights.data'])
def test_a_damaged_model_is_written_anew_with_its_sizes(damage: str, tmp_path: Path) -> None:
    folder = write(tmp_path / 'm', published(precision=Precision.FP16))
    (folder / damage).unlink()
    with pytest.raises(ModelError) as caught:
        ModelFolder.open(folder)
    (words,) = commands(str(caught.value))
    assert words[3:] == [
        *('--size', '112x84', '--size', '84x112', '--overwrite', '--precision', 'fp16'),
        *('--output', str(folder)),
    ]


def test_a_missing_model_is_fetched_and_exported_to_where_it_is_looked_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = ModelConfig(variant='dust3r_512_dpt', precision='fp16')
    config = MASt3RRuntimeConfig(model=model, cache_dir=tmp_path / 'my cache')
    fetching, exporting = commands(how_to_get(config))
    found: dict[str, Any] = {}
    monkeypatch.setattr(download, '_run', lambda given: found.update(download=given) or 0)
    monkeypatch.setattr(export, '_run', lambda given: found.update(export=given) or 0)
    assert download.main(fetching[1:]) == export.main(exporting[1:]) == 0
    assert download._folder(found['download']) == config.cache_folder / 'checkpoints'
    cache = export._settings(found['export']).cache_folder
    precision = Precision(found['export'].precision)
    assert cache / 'models' / found['export'].variant.value / precision.value == (
        default_place(config) / 'fp16'
    )
    here = commands(how_to_get(MASt3RRuntimeConfig(model=model)))
    assert not any('--cache-dir' in words for words in here)
