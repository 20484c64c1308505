# SPDX-License-Identifier: Apache-2.0
"""Settings go through YAML unharmed, and every wrong one is a sentence that helps."""

from __future__ import annotations

import enum
import math
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mast3r_ros.config import (
    CloudConfig,
    MASt3RRuntimeConfig,
    MatchingConfig,
    ModelConfig,
    NodeConfig,
    PairingConfig,
    PipelineConfig,
    RuntimeConfig,
)
from mast3r_ros.errors import ConfigError
from mast3r_ros.settings import Setting, Settings


def values_of(item: Setting) -> st.SearchStrategy[Any]:
    """Return a strategy for the allowed values of one setting."""
    if item.name in ('shape', 'tracking_shape'):
        side = st.integers(1, 50).map(lambda patches: 16 * patches)
        return st.none() | st.tuples(side, side)
    if isinstance(item.type, type) and issubclass(item.type, enum.Enum):
        return st.sampled_from(list(item.type))
    if isinstance(item.type, type) and issubclass(item.type, Settings):
        return settings_of(item.type)
    if item.type is bool:
        return st.booleans()
    if item.type is float:
        return st.floats(item.low, item.high)
    if item.low is not None:
        number = st.integers(int(item.low), int(item.high or 0))
        return number if item.type is int else st.none() | number
    return st.none() | st.text('abc/_.~ #:\'"-', min_size=1).map(Path)


def settings_of(group: type[Settings]) -> st.SearchStrategy[Settings]:
    """Return a strategy for whole groups of settings."""
    return st.builds(
        group, **{item.name: values_of(item) for item in group.describe() if item.name != 'path'}
    )


def problem(group: type[Settings], **values: Any) -> ConfigError:
    """Return the error that some values are."""
    with pytest.raises(ConfigError) as caught:
        group(**values)
    return caught.value


@given(settings_of(PipelineConfig))
def test_any_settings_come_back_from_yaml_equal(settings: PipelineConfig) -> None:
    back = PipelineConfig(**yaml.safe_load(settings.to_yaml()))
    assert back == settings
    assert back.to_yaml() == settings.to_yaml()


def test_yaml_files_come_back_equal(tmp_path: Path) -> None:
    settings = NodeConfig(
        model=ModelConfig(variant='mast3r_vit_large', shape=(384, 512), path='/models/a b'),
        pairing=PairingConfig(mode='sequence', stride=3),
        cloud=CloudConfig(max_range_m=12.5),
    )
    settings.to_yaml(tmp_path / 'settings.yaml')
    assert NodeConfig.from_yaml(tmp_path / 'settings.yaml') == settings


def test_what_a_yaml_file_leaves_out_keeps_its_default(tmp_path: Path) -> None:
    path = tmp_path / 'settings.yaml'
    path.write_text('matching: {top_k: 7}\n')
    assert MASt3RRuntimeConfig.from_yaml(path) == MASt3RRuntimeConfig(
        matching=MatchingConfig(top_k=7)
    )


@pytest.mark.parametrize('text', ['', '# nothing but a comment\n'])
def test_an_empty_yaml_file_means_all_defaults(text: str, tmp_path: Path) -> None:
    path = tmp_path / 'settings.yaml'
    path.write_text(text)
    assert MASt3RRuntimeConfig.from_yaml(path) == MASt3RRuntimeConfig()


def test_a_ros_parameter_file_is_read_like_any_other(tmp_path: Path) -> None:
    path = tmp_path / 'settings.yaml'
    path.write_text('/**:\n  ros__parameters:\n    matching: {top_k: 7}\n')
    assert MASt3RRuntimeConfig.from_yaml(path).matching.top_k == 7


@pytest.mark.parametrize('number', ['1e-3', '1.0e-3', '0.001'])
def test_every_spelling_of_a_small_number_in_yaml_is_that_number(
    number: str, tmp_path: Path
) -> None:
    path = tmp_path / 'settings.yaml'
    path.write_text(f'tolerance_s: {number}\n')
    assert PairingConfig.from_yaml(path).tolerance_s == 0.001


@pytest.mark.parametrize(
    ('content', 'word'),
    [
        (b'top_k: [1', 'not valid YAML'),
        (b'- 1\n- 2\n', 'list'),
        (b'just text', 'str'),
        (b'1: 2\n', 'key: value'),
        (b'\xff\xfe\x00top', 'not valid YAML'),
    ],
)
def test_a_broken_yaml_file_is_one_sentence_with_its_name(
    content: bytes, word: str, tmp_path: Path
) -> None:
    path = tmp_path / 'broken.yaml'
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=word) as caught:
        MatchingConfig.from_yaml(path)
    assert 'broken.yaml' in str(caught.value)
    assert '\n' not in str(caught.value)


def test_a_missing_yaml_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'nowhere\.yaml'):
        MatchingConfig.from_yaml(tmp_path / 'nowhere.yaml')


def test_an_unknown_key_is_named_with_the_likeliest_and_all_known() -> None:
    error = problem(MatchingConfig, topk=3)
    assert [name for name, _ in error.problems] == ['topk']
    assert 'topk is not a setting; did you mean top_k?' in str(error)
    assert all(item.name in str(error) for item in MatchingConfig.describe())


