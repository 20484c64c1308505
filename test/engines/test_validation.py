# SPDX-License-Identifier: Apache-2.0
"""Engines held against each other on small networks, and what is kept of the outcome."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import KEPT
from tiny_model import QUICK_SHAPE, quick_model

from mast3r_ros.config import Precision
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.errors import ModelError, ModelNotFound
from mast3r_ros.export.comparison import Limits
from mast3r_ros.export.validation import (
    EngineChoice,
    Outcome,
    PicturePair,
    faults_as_proof,
    parse_engine,
    record,
    validate,
)
from mast3r_ros.models.description import DESCRIPTION_FILE, ModelDescription


def choice(precision: Precision = Precision.FP32) -> EngineChoice:
    return parse_engine('onnxruntime', quick_model(precision=precision), KEPT)


@pytest.fixture(scope='module')
def int8_outcome() -> Outcome:
    pair = PicturePair(*made_up_pair(300, 200), (('left.png', '0'), ('right.png', '1')))
    return validate(choice(), choice(Precision.INT8), [pair], Limits())


def described(folder: Path) -> ModelDescription:
    return ModelDescription.from_json((folder / DESCRIPTION_FILE).read_bytes())


@pytest.fixture
def copied(tmp_path: Path) -> EngineChoice:
    """The description of a model where it may be changed."""
    original = choice(Precision.INT8)
    content = (original.folder / DESCRIPTION_FILE).read_bytes()
    (tmp_path / DESCRIPTION_FILE).write_bytes(content)
    return replace(original, folder=tmp_path)


def test_an_engine_agrees_with_itself() -> None:
    outcome = validate(choice(), choice(), [], Limits(0.99999, 1e-9, 1.0))
    assert outcome.passed
    assert set(outcome.figures.errors.values()) == {0.0}
    assert not outcome.real_pictures
    assert outcome.details['pictures'] == 'built-in pair'


def test_what_engines_keep_goes_into_the_cache_folder_that_is_given(tmp_path: Path) -> None:
    with_cache = parse_engine('onnxruntime', quick_model(), tmp_path)
    assert validate(with_cache, with_cache, [], Limits()).passed
    assert list((tmp_path / 'checks').iterdir())


def test_eight_bits_differ_a_little_in_every_output(int8_outcome: Outcome) -> None:
    errors = int8_outcome.figures.errors
    assert len(errors) == 8
    assert all(1e-5 < error < 0.5 for error in errors.values()), errors
    cosine = int8_outcome.figures.descriptor_cosine_p01
    assert cosine is not None
    assert 0.9 < cosine < 1.0
    assert int8_outcome.real_pictures


def test_pictures_of_any_size_are_brought_to_the_network_input(int8_outcome: Outcome) -> None:
    assert int8_outcome.shape == QUICK_SHAPE


def test_the_record_holds_all_that_the_outcome_rests_on(
    int8_outcome: Outcome, copied: EngineChoice
) -> None:
    before = described(copied.folder)
    record(int8_outcome, copied)
    after = described(copied.folder)
    (kept,) = after.validations[len(before.validations) :]
    assert replace(after, validations=before.validations) == before
    assert (kept.engine, kept.precision) == ('onnxruntime', Precision.INT8)
    assert kept.passed is int8_outcome.passed
    details = kept.details
    assert details['reference'] == 'onnxruntime:fp32'
    assert details['reference_sources'] == [source.sha256 for source in before.sources]
    assert details['figures']['point_error_p50'] == int8_outcome.figures.point_error_p50
    assert details['limits']['descriptor_cosine_p01'] == 0.995
    assert details['pictures'][0] == {'name': 'left.png', 'sha256': '0'}
    assert details['date'].endswith('+00:00')
    assert json.dumps(details, allow_nan=False)


def test_only_a_comparison_with_fp32_and_its_limits_lets_auto_take_int8(
    int8_outcome: Outcome, copied: EngineChoice
) -> None:
    passed = replace(int8_outcome, broken=())
    record(passed, copied)
    assert described(copied.folder).is_proven_for('onnxruntime')
    itself = validate(choice(Precision.INT8), choice(Precision.INT8), [], Limits(0.5))
    itself = replace(itself, real_pictures=True)
    found = faults_as_proof(itself, choice(Precision.INT8))
    assert found == [
        'the reference is onnxruntime:int8, not fp32',
        'the limit of descriptor_cosine_p01 is 0.5, below 0.995',
    ]
    assert faults_as_proof(passed, choice(Precision.INT8)) == []


def test_records_made_at_the_same_time_are_all_kept(
    int8_outcome: Outcome, copied: EngineChoice
) -> None:
    count = len(described(copied.folder).validations)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda _index: record(int8_outcome, copied), range(24)))
    assert len(described(copied.folder).validations) == count + 24
    assert [path.name for path in copied.folder.iterdir()] == [DESCRIPTION_FILE]


def test_a_broken_limit_is_said_with_its_value(int8_outcome: Outcome) -> None:
    pair = PicturePair(*made_up_pair(300, 200))
    outcome = validate(choice(), choice(Precision.INT8), [pair], Limits(0.9999999, 1e-7, 1.1))
    assert not outcome.passed
    assert len(outcome.broken) == 3
    worst = int8_outcome.figures.descriptor_cosine_p01
    assert f'{worst:.5f}' in outcome.broken[0]


def test_several_pairs_are_judged_by_the_worst() -> None:
    image_1, image_2 = made_up_pair(300, 200)
    pairs = [PicturePair(image_1, image_2), PicturePair(255 - image_1, image_2[:, ::-1])]
    outcome = validate(choice(), choice(Precision.INT8), pairs, Limits())
    assert len(outcome.pairs) == 2
    assert outcome.figures.point_error_p50 == max(item.point_error_p50 for item in outcome.pairs)
    assert np.isfinite(outcome.figures.point_error_p50)


def test_models_without_a_common_size_cannot_be_compared() -> None:
    other = parse_engine('onnxruntime', quick_model([((112, 84), (112, 84))]))
    with pytest.raises(ModelError, match='no size in common'):
        validate(choice(), other, [], Limits())


def test_a_precision_finds_its_folder_beside_the_others(tmp_path: Path) -> None:
    for precision in (Precision.FP32, Precision.INT8):
        (tmp_path / precision.value).symlink_to(quick_model(precision=precision))
    assert parse_engine('onnxruntime:int8', tmp_path).folder == tmp_path / 'int8'
    assert parse_engine('onnxruntime:fp32', tmp_path).folder == tmp_path / 'fp32'
    assert parse_engine('openvino:bf16', tmp_path).folder == tmp_path / 'fp32'  # computes in bf16
    with pytest.raises(ModelNotFound, match='has no fp16 model, it holds fp32, int8; name one'):
        parse_engine('onnxruntime:fp16', tmp_path)
    with pytest.raises(ModelNotFound, match='has no auto model, it holds fp32, int8'):
        parse_engine('onnxruntime', tmp_path)
