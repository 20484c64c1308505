# SPDX-License-Identifier: Apache-2.0
"""A model on disk: its description, its files, and the sentence about anything wrong with them."""

from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.empty_model import LANDSCAPE, PORTRAIT, WEIGHTS, description, write

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, ModelVariant, Precision
from mast3r_ros.errors import EngineUnavailable, ModelError, ModelNotFound
from mast3r_ros.models.description import (
    ModelDescription,
    Validation,
    Weights,
    size_name,
)
from mast3r_ros.models.folder import ModelFolder, default_place, find_model, models_in
from mast3r_ros.models.weights_sample import sample_digest

ALL = (Precision.INT8, Precision.BF16, Precision.FP16, Precision.FP32)


def proof(passed: bool = True, **changes: Any) -> Validation:
    made = Validation('onnxruntime', Precision.INT8, passed, True, details())
    return replace(made, **changes)


def details(**changes: Any) -> dict[str, Any]:
    limits = {'descriptor_cosine_p01': 0.995, 'point_error_p50': 0.02, 'match_overlap': 0.0}
    limits |= {name: changes.pop(name) for name in tuple(limits) if name in changes}
    made = {'reference': 'pytorch:fp32', 'reference_sources': ['cd' * 32], 'limits': limits}
    return {**made, **changes}


def test_a_description_survives_the_way_through_json() -> None:
    model = description(seeded=True, validations=(proof(details={'p01': 0.997}),))
    assert ModelDescription.from_json(model.to_json()) == model


def test_the_json_is_plain_and_says_its_format() -> None:
    values = json.loads(description().to_json())
    assert values['format'] == 1
    assert values['variant'] == 'dune_vit_small'
    assert values['shapes'] == [[84, 112], [112, 84]]
    assert values['pairs'] == [[[84, 112], [112, 84]]]


def broken(**changes: Any) -> str:
    values = json.loads(description().to_json())
    return json.dumps({**values, **changes})


@pytest.mark.parametrize(
    ('text', 'sentence'),
    [
        ('{', 'model.json is not valid JSON'),
        ('[' * 100_000, 'model.json is not valid JSON'),
        ('[]', r'model.json holds \[\]; it must be a JSON object'),
        (broken(format=2), 'has format 2, this version reads 1'),
        (broken(format='1'), "format is '1'; it must be a whole number"),
        (broken(variant='vggt'), "variant is 'vggt'; it must be one of dune_vit_small"),
        (broken(precision='fp64'), "precision is 'fp64'; it must be one of"),
        (broken(precision='auto'), 'not auto'),
        (broken(patch_px=0), 'patch_px is 0'),
        (broken(patch_px=True), 'patch_px is True; it must be a whole number'),
        (broken(metric='yes'), "metric is 'yes'; it must be true or false"),
        (broken(shapes=[[84]]), r'the size \[84\]; a size is \[height, width\]'),
        (broken(shapes=[[84, -14]]), r'the size \[84, -14\]'),
        (broken(shapes=[[84, 100]]), r'a size of 84x100 .* multiples of the patch of 14 px'),
        (broken(pairs=[[84, 112]]), 'the size 84'),
        (broken(stages=['encoder', 'head']), 'the stages are encoder, head'),
        (broken(stages=['encoder']), 'with encoder and decoder'),
        (broken(stages=[1]), 'stages holds 1'),
        (broken(weights={'file': '../x', 'bytes': 1, 'sha256': ''}), 'no plain file name'),
        (broken(weights={'file': 'x', 'bytes': -1, 'sha256': ''}), 'bytes is -1'),
        (broken(weights={'file': 'x', 'bytes': 1}), 'weights lacks sha256'),
        (broken(check='/etc/passwd'), 'no plain file name'),
        (broken(licence=None), 'licence is None; it must be a group'),
        (broken(sources=[3]), r'sources\[0\] holds 3'),
        (broken(colour='red'), "the unknown entry 'colour'"),
        (broken(validations=[{'engine': 'x'}]), r'validations\[0\] lacks precision'),
    ],
)
def test_a_wrong_description_is_refused_with_what_is_wrong(text: str, sentence: str) -> None:
    with pytest.raises(ModelError, match=sentence):
        ModelDescription.from_json(text)


