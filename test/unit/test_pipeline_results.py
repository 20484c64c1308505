# SPDX-License-Identifier: Apache-2.0
"""Frames go in and results come out, right and the same each time, of just what is wanted."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
from support.observed_pipeline import (
    MS,
    SCENE,
    SEQUENCE,
    STEREO,
    Bench,
    add_stereo,
    rig,
    stereo_views,
    strolled,
)
from support.oracle_engine import ErrorModel

from mast3r_ros.config import CloudConfig
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View


@pytest.fixture
def bench() -> Iterator[Bench]:
    with Bench() as made:
        yield made


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
