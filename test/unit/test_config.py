# SPDX-License-Identifier: Apache-2.0
"""Every setting is described, every preset is what its name promises, older spellings work."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from mast3r_ros import config, presets
from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    MatchingConfig,
    ModelConfig,
    ModelVariant,
    PipelineConfig,
    Precision,
    RuntimeConfig,
)
from mast3r_ros.errors import ConfigError
from mast3r_ros.presets import (
    PRESET_DESKTOP_PRECISION,
    PRESET_DRONE_FAST,
    PRESET_DRONE_QUALITY,
)
from mast3r_ros.settings import Setting, Settings

GROUPS = [
    value
    for value in vars(config).values()
    if isinstance(value, type) and issubclass(value, Settings) and value is not Settings
]
PRESETS = {name: value for name, value in vars(presets).items() if name.startswith('PRESET_')}


def all_settings() -> list[tuple[type[Settings], Setting]]:
    return [(group, item) for group in GROUPS for item in group.describe()]


def setting_id(value: object) -> str:
    return value.name if isinstance(value, Setting) else getattr(value, '__name__', str(value))


@pytest.mark.parametrize(('group', 'item'), all_settings(), ids=setting_id)
def test_every_setting_has_a_meaning_a_default_and_allowed_values_in_words(
    group: type[Settings], item: Setting
) -> None:
    assert item.meaning.endswith('.')
    assert item.allowed
    assert group(**{item.name: item.default}) == group()


@pytest.mark.parametrize(('group', 'item'), all_settings(), ids=setting_id)
def test_every_plain_number_has_a_range_that_holds_its_default(
    group: type[Settings], item: Setting
) -> None:
    if item.type in (int, float):
        assert item.low is not None
        assert item.high is not None
        assert item.low <= item.default <= item.high


@pytest.mark.parametrize(('group', 'item'), all_settings(), ids=setting_id)
def test_every_range_is_kept_at_both_ends(group: type[Settings], item: Setting) -> None:
    if item.low is None or item.high is None:
        return
    for inside in (item.low, item.high):
        assert getattr(group(**{item.name: inside}), item.name) == inside
    for outside in (item.low - 1, item.high + 1):
        if outside == 0 and item.nothing == 0:
            continue  # stands for nothing
        with pytest.raises(ConfigError, match=item.name):
            group(**{item.name: outside})


@pytest.mark.parametrize('name', PRESETS)
def test_every_preset_survives_yaml(name: str, tmp_path: Path) -> None:
    path = tmp_path / 'preset.yaml'
    text = PRESETS[name].to_yaml(path)
    assert path.read_text() == text
    assert MASt3RRuntimeConfig.from_yaml(path) == PRESETS[name]


def test_drone_fast_is_the_smallest_network_at_its_small_size() -> None:
    model = PRESET_DRONE_FAST.model
    assert (model.variant, model.resolution) == (ModelVariant.DUNE_VIT_SMALL, 336)
    assert 0 < PRESET_DRONE_FAST.matching.top_k < PRESET_DRONE_QUALITY.matching.top_k


def test_drone_quality_is_a_bigger_network_at_a_bigger_size() -> None:
    model = PRESET_DRONE_QUALITY.model
    assert (model.variant, model.resolution) == (ModelVariant.DUNE_VIT_BASE, 448)


def test_desktop_precision_is_the_largest_network_in_full_precision_and_keeps_all_matches() -> (
    None
):
    preset = PRESET_DESKTOP_PRECISION
    assert preset.model.variant is ModelVariant.MAST3R_VIT_LARGE
    assert preset.model.resolution == 512
    assert preset.model.precision is Precision.FP32
    assert preset.matching.top_k == 0
    assert preset.matching.subsample < MatchingConfig().subsample


@pytest.mark.parametrize('name', PRESETS)
def test_no_preset_ties_the_user_to_a_runtime(name: str) -> None:
    assert PRESETS[name].runtime == RuntimeConfig()
    assert PRESETS[name].runtime.backend is BackendType.AUTO


@pytest.mark.parametrize('name', PRESETS)
def test_every_preset_asks_for_whole_patches(name: str) -> None:
    model = PRESETS[name].model
    assert model.resolution % model.variant.patch_px == 0


@pytest.mark.parametrize('size', ['14', '336', '448'])
@pytest.mark.parametrize('family', ['DUNE_VIT_SMALL', 'DUNE_VIT_BASE'])
def test_older_variant_names_are_aliases(family: str, size: str) -> None:
    old, new = f'{family}_{size}', ModelVariant[family]
    assert getattr(ModelVariant, old) is new
    assert ModelConfig(variant=old).variant is new
    assert ModelConfig(variant=old.lower()).variant is new


@pytest.mark.parametrize(
    ('old', 'new'),
    [
        ('metal', BackendType.COREML),
        ('jetson', BackendType.TENSORRT),
        ('cpu', BackendType.ONNXRUNTIME),
        ('python', BackendType.PYTORCH),
        ('CUDA', BackendType.CUDA),
    ],
)
def test_older_backend_names_are_aliases(old: str, new: BackendType) -> None:
    assert RuntimeConfig(backend=old).backend is new


def test_aliases_are_written_back_in_the_new_spelling() -> None:
    settings = ModelConfig(variant='dune_vit_base_448')
    assert yaml.safe_load(settings.to_yaml())['variant'] == 'dune_vit_base'


@pytest.mark.parametrize('variant', list(ModelVariant))
def test_every_variant_has_a_patch_and_a_default_size_of_whole_patches(
    variant: ModelVariant,
) -> None:
    assert variant.patch_px == (14 if variant.value.startswith('dune') else 16)
    assert variant.default_resolution % variant.patch_px == 0


def test_old_keyword_groups_still_build_a_config() -> None:
    settings = MASt3RRuntimeConfig(
        model=ModelConfig(variant=ModelVariant.DUNE_VIT_BASE, resolution=448),
        runtime=RuntimeConfig(backend=BackendType.ONNXRUNTIME),
        matching=MatchingConfig(top_k=100, reciprocal=False, confidence_threshold=0.5),
        cache_dir='/tmp/models',
    )
    assert settings.cache_folder == Path('/tmp/models')
    assert settings.matching.top_k == 100


def test_the_cache_folder_follows_the_desktop_standard(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv('XDG_CACHE_HOME', '/srv/cache')
    assert MASt3RRuntimeConfig().cache_folder == Path('/srv/cache/mast3r_ros')
    monkeypatch.delenv('XDG_CACHE_HOME')
    assert MASt3RRuntimeConfig().cache_folder == Path.home() / '.cache' / 'mast3r_ros'


def test_a_home_folder_in_a_path_is_understood() -> None:
    settings = MASt3RRuntimeConfig(cache_dir='~/models')
    assert settings.cache_folder == Path.home() / 'models'


def test_pipeline_settings_hold_the_runtime_settings() -> None:
    settings = PipelineConfig(**PRESET_DRONE_FAST.to_dict())
    assert settings.model == PRESET_DRONE_FAST.model
    assert settings.pairing.tolerance_s == 0.01