@pytest.mark.parametrize('name', json.loads(description().to_json()))
def test_a_description_without_an_entry_names_it(name: str) -> None:
    values = json.loads(description().to_json())
    del values[name]
    with pytest.raises(ModelError, match=f'lacks {name}'):
        ModelDescription.from_json(json.dumps(values))


def test_a_size_is_named_by_height_and_width() -> None:
    assert size_name((384, 512)) == size_name((384, 512), (384, 512)) == '384x512'
    assert size_name((384, 512), (512, 384)) == '384x512_512x384'


def test_a_model_serves_equal_views_and_the_pairs_it_has() -> None:
    model = description()
    assert model.serves(PORTRAIT, PORTRAIT)
    assert model.serves(LANDSCAPE, PORTRAIT)
    assert not model.serves(PORTRAIT, LANDSCAPE)
    assert not model.serves((70, 70), (70, 70))


@pytest.mark.parametrize(
    ('proofs', 'proven'),
    [
        ([], False),
        ([proof()], True),
        ([proof(), proof(passed=False)], False),
        ([proof(passed=False), proof()], True),
        ([proof(engine='openvino')], False),
        ([proof(real_pictures=False)], False),
        ([proof(precision=Precision.FP16)], False),
        ([proof(details={})], False),
        ([proof(details=details(reference='onnxruntime:int8'))], False),
        ([proof(details=details(reference=None))], False),
        ([proof(details=details(reference_sources=['ab' * 32]))], False),
        ([proof(details=details(limits=7))], False),
        ([proof(details=details(descriptor_cosine_p01=0.99))], False),
        ([proof(details=details(descriptor_cosine_p01='nan'))], False),
        ([proof(details=details(point_error_p50=0.03))], False),
        ([proof(details=details(match_overlap=-1.0))], False),
        ([proof(details=details(point_error_p50=0.001, match_overlap=0.9))], True),
        ([proof(), proof(False, details=details(reference='onnxruntime:int8'))], True),
        ([proof(), proof(False, details=details(point_error_p50=0.03))], False),
    ],
)
def test_only_the_last_comparison_with_its_own_network_on_real_pictures_counts(
    proofs: list[Validation], proven: bool
) -> None:
    model = description(precision=Precision.INT8)
    for item in proofs:
        model = model.with_validation(item)
    assert model.is_proven_for('onnxruntime') is proven


def test_a_model_folder_opens_and_knows_its_files(tmp_path: Path) -> None:
    model = ModelFolder.open(write(tmp_path / 'm', description()))
    assert model.description == description()
    assert model.encoder_shapes == (LANDSCAPE, PORTRAIT)
    assert model.stage_path('decoder', LANDSCAPE, LANDSCAPE).is_file()
    assert model.stage_path('points_2', LANDSCAPE, PORTRAIT).is_file()
    assert model.sizes_in_words() == '112x84, 84x112, 112x84+84x112'


def test_a_folder_that_is_not_there_or_is_no_model_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound, match='there is no model folder'):
        ModelFolder.open(tmp_path / 'nothing')
    with pytest.raises(ModelNotFound, match=r'has no model\.json'):
        ModelFolder.open(tmp_path)


@pytest.mark.parametrize(
    'name',
    ['weights.data', '84x112_encoder.onnx', '112x84_points_1.onnx', '84x112_112x84_decoder.onnx'],
)
def test_a_missing_file_is_named(tmp_path: Path, name: str) -> None:
    folder = write(tmp_path / 'm', description())
    (folder / name).unlink()
    with pytest.raises(ModelError, match=f'lacks {name}'):
        ModelFolder.open(folder)


