# SPDX-License-Identifier: Apache-2.0
"""What every engine that runs networks promises, held by each of them on one small network."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from network_engines import EngineClass, counted_stages, pictures, settings
from tiny_model import QUICK_SHAPE, quick_model

from mast3r_ros.config import MASt3RRuntimeConfig, MatchingConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import Output, ScaleSource
from mast3r_ros.core.views import Grid, View
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine
from mast3r_ros.engines.openvino_engine.engine import OpenVinoEngine
from mast3r_ros.engines.pytorch import PyTorchEngine
from mast3r_ros.errors import EngineFailed, InvalidInput, ModelNotFound

HEIGHT, WIDTH = QUICK_SHAPE
PORTRAIT = QUICK_SHAPE[::-1]
MIXED = [(QUICK_SHAPE, QUICK_SHAPE), (PORTRAIT, PORTRAIT), (QUICK_SHAPE, PORTRAIT)]


def exact_openvino(config: MASt3RRuntimeConfig) -> OpenVinoEngine:
    """Return OpenVINO in float32 wherever it runs."""
    return OpenVinoEngine(config.replace(model=config.model.replace(precision='fp32')))


OPENVINO = pytest.param(
    exact_openvino,
    marks=pytest.mark.skipif(find_spec('openvino') is None, reason='needs openvino'),
)


@pytest.fixture(scope='module', params=[ProcessorEngine, PyTorchEngine, OPENVINO])
def engine_class(request: pytest.FixtureRequest) -> EngineClass:
    return request.param


@pytest.fixture(scope='module')
def engine(engine_class: EngineClass) -> Iterator[NetworkEngine]:
    with engine_class(settings(quick_model())) as made:
        yield made


@pytest.fixture(scope='module')
def mixed_engine(engine_class: EngineClass) -> Iterator[NetworkEngine]:
    with engine_class(settings(quick_model(MIXED))) as made:
        yield made


def test_a_pair_has_clouds_and_descriptors_on_the_grids_of_both_views(engine) -> None:
    result = engine.infer(*pictures())
    for grid, pts3d, conf, desc, desc_conf in (
        (result.grid_1, result.pts3d_1, result.conf_1, result.desc_1, result.desc_conf_1),
        (result.grid_2, result.pts3d_2, result.conf_2, result.desc_2, result.desc_conf_2),
    ):
        assert (grid.height, grid.width) == QUICK_SHAPE
        assert pts3d.shape == (HEIGHT, WIDTH, 3)
        assert desc.shape == (HEIGHT, WIDTH, 24)
        assert conf.shape == desc_conf.shape == QUICK_SHAPE
        assert {array.dtype for array in (pts3d, conf, desc, desc_conf)} == {np.dtype('float32')}
        assert np.isfinite(pts3d).all()
        assert conf.min() >= 1.0
        np.testing.assert_allclose(np.linalg.norm(desc, axis=2), 1.0, atol=1e-5)


def test_the_same_pair_gives_the_same_bytes(engine) -> None:
    first, second = engine.infer(*pictures()), engine.infer(*pictures())
    for name in ('pts3d_1', 'pts3d_2', 'desc_1', 'desc_2', 'conf_1', 'desc_conf_2'):
        assert getattr(first, name).tobytes() == getattr(second, name).tobytes()


@pytest.mark.parametrize(
    ('outputs', 'heads'),
    [
        (Output.CLOUD_1, ['points_1']),
        (Output.CLOUD_2, ['points_2']),
        (Output.CLOUD_1 | Output.CLOUD_2, ['points_1', 'points_2']),
        (Output.DESC, ['descriptors_1', 'descriptors_2']),
        (Output.ALL, ['points_1', 'descriptors_1', 'points_2', 'descriptors_2']),
    ],
)
def test_only_what_is_asked_for_is_run(engine, outputs: Output, heads: list[str]) -> None:
    with counted_stages(engine) as ran:
        result = engine.infer(*pictures(), outputs=outputs)
    assert ran == ['encoder', 'encoder', 'decoder', *heads]
    given = {
        Output.CLOUD_1: result.pts3d_1,
        Output.CLOUD_2: result.pts3d_2,
        Output.DESC: result.desc_1,
    }
    for output, array in given.items():
        assert (array is not None) == bool(output & outputs)


def test_what_was_never_asked_for_was_never_loaded(engine_class) -> None:
    with engine_class(settings(quick_model())) as fresh:
        loads = []
        load = fresh._load

        def noting(stage: str, *shapes: Any) -> bool:
            made = load(stage, *shapes)
            loads.extend([stage] if made else [])
            return made

        fresh._load = noting
        fresh.infer(*pictures(), outputs=Output.CLOUD_1)
        fresh.infer(*pictures(), outputs=Output.CLOUD_1)
    # Encoder and decoder of the one size there is were loaded with the engine.
    assert loads == ['points_1']


def test_asking_for_nothing_it_has_runs_no_stage(engine) -> None:
    features = engine.encode([engine.prepare(View(image)) for image in pictures()])
    with counted_stages(engine) as ran:
        result = engine.decode([(features[0], features[1], None)], Output.WARP)[0]
    assert ran == []
    assert result.pts3d_1 is None


def test_a_view_is_encoded_once_however_many_pairs_it_is_in(engine) -> None:
    one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
    with counted_stages(engine) as ran:
        forth, back = engine.decode([(one, two, None), (two, one, None)], Output.CLOUD_1)
    assert ran == ['decoder', 'points_1', 'decoder', 'points_1']
    assert not np.array_equal(forth.pts3d_1, back.pts3d_1)


def test_every_stage_is_timed(engine) -> None:
    timing = engine.infer(*pictures()).timing_ms
    assert {'preprocess', 'encode', 'decode', 'decoder', 'points', 'descriptors', 'unpack'} <= set(
        timing
    )
    assert timing['decoder'] + timing['points'] <= timing['decode']


def test_masked_pixels_have_no_point_and_no_match(engine) -> None:
    image_1, image_2 = pictures()
    mask = np.ones(image_1.shape[:2], bool)
    mask[:, :80] = False
    masked = engine.infer(image_1, image_2, masks=(mask, None))
    plain = engine.infer(image_1, image_2)
    out = ~masked.grid_1.mask
    assert np.isnan(masked.pts3d_1[out]).all()
    # The network saw the same picture.
    np.testing.assert_array_equal(masked.pts3d_1[~out], plain.pts3d_1[~out])
    found = engine.match_result(masked, MatchingConfig(subsample=4, border_px=0))
    assert not out.ravel()[found.idx_1].any()


def test_a_metric_network_says_metres_and_hands_the_pose_on(engine) -> None:
    assert engine.scale_source(None) is ScaleSource.MODEL
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    camera = Camera.pinhole(160, 120, 150.0, 150.0, 80.0, 60.0)
    result = engine.infer(*pictures(), cameras=(camera, camera, T_2_1), outputs=Output.CLOUD_1)
    assert result.scale_source is ScaleSource.MODEL
    np.testing.assert_array_equal(result.T_2_1, T_2_1)
    assert result.grid_1.camera is not None


def test_features_know_their_place_and_their_size(engine) -> None:
    one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
    tokens = (HEIGHT // 14) * (WIDTH // 14)
    assert one.nbytes == tokens * 32 * 4
    for item in (one, two):
        assert np.linalg.norm(item.global_descriptor()) == pytest.approx(1.0, abs=1e-5)
        assert item.global_descriptor().shape == (32,)
    one.release()
    assert one.nbytes == 0
    with pytest.raises(EngineFailed, match='released'):
        engine.decode([(one, two, None)], Output.CLOUD_1)


def test_features_of_another_engine_are_refused(engine) -> None:
    one, two = engine.encode([engine.prepare(View(image)) for image in pictures()])
    assert engine.key.split(':')[1] == 'cpu'  # tokens of one device are not those of another
    two.engine_key = 'somebody else'
    with pytest.raises(InvalidInput, match="belong to the engine 'somebody else'"):
        engine.decode([(one, two, None)], Output.CLOUD_1)


def test_an_image_of_a_shape_the_model_lacks_is_refused_with_the_export(engine) -> None:
    with pytest.raises(InvalidInput) as caught:
        engine.prepare(View(np.zeros((120, 120, 3), np.uint8)))
    assert 'an image of 120x120 needs a network input of 112x112' in str(caught.value)
    assert 'has 112x84;' in str(caught.value)
    assert '`mast3r-export --variant dune_vit_small --size 112x112 ' in str(caught.value)
    assert f' --output {quick_model()}`' in str(caught.value)
    assert 'model.fit' in str(caught.value)


def test_with_fit_crop_it_is_cut_to_the_size_that_keeps_most(engine_class) -> None:
    with engine_class(settings(quick_model(MIXED), fit='crop')) as cropping:
        wide = cropping.prepare(View(np.zeros((100, 200, 3), np.uint8)))
        assert (wide.height, wide.width) == QUICK_SHAPE
        assert wide.to_image(np.array([WIDTH / 2 - 0.5, 0.0]))[0] == pytest.approx(99.5, abs=0.5)
        high = cropping.prepare(View(np.zeros((200, 100, 3), np.uint8)))
        assert (high.height, high.width) == PORTRAIT
        result = cropping.infer_views(
            View(np.zeros((100, 200, 3), np.uint8)), View(np.zeros((200, 100, 3), np.uint8))
        )
        assert result.pts3d_2.shape == (*PORTRAIT, 3)


def test_views_of_different_size_are_answered_where_the_model_has_the_pair(mixed_engine) -> None:
    image_1, image_2 = pictures()
    upright = np.ascontiguousarray(image_2.transpose(1, 0, 2))
    result = mixed_engine.infer(image_1, upright)
    assert result.pts3d_1.shape == (*QUICK_SHAPE, 3)
    assert result.desc_2.shape == (*PORTRAIT, 24)
    with pytest.raises(InvalidInput, match=r'--size 84x112 --size-2 112x84 .*--output '):
        mixed_engine.infer(upright, image_1)


def test_a_shape_of_the_settings_that_the_model_lacks_is_refused_at_once(engine_class) -> None:
    with pytest.raises(ModelNotFound, match=r'`mast3r-export .* --size 140x70 '):
        engine_class(settings(quick_model(), shape=(70, 140)))


def test_a_grid_of_another_size_is_refused(engine) -> None:
    with pytest.raises(InvalidInput, match='the grid is 28x14 and the model has 112x84'):
        engine.encode([Grid(np.zeros((14, 28, 3), np.uint8))])


def test_it_says_what_runs_and_on_what(engine) -> None:
    info = engine.describe()
    assert info.precision == 'fp32'
    assert 'cpu' in info.device
    assert info.versions['model'].startswith('dune_vit_small ')


def test_made_up_weights_are_warned_of(engine_class, caplog: pytest.LogCaptureFixture) -> None:
    engine_class(settings(quick_model())).close()
    assert 'the weights of' in caplog.text
    assert 'are made up' in caplog.text


def test_a_closed_engine_says_so(engine_class) -> None:
    made = engine_class(settings(quick_model()))
    made.close()
    with pytest.raises(EngineFailed, match='is closed; make a new one'):
        made.infer(*pictures())
    made.close()


def test_it_takes_as_many_threads_as_it_is_told(engine_class) -> None:
    with engine_class(settings(quick_model(), threads=1)) as single:
        assert single.describe().device == 'cpu, 1 threads'
        single.infer(*pictures(), outputs=Output.CLOUD_1)
