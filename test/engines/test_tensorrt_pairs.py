# SPDX-License-Identifier: Apache-2.0
"""What pairs have the card do: the stages that they need, as one graph, with no wait between."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import counted_stages, pictures, relative_error
from simulated_card import SimulatedCard
from tensorrt_world import World, simulated_world
from tiny_model import QUICK_SHAPE, quick_model

from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaError
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine

PORTRAIT = QUICK_SHAPE[::-1]
MIXED = [(QUICK_SHAPE, QUICK_SHAPE), (PORTRAIT, PORTRAIT), (QUICK_SHAPE, PORTRAIT)]


@pytest.fixture(scope='module')
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Engines that are built once."""
    return tmp_path_factory.mktemp('cache')


@pytest.fixture
def world(cache: Path) -> Iterator[World]:
    with simulated_world(cache) as made:
        yield made
        assert made.card.left() == {}


@pytest.fixture
def engine(world: World) -> Iterator[TensorRtEngine]:
    with TensorRtEngine(world.settings(quick_model())) as made:
        yield made


def kept_graphs(engine: TensorRtEngine) -> int:
    return len(engine._stages().graphs._kept)


def test_a_pair_is_one_launch_and_nothing_but_copies_beside_it(
    world: World, engine: TensorRtEngine
) -> None:
    one, two = pictures()
    with ProcessorEngine(world.settings(quick_model())) as other:
        wanted = {False: other.infer(one, two), True: other.infer(two, one)}
    for _ in range(2):  # call by call, captured
        engine.infer(one, two)
    launches, queued = world.card.launches, len(world.tensorrt.queued)
    for number in range(4):  # unlike pairs in turn: what is left of the last one would show
        turned = bool(number % 2)
        world.tensorrt.done.clear()
        found = engine.infer(*((two, one) if turned else (one, two)))
        assert relative_error(found.pts3d_1, wanted[turned].pts3d_1) < 1e-6
        assert relative_error(found.desc_2, wanted[turned].desc_2) < 1e-6
        assert world.card.launches == launches + number + 1
        heads = ['points_1', 'descriptors_1', 'points_2', 'descriptors_2']
        assert world.tensorrt.done == ['encoder', 'encoder', 'decoder', *heads]
    assert len(world.tensorrt.queued) == queued


def test_the_graph_of_a_sequence_encodes_the_new_frame_alone(
    world: World, engine: TensorRtEngine
) -> None:
    with ProcessorEngine(world.settings(quick_model())) as other:
        wanted = other.infer(*pictures(), outputs=Output.CLOUD_1)
    one, two = [engine.prepare(View(image)) for image in pictures()]
    (last,) = engine.encode([two])
    for number in range(6):
        (new,) = engine.encode([(one, two)[number % 2]])
        launches = world.card.launches
        world.tensorrt.done.clear()
        result = engine.decode([(new, last, None)], Output.CLOUD_1)[0]
        if number == 0:
            assert world.tensorrt.done == ['encoder', 'encoder', 'decoder', 'points_1']
        else:
            assert world.tensorrt.done == ['encoder', 'decoder', 'points_1']
        if number % 2 == 0:
            assert relative_error(result.pts3d_1, wanted.pts3d_1) < 1e-6
        assert world.card.launches == launches + (number > 0)
        last.release()
        last = new
    assert kept_graphs(engine) == 1


def test_frames_that_are_both_there_need_no_encoder(world: World, engine: TensorRtEngine) -> None:
    one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
    first = engine.decode([(one, two, None)], Output.CLOUD_1)[0]
    world.tensorrt.done.clear()
    again = engine.decode([(two, one, None), (one, two, None)], Output.CLOUD_1)[1]
    assert world.tensorrt.done == ['decoder', 'points_1'] * 2
    assert again.pts3d_1.tobytes() == first.pts3d_1.tobytes()


def test_a_frame_is_encoded_for_its_descriptor_where_no_pair_did(
    world: World, engine: TensorRtEngine
) -> None:
    (one,) = engine.encode([engine.prepare(View(pictures()[0]))])
    world.tensorrt.done.clear()
    for _ in range(2):
        np.testing.assert_allclose(np.linalg.norm(one.global_descriptor()), 1.0, atol=1e-6)
    assert world.tensorrt.done == ['encoder']
    with ProcessorEngine(world.settings(quick_model())) as other:
        (wanted,) = other.encode([other.prepare(View(pictures()[0]))])
        descriptor = wanted.global_descriptor()
    np.testing.assert_allclose(one.global_descriptor(), descriptor, atol=1e-6)