@pytest.mark.parametrize(
    ('group', 'name', 'value', 'words'),
    [
        (ModelConfig, 'resolution', 100, ['100', 'from 112 to 2048']),
        (ModelConfig, 'resolution', 4096, ['4096', 'from 112 to 2048']),
        (ModelConfig, 'resolution', 'big', ["'big'", 'a whole number']),
        (ModelConfig, 'variant', 'resnet', ["'resnet'", 'dune_vit_small', 'mast3r_vit_large']),
        (ModelConfig, 'shape', [384], ['[384]', 'a list of 2 values']),
        (RuntimeConfig, 'backend', 'tpu', ["'tpu'", 'geometric', 'onnxruntime']),
        (RuntimeConfig, 'call_timeout_s', -1, ['-1', 'from 0.1 to 3600']),
        (RuntimeConfig, 'call_timeout_s', math.nan, ['nan', 'from 0.1 to 3600']),
        (RuntimeConfig, 'call_timeout_s', math.inf, ['inf', 'from 0.1 to 3600']),
        (MatchingConfig, 'reciprocal', 'perhaps', ["'perhaps'", 'true or false']),
        (MatchingConfig, 'top_k', None, ['None', 'a whole number from 0']),
        (MatchingConfig, 'top_k', [], ['[]', 'a whole number from 0']),
    ],
)
def test_a_wrong_value_is_named_with_its_key_and_what_is_allowed(
    group: type[Settings], name: str, value: object, words: list[str]
) -> None:
    error = problem(group, **{name: value})
    assert [key for key, _ in error.problems] == [name]
    assert str(error).startswith(f'{name} is ')
    assert all(word in str(error) for word in words)


@pytest.mark.parametrize(
    ('group', 'name', 'value'),
    [
        (ModelConfig, 'resolution', 336.5),
        (ModelConfig, 'resolution', True),
        (ModelConfig, 'resolution', '336.0'),
        (ModelConfig, 'shape', [384.5, 512]),
        (ModelConfig, 'shape', [True, 512]),
        (ModelConfig, 'shape', '12'),
        (ModelConfig, 'path', 3),
        (MatchingConfig, 'top_k', True),
        (MatchingConfig, 'top_k', 7.5),
        (MatchingConfig, 'top_k', math.nan),
        (MatchingConfig, 'reciprocal', 'yes'),
        (MatchingConfig, 'reciprocal', 1),
        (MatchingConfig, 'reciprocal', 0.0),
        (MatchingConfig, 'confidence_threshold', True),
        (MatchingConfig, 'confidence_threshold', 'much'),
        (MASt3RRuntimeConfig, 'model', []),
        (MASt3RRuntimeConfig, 'model', None),
        (MASt3RRuntimeConfig, 'model', 3),
        (MASt3RRuntimeConfig, 'model', MatchingConfig()),
    ],
)
def test_nothing_is_bent_into_shape_in_silence(
    group: type[Settings], name: str, value: object
) -> None:
    error = problem(group, **{name: value})
    assert [key for key, _ in error.problems] == [name]
    assert str(error).startswith(f'{name} is ')


def test_whole_numbers_may_be_written_with_a_point_and_numbers_without() -> None:
    assert ModelConfig(resolution=336.0).resolution == 336
    assert RuntimeConfig(call_timeout_s=5).call_timeout_s == 5.0


def test_nested_problems_carry_the_whole_path() -> None:
    error = problem(
        PipelineConfig,
        model={'resolution': 5, 'varant': 'x'},
        cloud={'scale': 'furlongs'},
        matchin={},
    )
    assert {name for name, _ in error.problems} == {
        'model.resolution',
        'model.varant',
        'cloud.scale',
        'matchin',
    }
    assert 'model.resolution is 5, allowed is' in str(error)
    assert 'model.varant is not a setting; did you mean variant?' in str(error)
    assert "cloud.scale is 'furlongs', allowed is one of auto, model" in str(error)


def test_a_very_long_value_is_shortened() -> None:
    assert len(str(problem(ModelConfig, variant='x' * 10_000))) < 300


def test_what_stands_for_nothing_in_files_is_none() -> None:
    settings = ModelConfig(resolution=0, shape=[0, 0], path='')
    assert settings == ModelConfig()
    assert (settings.resolution, settings.shape, settings.path) == (None, None, None)
    assert settings.to_dict()['resolution'] == 0


def test_false_does_not_stand_for_nothing() -> None:
    assert 'resolution' in str(problem(ModelConfig, resolution=False))


def test_settings_cannot_be_changed_in_place() -> None:
    settings = MatchingConfig()
    with pytest.raises((TypeError, ValueError)):
        settings.top_k = 5
    assert settings == MatchingConfig()


def test_replace_gives_a_checked_copy() -> None:
    settings = MatchingConfig(subsample=4)
    assert settings.replace(top_k=9) == MatchingConfig(subsample=4, top_k=9)
    assert settings.top_k == 0
    with pytest.raises(ConfigError, match='top_k is -1'):
        settings.replace(top_k=-1)
    with pytest.raises(ConfigError, match='did you mean top_k'):
        settings.replace(topk=1)


def test_settings_can_be_pickled_and_hashed() -> None:
    settings = MASt3RRuntimeConfig(model=ModelConfig(resolution=448))
    assert pickle.loads(pickle.dumps(settings)) == settings
    assert hash(settings) == hash(settings.replace())


def test_describe_tells_type_default_range_unit_and_meaning() -> None:
    described = {item.name: item for item in RuntimeConfig.describe()}
    timeout = described['call_timeout_s']
    assert (timeout.type, timeout.default) == (float, 30.0)
    assert (timeout.low, timeout.high, timeout.unit) == (0.1, 3600.0, 's')
    assert timeout.allowed == 'a number from 0.1 to 3600'
    assert not timeout.dynamic
    assert list(described) == list(RuntimeConfig().to_dict())


def test_describe_tells_which_settings_may_change_while_running() -> None:
    dynamic = {item.name for item in MatchingConfig.describe() if item.dynamic}
    assert 'top_k' in dynamic
    assert not any(item.dynamic for item in ModelConfig.describe())
