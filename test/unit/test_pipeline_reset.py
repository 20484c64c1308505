# SPDX-License-Identifier: Apache-2.0
"""After a reset or a jump in time nothing is left of the frames before."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.observed_pipeline import (
    MS,
    PATIENCE_S,
    SEQUENCE,
    Bench,
    add_stereo,
    stereo_views,
    strolled,
)

from mast3r_ros.core.results import ScaleSource


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


@pytest.mark.parametrize('how', ['reset', 'time jump'])
def test_a_reset_or_a_jump_in_time_forgets_frames_scale_and_features(
    how: str, bench: Bench
) -> None:
    few = np.zeros((120, 160), bool)
    few[50:70, 70:90] = True
    pipeline = bench.pipeline(queue_limit=5)
    bench.engine._scale = 0.37
    add_stereo(pipeline, 1000 * MS)
    add_stereo(pipeline, 1050 * MS, mask=few)
    bench.wait(results=2)
    assert bench.results[1].scale.factor == pytest.approx(1 / 0.37, rel=0.02)
    assert pipeline.scales_held == 1
    if how == 'reset':
        pipeline.reset()
        add_stereo(pipeline, 1100 * MS, mask=few)
    else:
        add_stereo(pipeline, 0, mask=few)
    bench.wait(results=3)
    assert bench.results[2].scale.factor == 1.0
    assert bench.results[2].scale.source is ScaleSource.NONE


def test_a_sequence_pairs_no_frames_across_a_reset(bench: Bench) -> None:
    pipeline = bench.pipeline(SEQUENCE, queue_limit=5)
    views = [shot.view(stamp_ns=number * MS) for number, shot in enumerate(strolled())]
    for view in views[:2]:
        pipeline.add('image', view)
    bench.wait(results=1)
    pipeline.reset()
    for view in views[2:4]:
        pipeline.add('image', view)
    bench.wait(results=2)
    bench.settle()
    assert [result.stamp_ns for result in bench.results] == [MS, 3 * MS]
    assert [item.released for item in bench.engine.features] == [True, True, False, False]


def test_a_reset_counts_what_it_throws_away(bench: Bench) -> None:
    pipeline = bench.pipeline(queue_limit=5)
    bench.engine.gate.clear()
    add_stereo(pipeline, 0)
    assert bench.engine.entered.wait(PATIENCE_S)
    add_stereo(pipeline, 50 * MS)
    pipeline.add('left', stereo_views(100 * MS)[0])
    pipeline.reset()
    bench.engine.gate.set()
    bench.wait(results=1)
    bench.settle()
    assert pipeline.drops == {'reset': 2}
