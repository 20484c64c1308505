# SPDX-License-Identifier: Apache-2.0
"""Frames go in and results come out: all of the way, with whatever may go wrong on it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any

import numpy as np
import pytest
from oracle_engine import EXACT, ErrorModel, OracleEngine
from scene import Scene, Shot, stereo_shots, walk

from mast3r_ros.config import CloudConfig, MatchingConfig, ModelConfig, PipelineConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.mailbox import MailboxFull
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.pipeline import Pipeline
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineFailed, EngineUnavailable, InvalidInput

MS = 1_000_000
PATIENCE_S = 20.0
SCENE = Scene()
STEREO = PipelineConfig(matching=MatchingConfig(subsample=4))
SEQUENCE = PipelineConfig(matching=MatchingConfig(subsample=4), pairing={'mode': 'sequence'})


@cache
def rig() -> tuple[Shot, Shot]:
    return stereo_shots(SCENE, width=160, height=120)


@cache
def strolled() -> list[Shot]:
    return walk(SCENE, 6, width=96)


class GatedOracle(OracleEngine):
    """An oracle that can be held up, or told to fail."""

    def __init__(self, **options: Any) -> None:
        super().__init__(ModelConfig(resolution=112), **options)
        self.entered = threading.Event()
        self.gate = threading.Event()
        self.gate.set()
        self.failures: list[Exception] = []

    def decode(self, pairs, outputs):
        self.entered.set()
        assert self.gate.wait(PATIENCE_S)
        if self.failures:
            raise self.failures.pop(0)
        return super().decode(pairs, outputs)


class Bench:
    """A worker with an oracle, and pipelines whose results are collected."""

    def __init__(self) -> None:
        self.engine = GatedOracle(errors=EXACT)
        self.engine.register_shots([*rig(), *strolled()])
        self.worker = EngineWorker(lambda: self.engine).start()
        self.results: list[PairResult] = []
        self.problems: list[tuple[ViewPair, Exception]] = []
        self.changed = threading.Condition()

    def pipeline(self, config: PipelineConfig = STEREO, **options: Any) -> Pipeline:
        options.setdefault('on_result', self.keep)
        return Pipeline(self.worker, config, on_problem=self.note, **options)

    def keep(self, result: PairResult) -> None:
        with self.changed:
            self.results.append(result)
            self.changed.notify_all()

    def note(self, pair: ViewPair, error: Exception) -> None:
        with self.changed:
            self.problems.append((pair, error))
            self.changed.notify_all()

    def wait(self, results: int = 0, problems: int = 0) -> None:
        with self.changed:
            assert self.changed.wait_for(
                lambda: len(self.results) >= results and len(self.problems) >= problems,
                PATIENCE_S,
            )

    def settle(self) -> None:
        """Wait until the engine's thread has finished what it was doing."""
        self.worker.call(lambda engine: None, PATIENCE_S)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    made.engine.gate.set()
    made.worker.close(PATIENCE_S)


def stereo_views(stamp_ns: int = 0, mask=None) -> tuple[View, View]:
    left, right = rig()
    return left.view(mask=mask, stamp_ns=stamp_ns), right.view(stamp_ns=stamp_ns)


def add_stereo(pipeline: Pipeline, stamp_ns: int = 0, mask=None) -> None:
    for source, view in zip(('left', 'right'), stereo_views(stamp_ns, mask), strict=True):
        pipeline.add(source, view)