@pytest.mark.parametrize('content', [b'', WEIGHTS[:-1], WEIGHTS + b'x'])
def test_weights_of_another_length_are_refused(tmp_path: Path, content: bytes) -> None:
    folder = write(tmp_path / 'm', description())
    (folder / 'weights.data').write_bytes(content)
    with pytest.raises(ModelError, match=f'has {len(content)} bytes and should have 12'):
        ModelFolder.open(folder)


def test_other_weights_of_the_same_length_are_refused(tmp_path: Path) -> None:
    length = 1_000_000
    for place in (0, length // 2, length - 1):
        folder = tmp_path / str(place)
        content = bytearray(length)
        weights = Weights('weights.data', length, 'ab' * 32)
        write(folder, description(weights=weights))
        (folder / 'weights.data').write_bytes(content)
        weights = replace(weights, sample=sample_digest(folder / 'weights.data'))
        (folder / 'model.json').write_text(description(weights=weights).to_json())
        assert ModelFolder.open(folder).description.weights == weights
        content[place] = 1
        (folder / 'weights.data').write_bytes(content)
        with pytest.raises(ModelError, match=r'holds other weights than .* model\.json describes'):
            ModelFolder.open(folder)


def test_a_folder_of_an_earlier_version_has_no_sample_and_opens(tmp_path: Path) -> None:
    folder = write(tmp_path / 'm', description())
    values = json.loads((folder / 'model.json').read_text())
    del values['weights']['sample']
    (folder / 'model.json').write_text(json.dumps(values))
    assert ModelFolder.open(folder).description == description()


def test_a_model_knows_when_another_took_its_place(tmp_path: Path) -> None:
    model = ModelFolder.open(write(tmp_path / 'm', description()))
    model.check_still_there()
    (tmp_path / 'm').rename(tmp_path / 'old')
    with pytest.raises(ModelError, match='was replaced while it was in use; restart'):
        model.check_still_there()
    write(tmp_path / 'm', description())
    with pytest.raises(ModelError, match='was replaced while it was in use; restart'):
        model.check_still_there()


def test_a_model_without_a_size_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match='has no size; export one with `mast3r-export'):
        ModelFolder.open(write(tmp_path / 'm', description(shapes=(), pairs=())))


def test_a_description_that_cannot_be_read_is_an_error_with_its_path(tmp_path: Path) -> None:
    folder = write(tmp_path / 'm', description())
    (folder / 'model.json').write_bytes(b'\xff\xfe\x00nonsense')
    with pytest.raises(ModelError, match=r'm/model\.json is not valid JSON'):
        ModelFolder.open(folder)


def settings(cache: Path, **model: Any) -> MASt3RRuntimeConfig:
    return MASt3RRuntimeConfig(model=ModelConfig(**model), cache_dir=cache)


def test_a_missing_model_names_the_two_commands_with_the_settings_size(tmp_path: Path) -> None:
    with pytest.raises(ModelNotFound) as caught:
        find_model(settings(tmp_path, resolution=448), 'onnxruntime', ALL)
    place = f'--cache-dir {tmp_path}`'
    assert f'`mast3r-download --variant dune_vit_small {place}' in str(caught.value)
    assert f'`mast3r-export --variant dune_vit_small --size 448x336 {place}' in str(caught.value)


def test_the_commands_carry_the_shape_and_the_precision_that_are_asked_for(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path, variant='mast3r_vit_large', shape=(288, 512), precision='fp16')
    with pytest.raises(ModelNotFound, match='--size 512x288 --precision fp16 '):
        find_model(config, 'onnxruntime', ALL)