def test_a_graph_is_made_anew_when_memory_moved(world: World, engine: TensorRtEngine) -> None:
    """A later head needs more scratch memory, which is in another place then."""
    stages = engine._stages()
    assert stages._scratch is not None
    small = stages.pool.take(stages._scratch.nbytes - 3000)  # enough without the descriptors
    stages._scratch.release()
    stages._scratch = small
    for stage in stages._all():
        stage.use_scratch(small.address, small.nbytes)
    stages.pool.trim()
    for _ in range(3):
        wanted = engine.infer(*pictures(), outputs=Output.CLOUD_1)
    assert kept_graphs(engine) == 1
    engine.infer(*pictures(), outputs=Output.DESC)
    assert stages._scratch.nbytes > small.nbytes
    launches = world.card.launches
    for _ in range(2):
        found = engine.infer(*pictures(), outputs=Output.CLOUD_1)
        assert found.pts3d_1.tobytes() == wanted.pts3d_1.tobytes()
    assert world.card.launches == launches + 1  # the first may let TensorRT set itself up anew


def test_every_set_of_stages_has_its_graph_and_only_some_are_kept(
    world: World, engine: TensorRtEngine
) -> None:
    one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
    engine.decode([(one, two, None)], Output.ALL)
    parts = (Output.CLOUD_1, Output.CLOUD_2, Output.DESC)
    asked = [first | second for first in parts for second in parts]
    for outputs in asked:
        engine.decode([(one, two, None)], outputs)
        engine.infer(*pictures(), outputs=outputs)
    assert kept_graphs(engine) == 8
    assert len(world.card.graphs) == 8


@pytest.mark.parametrize(
    ('outputs', 'heads'),
    [
        (Output.CLOUD_1, ['points_1']),
        (Output.DESC, ['descriptors_1', 'descriptors_2']),
        (Output.ALL, ['points_1', 'descriptors_1', 'points_2', 'descriptors_2']),
    ],
)
def test_only_what_is_asked_for_is_loaded_and_run(
    outputs: Output, heads: list[str], cache: Path
) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
        counted_stages(engine) as ran,
    ):
        engine.infer(*pictures(), outputs=outputs)
        assert ran == ['encoder', 'encoder', 'decoder', *heads]
        loaded = [name for size in engine._stages()._sizes.values() for name in size.stages]
        assert loaded == ['encoder', 'decoder', *heads]


def test_the_whole_pair_is_queued_before_anything_is_waited_for(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        engine.infer(*pictures())
        one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
        world.card.wait()
        asked, ask = [], world.card.ask

        def asking(mark: Any) -> bool:
            asked.append(len(world.card.queue))
            return ask(mark)

        world.card.ask = asking  # type: ignore[method-assign]
        engine.decode([(one, two, None)], Output.ALL)
        # Two pictures to their places; each there, through the encoder and back; the decoder; each
        # of four heads, its copy out and its mark; two copies of tokens to be kept.
        assert asked[0] == 2 + 2 * 3 + 1 + 4 * 3 + 2


def test_a_sequence_keeps_its_features_on_the_card_and_takes_no_more_memory(cache: Path) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        grids = [engine.prepare(View(image)) for image in pictures()]
        (last,) = engine.encode(grids[:1])
        held = []
        with counted_stages(engine) as ran:
            for number in range(12):
                (new,) = engine.encode([grids[number % 2]])
                engine.decode([(new, last, None)], Output.CLOUD_1)
                last.release()
                last = new
                held.append(world.card.held_bytes())
        assert ran.count('encoder') == 12
        assert len(set(held[2:])) == 1
        assert last.nbytes == 48 * 32 * 4  # tokens of 84x112 with patches of 14
        allocations = world.card.allocations
        np.testing.assert_allclose(np.linalg.norm(last.global_descriptor()), 1.0, atol=1e-6)
        assert world.card.allocations == allocations


def test_pairs_of_unlike_sizes_share_the_card_and_make_room(tmp_path: Path) -> None:
    with simulated_world(tmp_path) as world:
        model = quick_model(MIXED)
        with (
            TensorRtEngine(world.settings(model)) as engine,
            ProcessorEngine(world.settings(model)) as other,
        ):
            wide, tall = pictures()[0], np.ascontiguousarray(pictures()[1].transpose(1, 0, 2))
            for pair in ((wide, wide), (wide, tall), (tall, tall), (wide, wide), (tall, tall)):
                found, wanted = engine.infer(*pair), other.infer(*pair)
                assert relative_error(found.pts3d_2, wanted.pts3d_2) < 1e-6
                assert relative_error(found.desc_1, wanted.desc_1) < 1e-6
            sizes = engine._stages()._sizes
            assert len([key for key in sizes if not key[0]]) == 2
        assert world.card.left() == {}


def test_a_graph_that_cannot_be_captured_is_run_call_by_call(
    cache: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with (
        simulated_world(cache) as world,
        TensorRtEngine(world.settings(quick_model())) as engine,
    ):
        wanted = engine.infer(*pictures())
        world.card.end_capture = _refuse_graph(world.card)  # type: ignore[method-assign]
        for _ in range(3):
            found = engine.infer(*pictures())
            assert found.desc_2.tobytes() == wanted.desc_2.tobytes()
    assert caplog.text.count('the pair is queued call by call from now on, not as a graph') == 1
    assert world.card.left() == {}


def _refuse_graph(card: SimulatedCard) -> Any:
    def refuse() -> Any:
        card.captured = None
        raise CudaError('no graph today')

    return refuse