def test_a_calibrated_stereo_pair_becomes_a_cloud_in_metres_and_matches(bench: Bench) -> None:
    bench.engine._scale = 0.37
    pipeline = bench.pipeline()
    add_stereo(pipeline, stamp_ns=7)
    bench.wait(results=1)
    result = bench.results[0]
    grid = result.cloud_1.grid
    u, v = np.meshgrid(np.arange(grid.width), np.arange(grid.height))
    left, right = rig()
    uv = grid.to_image(np.stack([u, v], -1).reshape(-1, 2))
    true_depth = SCENE.surface_at(left.camera, left.T_camera_world, uv)[:, 2]
    # Matches are whole pixels, of some nine pixels of disparity here.
    np.testing.assert_allclose(result.cloud_1.depth.ravel(), true_depth, rtol=0.02)
    off = result.matches.uv_2 - SCENE.true_match(left, result.matches.uv_1, right)
    assert np.linalg.norm(off, axis=1).max() < 1.2
    assert result.scale.source is ScaleSource.STEREO_BASELINE
    assert result.stamp_ns == 7
    assert result.timing_ms['wait'] >= 0.0
    bench.settle()
    assert (pipeline.paired, pipeline.answered, pipeline.drops) == (1, 1, {})


def test_a_sequence_pairs_the_newer_frame_with_the_one_before(bench: Bench) -> None:
    pipeline = bench.pipeline(SEQUENCE, queue_limit=10)
    for number, shot in enumerate(strolled()):
        pipeline.add('image', shot.view(stamp_ns=number * MS))
    bench.wait(results=5)
    assert [result.stamp_ns for result in bench.results] == [MS * n for n in range(1, 6)]
    for number, result in enumerate(bench.results, 1):
        newer, older = strolled()[number], strolled()[number - 1]
        assert result.pair.view_2.image is older.image
        expected = SCENE.true_match(newer, result.matches.uv_1, older)
        assert np.linalg.norm(result.matches.uv_2 - expected, axis=1).max() < 1.0
        assert result.T_2_1 is None
        assert result.scale.source is ScaleSource.NONE
    assert len(bench.engine.encoded) == len(strolled())


def test_only_what_is_wanted_is_computed_and_it_may_change_any_time(bench: Bench) -> None:
    pipeline = bench.pipeline(SEQUENCE)
    pairs = []
    for number, shot in enumerate(strolled()):
        pairs += pipeline.pair_up('image', shot.view(stamp_ns=number * MS))
    wanted = [Product.CLOUD_1, Product.MATCHES, Product.NOTHING]
    for product, pair in zip(wanted, pairs, strict=False):
        pipeline.wanted = product
        result = pipeline.process(pair)
        assert (result.cloud_1 is not None) == bool(product & Product.CLOUD_1)
        assert (result.matches is not None) == bool(product & Product.MATCHES)
    asked = [outputs.value for outputs in bench.engine.asked]
    assert asked == [1, 4, 0]  # CLOUD_1, DESC, nothing


def test_the_same_frames_give_the_same_bytes(bench: Bench) -> None:
    bench.engine._errors = ErrorModel()

    def run() -> list[bytes]:
        pipeline = bench.pipeline(SEQUENCE)
        answers = []
        for number, shot in enumerate(strolled()):
            for pair in pipeline.pair_up('image', shot.view(stamp_ns=number * MS)):
                result = pipeline.process(pair)
                arrays = (result.cloud_1.points, result.cloud_2.points, result.matches.uv_1)
                more = (result.matches.uv_2, result.matches.confidence, result.cloud_1.confidence)
                answers += [array.tobytes() for array in (*arrays, *more)]
        return answers

    first = run()
    assert len(first) == 30
    assert run() == first


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


def test_several_pipelines_share_one_engine(bench: Bench) -> None:
    others: list[PairResult] = []
    stereo = bench.pipeline(queue_limit=5)
    sequence = bench.pipeline(SEQUENCE, on_result=others.append, queue_limit=5)
    for number, shot in enumerate(strolled()[:4]):
        sequence.add('image', shot.view(stamp_ns=number * MS))
        add_stereo(stereo, number * 50 * MS)
    bench.wait(results=4)
    bench.settle()
    bench.settle()
    assert [result.stamp_ns for result in others] == [MS, 2 * MS, 3 * MS]
    assert (stereo.answered, sequence.answered) == (4, 3)
    stereo.close()
    for number, shot in enumerate(strolled()[4:], 4):
        sequence.add('image', shot.view(stamp_ns=number * MS))
    bench.settle()
    bench.settle()
    assert len(others) == 5


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