def test_auto_takes_the_best_precision_that_is_here(tmp_path: Path) -> None:
    config = settings(tmp_path)
    for precision in (Precision.FP32, Precision.FP16):
        write(default_place(config) / precision.value, description(precision=precision))
    best = find_model(config, 'onnxruntime', (Precision.FP16, Precision.FP32))
    assert best.description.precision is Precision.FP16
    other = find_model(config, 'onnxruntime', (Precision.FP32, Precision.FP16))
    assert other.description.precision is Precision.FP32


def test_auto_takes_int8_only_after_a_passed_comparison_on_real_pictures(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(tmp_path)
    home = default_place(config)
    int8 = description(precision=Precision.INT8)
    write(home / 'int8', int8)
    sentence = r'as int8, .* \(int8 only after a passed mast3r-validate\)'
    with pytest.raises(EngineUnavailable, match=sentence), caplog.at_level(logging.INFO):
        find_model(config, 'onnxruntime', ALL)
    assert 'mast3r-validate' in caplog.text
    write(home / 'fp32', description())
    assert find_model(config, 'onnxruntime', ALL).description.precision is Precision.FP32
    write(home / 'int8', int8.with_validation(proof()))
    assert find_model(config, 'onnxruntime', ALL).description.precision is Precision.INT8
    assert find_model(config, 'openvino', ALL).description.precision is Precision.FP32


def test_int8_by_name_needs_no_proof(tmp_path: Path) -> None:
    config = settings(tmp_path, precision='int8')
    write(default_place(config) / 'int8', description(precision=Precision.INT8))
    assert find_model(config, 'onnxruntime', ALL).description.precision is Precision.INT8


def test_a_path_is_taken_as_it_is_whatever_the_variant_says(tmp_path: Path) -> None:
    write(tmp_path / 'mine', description())
    config = settings(tmp_path, path=tmp_path / 'mine', variant='mast3r_vit_large')
    assert find_model(config, 'x', ALL).description.variant is ModelVariant.DUNE_VIT_SMALL


def test_a_path_of_another_precision_than_the_settings_ask_for_is_refused(
    tmp_path: Path,
) -> None:
    write(tmp_path / 'mine', description())
    config = settings(tmp_path, path=tmp_path / 'mine', precision='fp16')
    with pytest.raises(ModelError, match=r'model.precision is fp16 but the model at .* is fp32'):
        find_model(config, 'onnxruntime', ALL)


def test_a_precision_that_the_engine_cannot_run_is_refused(tmp_path: Path) -> None:
    write(tmp_path / 'mine', description(precision=Precision.BF16))
    config = settings(tmp_path, path=tmp_path / 'mine')
    sentence = 'is bf16, and the onnxruntime engine runs fp32 here'
    with pytest.raises(EngineUnavailable, match=sentence):
        find_model(config, 'onnxruntime', (Precision.FP32,))


def test_a_model_that_is_here_in_precisions_of_other_engines_is_not_called_missing(
    tmp_path: Path,
) -> None:
    config = settings(tmp_path)
    write(default_place(config) / 'bf16', description(precision=Precision.BF16))
    sentence = r'is at .* as bf16, and the onnxruntime engine takes fp32, fp16 here;'
    with pytest.raises(EngineUnavailable, match=sentence):
        find_model(config, 'onnxruntime', (Precision.FP32, Precision.FP16))


def test_a_missing_precision_names_those_that_are_here(tmp_path: Path) -> None:
    config = settings(tmp_path, precision='fp16')
    write(default_place(config) / 'bf16', description(precision=Precision.BF16))
    with pytest.raises(ModelNotFound, match=r'not at .*fp16 \(beside it as bf16\); get it'):
        find_model(config, 'onnxruntime', ALL)


def test_the_models_in_the_cache_are_listed_without_the_damaged_ones(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = settings(tmp_path)
    write(default_place(config) / 'fp32', description())
    (write(default_place(config) / 'fp16', description()) / 'weights.data').unlink()
    assert [model.description.precision for model in models_in(tmp_path)] == [Precision.FP32]
    assert 'lacks weights.data' in caplog.text
