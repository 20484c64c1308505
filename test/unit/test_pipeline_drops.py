# SPDX-License-Identifier: Apache-2.0
"""Each frame or pair that healthy traffic leaves unanswered is counted with the reason."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from support.observed_pipeline import MS, PATIENCE_S, Bench, add_stereo, stereo_views

from mast3r_ros.core.mailbox import MailboxFull


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


def test_a_slow_engine_answers_the_newest_pair_and_counts_the_others(bench: Bench) -> None:
    pipeline = bench.pipeline()
    bench.engine.gate.clear()
    add_stereo(pipeline, 0)
    assert bench.engine.entered.wait(PATIENCE_S)
    for number in range(1, 5):
        add_stereo(pipeline, number * 50 * MS)
    bench.engine.gate.set()
    bench.wait(results=2)
    bench.settle()
    assert [result.stamp_ns for result in bench.results] == [0, 200 * MS]
    assert pipeline.drops == {'superseded': 3}
    assert pipeline.paired == 5 == pipeline.answered + sum(pipeline.drops.values())


def test_a_queue_keeps_every_pair_and_says_when_it_is_full(bench: Bench) -> None:
    pipeline = bench.pipeline(queue_limit=2)
    bench.engine.gate.clear()
    add_stereo(pipeline, 0)
    assert bench.engine.entered.wait(PATIENCE_S)
    add_stereo(pipeline, 50 * MS)
    add_stereo(pipeline, 100 * MS)
    with pytest.raises(MailboxFull):
        add_stereo(pipeline, 150 * MS)
    bench.engine.gate.set()
    bench.wait(results=3)
    bench.settle()
    assert [result.stamp_ns for result in bench.results] == [0, 50 * MS, 100 * MS]
    assert pipeline.paired == 4 == pipeline.answered + sum(pipeline.drops.values())


def test_frames_without_a_partner_are_among_the_drops(bench: Bench) -> None:
    pipeline = bench.pipeline()
    pipeline.add('left', stereo_views(0)[0])
    pipeline.add('left', stereo_views(0)[0])
    pipeline.add('right', stereo_views(500 * MS)[1])
    assert pipeline.drops == {'duplicate_stamp': 1, 'no_partner': 1}


def test_a_closed_pipeline_hands_out_nothing_any_more(bench: Bench) -> None:
    pipeline = bench.pipeline()
    bench.engine.gate.clear()
    add_stereo(pipeline, 0)
    assert bench.engine.entered.wait(PATIENCE_S)
    add_stereo(pipeline, 50 * MS)
    pipeline.close()
    bench.engine.gate.set()
    bench.wait(results=1)
    bench.settle()
    assert len(bench.results) == 1
    assert pipeline.drops == {'closed': 1}