def test_settings_may_change_between_pairs(bench: Bench) -> None:
    pipeline = bench.pipeline(queue_limit=5)
    add_stereo(pipeline, 0)
    bench.wait(results=1)
    fewer = STEREO.matching.replace(top_k=10)
    limits = CloudConfig(confidence_threshold=100.0)
    pipeline.configure(STEREO.replace(matching=fewer, cloud=limits))
    add_stereo(pipeline, 50 * MS)
    bench.wait(results=2)
    before, after = bench.results
    assert len(before.matches) > 10 == len(after.matches)
    assert np.isfinite(before.cloud_1.depth).all()
    assert np.isnan(after.cloud_1.depth).all()


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


def test_frames_without_a_partner_are_among_the_drops(bench: Bench) -> None:
    pipeline = bench.pipeline()
    pipeline.add('left', stereo_views(0)[0])
    pipeline.add('left', stereo_views(0)[0])
    pipeline.add('right', stereo_views(500 * MS)[1])
    assert pipeline.drops == {'duplicate_stamp': 1, 'no_partner': 1}


def test_a_frame_is_looked_at_in_the_engine_s_thread_only(bench: Bench) -> None:
    threads = []

    class Watched:
        stamp_ns = 0

        def __init__(self, view: View) -> None:
            self._view = view

        def view(self) -> View:
            threads.append(threading.get_ident())
            return self._view

    pipeline = bench.pipeline()
    left, right = stereo_views()
    pipeline.add('left', Watched(left))
    pipeline.add('right', Watched(right))
    bench.wait(results=1)
    bench.settle()
    assert set(threads) == {bench.worker.call(lambda engine: threading.get_ident())}


def test_a_given_pose_replaces_calibration(bench: Bench) -> None:
    left, right = rig()
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.6  # twice the true distance
    pipeline = bench.pipeline(T_2_1=T_2_1)
    pipeline.add('left', left.view())
    pipeline.add('right', right.view())
    bench.wait(results=1)
    assert bench.results[0].scale.factor == pytest.approx(2.0, rel=0.02)
    np.testing.assert_array_equal(bench.results[0].T_2_1, T_2_1)


@pytest.mark.parametrize(
    ('T_2_1', 'words'),
    [(np.eye(4), 'baseline'), (np.eye(3), '9 numbers'), (np.full((4, 4), np.nan), 'finite')],
)
def test_a_given_pose_that_cannot_be_is_refused_at_once(T_2_1, words: str, bench: Bench) -> None:
    with pytest.raises(InvalidInput, match=words):
        bench.pipeline(T_2_1=T_2_1)


def test_a_zero_baseline_fails_each_pair_with_words(bench: Bench) -> None:
    left, _ = rig()
    pipeline = bench.pipeline()
    pipeline.add('left', left.view())
    pipeline.add('right', left.view())
    bench.wait(problems=1)
    assert 'P[3] = -fx * baseline' in str(bench.problems[0][1])
    assert pipeline.drops == {'invalid_input': 1}


def test_uncalibrated_stereo_gives_a_cloud_without_a_unit(bench: Bench) -> None:
    left, right = rig()
    plain = Camera.pinhole(160, 120, 128.0, 128.0, 78.7, 60.7)
    pipeline = bench.pipeline()
    pipeline.add('left', View(left.image, plain))
    pipeline.add('right', View(right.image, plain))
    bench.wait(results=1)
    assert bench.results[0].scale.source is ScaleSource.NONE
    assert bench.results[0].T_2_1 is None
    assert np.isfinite(bench.results[0].cloud_1.points).all()


def test_an_unknown_source_is_said_to_the_caller(bench: Bench) -> None:
    with pytest.raises(InvalidInput, match='known are left, right'):
        bench.pipeline().add('image', rig()[0].view())
