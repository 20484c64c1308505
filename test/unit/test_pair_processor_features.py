# SPDX-License-Identifier: Apache-2.0
"""Features of a view are kept as long as it may come again and no longer."""

from __future__ import annotations

import gc

import pytest
from support.answered_pair import oracle, processor, rig, stereo_pair, strolled
from support.oracle_engine import OracleEngine

from mast3r_ros.config import ModelConfig, RuntimeConfig
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import Product
from mast3r_ros.errors import EngineFailed


@pytest.mark.parametrize('stride', [1, 2, 4])
def test_in_a_sequence_every_frame_is_encoded_once(stride: int) -> None:
    engine, one = oracle(), processor(stride)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled(), 1)]
    for newer, older in zip(views[stride:], views, strict=False):
        one.process(engine, ViewPair(newer, older), Product.ALL)
    assert len(engine.encoded) == len(set(engine.encoded)) == len(views)
    assert not any(item.released for item in engine.features)  # each view may come again
    one.reset()
    assert all(item.released for item in engine.features)


def test_views_that_nobody_has_any_more_leave_nothing_behind() -> None:
    engine, one = oracle(), processor(1)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled(), 1)]
    for newer in (1, 3, 4, 8):
        one.process(engine, ViewPair(views[newer], views[newer - 1]), Product.MATCHES)
    assert len(engine.encoded) == 7  # 0 1, 2 3, 4, 7 8
    del views[:-1]
    gc.collect()
    assert len([item for item in engine.features if not item.released]) == 1


def test_without_memory_for_features_none_are_kept() -> None:
    engine = oracle()
    one = processor(1, runtime=RuntimeConfig(features_memory_mb=0))
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled()[:3], 1)]
    for newer, older in zip(views[1:], views, strict=False):
        one.process(engine, ViewPair(newer, older), Product.MATCHES)
    assert len(engine.encoded) == 4
    assert all(item.released for item in engine.features)


def test_another_engine_starts_with_its_own_features() -> None:
    first, second, one = oracle(), oracle(), processor(1)
    views = [shot.view(stamp_ns=number) for number, shot in enumerate(strolled()[:3], 1)]
    one.process(first, ViewPair(views[1], views[0]), Product.MATCHES)
    one.process(second, ViewPair(views[2], views[1]), Product.MATCHES)
    assert len(second.encoded) == 2
    assert all(item.released for item in first.features)


def test_a_stereo_pair_leaves_no_features_behind() -> None:
    engine = oracle()
    processor().process(engine, stereo_pair(), Product.ALL)
    assert len(engine.features) == 2
    assert all(item.released for item in engine.features)


def test_a_pair_that_fails_in_the_engine_leaves_no_features_behind() -> None:
    class Broken(OracleEngine):
        def decode(self, pairs, outputs):
            raise EngineFailed('out of memory')

    engine = Broken(ModelConfig(resolution=140)).register_shots(rig())
    with pytest.raises(EngineFailed, match='out of memory'):
        processor().process(engine, stereo_pair(), Product.ALL)
    assert all(item.released for item in engine.features)
