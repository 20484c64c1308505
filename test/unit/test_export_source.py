# SPDX-License-Identifier: Apache-2.0
"""Which network weights are of, and where fetched weights lie."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from mast3r_ros.config import ModelVariant
from mast3r_ros.errors import ModelNotFound
from mast3r_ros.export.source import checkpoint_in_cache, variant_of
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.catalogue import published_model


def architecture_of(variant: ModelVariant) -> Architecture:
    dimensions = dict(published_model(variant).dimensions)
    side = 32 if dimensions['family'] == 'dune' else 0
    heads = int(dimensions['enc_dim']) // 64
    return Architecture(**{'enc_heads': heads, **dimensions, 'position_side': side})


@pytest.mark.parametrize('variant', ModelVariant)
def test_dimensions_and_name_tell_the_variant(variant: ModelVariant) -> None:
    names = [file.name for file in published_model(variant).files]
    assert variant_of(architecture_of(variant), names) is variant


def test_a_name_does_not_outweigh_the_dimensions() -> None:
    names = [file.name for file in published_model(ModelVariant.MAST3R_VIT_LARGE).files]
    base = architecture_of(ModelVariant.DUNE_VIT_BASE)
    assert variant_of(base, names) is ModelVariant.DUNE_VIT_BASE


def test_unknown_dimensions_go_by_the_family() -> None:
    small = replace(architecture_of(ModelVariant.MAST3R_VIT_LARGE), enc_depth=2, dec_depth=10)
    assert variant_of(small) is ModelVariant.MAST3R_VIT_LARGE
    bare = replace(small, family='dust3r', desc_dim=0)
    assert variant_of(bare) is ModelVariant.DUST3R_512_DPT


def test_a_dune_network_needs_both_of_its_files(tmp_path: Path) -> None:
    variant = ModelVariant.DUNE_VIT_SMALL
    decoder, encoder = published_model(variant).paths(tmp_path)
    decoder.parent.mkdir(parents=True)
    for missing, path in (('dunemast3r', decoder), ('dune_vitsmall14', encoder)):
        with pytest.raises(
            ModelNotFound, match=f'{missing}.*mast3r-download --variant {variant.value}'
        ):
            checkpoint_in_cache(variant, tmp_path)
        path.touch()
    assert checkpoint_in_cache(variant, tmp_path) == (decoder, encoder)


def test_other_networks_are_one_file(tmp_path: Path) -> None:
    (path,) = published_model(ModelVariant.MAST3R_VIT_LARGE).paths(tmp_path)
    path.parent.mkdir(parents=True)
    path.touch()
    assert checkpoint_in_cache(ModelVariant.MAST3R_VIT_LARGE, tmp_path) == (path, None)
