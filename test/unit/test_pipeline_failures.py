# SPDX-License-Identifier: Apache-2.0
"""Whatever fails on the way is said, is counted with its reason, and costs no other pair."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
from support.observed_pipeline import (
    MS,
    PATIENCE_S,
    STEREO,
    Bench,
    add_stereo,
    rig,
    stereo_views,
)
from support.oracle_engine import OracleEngine

from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import PairResult
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineFailed, EngineUnavailable, InvalidInput


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def test_a_bad_pair_is_counted_with_its_reason_and_the_next_is_answered(bench: Bench) -> None:
    pipeline = bench.pipeline(queue_limit=5)
    unknown = np.zeros((120, 160, 3), np.uint8)
    pipeline.add('left', View(unknown))
    pipeline.add('right', View(unknown))
    add_stereo(pipeline, 50 * MS)
    bench.wait(results=1, problems=1)
    assert pipeline.drops == {'invalid_input': 1}
    assert 'does not know this picture' in str(bench.problems[0][1])
    assert bench.problems[0][0].view_1.image is unknown


@pytest.mark.parametrize(
    ('error', 'reason'),
    [
        (EngineFailed('out of memory'), 'engine_failed'),
        (InvalidInput('too long an image'), 'invalid_input'),
        (ValueError('a bug'), 'failed'),
    ],
)
def test_a_failing_engine_is_counted_with_its_reason(
    error: Exception, reason: str, bench: Bench
) -> None:
    pipeline = bench.pipeline(queue_limit=5)
    bench.engine.failures.append(error)
    add_stereo(pipeline, 0)
    add_stereo(pipeline, 50 * MS)
    bench.wait(results=1, problems=1)
    bench.settle()
    assert pipeline.drops == {reason: 1}
    assert bench.problems[0][1] is error
    assert pipeline.answered == 1


def test_an_engine_that_cannot_be_had_is_counted_for_every_pair() -> None:
    def build() -> OracleEngine:
        raise EngineUnavailable('no driver; install one')

    problems: list[Exception] = []
    with EngineWorker(build) as worker:
        pipeline = Pipeline(
            worker, STEREO, queue_limit=5, on_problem=lambda pair, error: problems.append(error)
        )
        with pytest.raises(EngineUnavailable):
            worker.wait_ready(PATIENCE_S)
        for number in range(3):
            add_stereo(pipeline, number * 50 * MS)
        assert pipeline.drops == {'no_engine': 3}
        assert [str(problem) for problem in problems] == ['no driver; install one'] * 3
        with pytest.raises(EngineUnavailable, match='no driver'):
            pipeline.process(ViewPair(*stereo_views()), PATIENCE_S)


def test_a_listener_that_raises_is_survived_and_told(bench: Bench) -> None:
    seen = []

    def listen(result: PairResult) -> None:
        seen.append(result.stamp_ns)
        raise RuntimeError('the listener is broken')

    pipeline = bench.pipeline(on_result=listen, queue_limit=5)
    add_stereo(pipeline, 0)
    add_stereo(pipeline, 50 * MS)
    bench.wait(problems=2)
    assert seen == [0, 50 * MS]
    assert pipeline.drops == {'failed': 2}
    assert pipeline.paired == pipeline.answered + sum(pipeline.drops.values())


def test_a_problem_listener_that_raises_is_survived(bench: Bench) -> None:
    def listen(pair: ViewPair, error: Exception) -> None:
        raise RuntimeError('the listener is broken')

    pipeline = Pipeline(bench.worker, STEREO, on_result=bench.keep, on_problem=listen)
    bench.engine.failures.append(EngineFailed('once'))
    add_stereo(pipeline, 0)
    bench.settle()
    add_stereo(pipeline, 50 * MS)
    bench.wait(results=1)


def test_an_unknown_source_is_said_to_the_caller(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match='known are left, right'):
        bench.pipeline().add('image', rig()[0].view())
