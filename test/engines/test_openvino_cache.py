# SPDX-License-Identifier: Apache-2.0
"""What OpenVINO compiled is read back at the next start, and never where anything is wrong."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('openvino', reason='needs openvino')

from network_engines import pictures, settings
from tiny_model import quick_model

from mast3r_ros.config import MASt3RRuntimeConfig
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine

STAGES = 6  # of the model


def config(cache: Path, model: Path | None = None, **runtime: Any) -> MASt3RRuntimeConfig:
    """Return settings with a cache folder of their own and no check, which would fill it."""
    made = settings(model or quick_model(), precision='fp32').replace(cache_dir=cache)
    return made.replace(
        runtime=made.runtime.replace(self_check=False, **{'compiled_cache': True, **runtime})
    )


def start(wanted: MASt3RRuntimeConfig) -> tuple[InferenceResult, list[bool]]:
    """Load an engine and answer a pair; return that and which stages came from the cache."""
    with OpenVinoEngine(wanted) as engine:
        result = engine.infer(*pictures())
        sizes = engine._stages._loaded.values()
        loaded = [stage._compiled for stages in sizes for stage in stages.values()]
        read = [
            wanted.runtime.compiled_cache and bool(each.get_property('LOADED_FROM_CACHE'))
            for each in loaded
        ]
        return result, read


def entries(cache: Path) -> list[Path]:
    return sorted((cache / 'engines' / 'openvino').iterdir())


def same(one: InferenceResult, other: InferenceResult) -> bool:
    fields = ('pts3d_1', 'conf_1', 'pts3d_2', 'conf_2', 'desc_1', 'desc_2')
    return all(np.array_equal(getattr(one, name), getattr(other, name)) for name in fields)


@pytest.fixture(scope='module')
def filled(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, InferenceResult]:
    """Return a cache that one start filled, and what was answered then."""
    cache = tmp_path_factory.mktemp('filled')
    result, read = start(config(cache))
    assert read == [False] * STAGES
    return cache, result


@pytest.fixture
def cache(filled: tuple[Path, InferenceResult], tmp_path: Path) -> Path:
    """Return a copy of the filled cache."""
    return Path(shutil.copytree(filled[0], tmp_path / 'cache'))


def test_the_next_start_reads_what_the_first_compiled_and_answers_the_same(
    filled: tuple[Path, InferenceResult], cache: Path
) -> None:
    assert len(entries(cache)) == STAGES
    result, read = start(config(cache))
    assert read == [True] * STAGES
    assert same(result, filled[1])
    assert len(entries(cache)) == STAGES


def cut_off(blob: Path) -> None:
    os.truncate(blob, blob.stat().st_size // 2)


def change_a_weight(blob: Path) -> None:
    with open(blob, 'r+b') as file:
        file.seek(blob.stat().st_size // 2)
        file.write(bytes(64))


def lose_the_digest(blob: Path) -> None:
    (blob.parent / 'sha256').unlink()


def lose_the_blob(blob: Path) -> None:
    blob.unlink()


@pytest.mark.parametrize('harm', [cut_off, change_a_weight, lose_the_digest, lose_the_blob])
def test_what_is_damaged_is_compiled_anew_and_mended(
    harm: Callable[[Path], None], filled: tuple[Path, InferenceResult], cache: Path
) -> None:
    for entry in entries(cache):
        (blob,) = entry.glob('*.blob')
        harm(blob)
    result, read = start(config(cache))
    assert read == [False] * STAGES
    assert same(result, filled[1])
    assert start(config(cache))[1] == [True] * STAGES


def test_other_threads_and_another_copy_of_the_model_have_entries_of_their_own(
    cache: Path, tmp_path: Path
) -> None:
    assert start(config(cache, num_threads=1))[1] == [False] * STAGES
    assert len(entries(cache)) == 2 * STAGES
    copied = Path(shutil.copytree(quick_model(), tmp_path / 'model'))
    assert start(config(cache, copied))[1] == [False] * STAGES
    assert len(entries(cache)) == 3 * STAGES


def test_where_nothing_can_be_kept_it_runs_all_the_same(
    filled: tuple[Path, InferenceResult], tmp_path: Path
) -> None:
    place = tmp_path / 'engines' / 'openvino'
    place.parent.mkdir()
    place.touch()  # where the folder would be
    result, read = start(config(tmp_path))
    assert read == [False] * STAGES
    assert same(result, filled[1])


def test_turned_off_it_keeps_nothing(tmp_path: Path) -> None:
    start(config(tmp_path, compiled_cache=False))
    assert not (tmp_path / 'engines').exists()


def test_what_nobody_used_for_two_months_goes_when_something_new_comes(cache: Path) -> None:
    long_ago = time.time() - 61 * 24 * 3600
    for old in entries(cache)[:2]:
        os.utime(old, (long_ago, long_ago))
    with OpenVinoEngine(config(cache, num_threads=1)) as engine:
        engine.infer(*pictures(), outputs=Output.CLOUD_1)
    kept = entries(cache)
    assert len(kept) == STAGES - 2 + 3  # encoder, decoder and the points of view 1 are new
