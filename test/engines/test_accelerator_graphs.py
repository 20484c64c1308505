# SPDX-License-Identifier: Apache-2.0
"""Preprocessing and matching as graphs answer as the processor's own do, with plain operators."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip('onnx', reason='needs onnx')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

import onnx
import onnxruntime
from descriptor_maps import smooth_pair
from hypothesis import given, settings
from hypothesis import strategies as st

from mast3r_ros.core.matching import fast_reciprocal_matches
from mast3r_ros.core.postprocess import descriptors
from mast3r_ros.core.preprocessing import GridPlan, plan_for_shape, plan_official, to_grid
from mast3r_ros.core.views import View
from mast3r_ros.errors import EngineUnavailable, InvalidInput
from mast3r_ros.export.graph_checks import faults
from mast3r_ros.export.matching_graph import MatchingPlan, matching_graph, settled_matches
from mast3r_ros.export.preprocess_graph import preprocess_graph, resampling_coefficients

PLAIN = {
    *('Add', 'ArgMax', 'Cast', 'Clip', 'Concat', 'Div', 'Floor', 'Gather', 'MatMul', 'Max'),
    *('Mul', 'ReduceSum', 'Reshape', 'Slice', 'Sqrt', 'Sub', 'Transpose'),
}


def session(model: onnx.ModelProto) -> onnxruntime.InferenceSession:
    """Load a graph after checking that every engine can."""
    onnx.checker.check_model(model, full_check=True)
    assert faults(onnx.shape_inference.infer_shapes(model, strict_mode=True)) == []
    assert {node.op_type for node in model.graph.node} <= PLAIN
    assert [(entry.domain, entry.version) for entry in model.opset_import] == [('', 18)]
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 2
    return onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=['CPUExecutionProvider']
    )


def pictures(width: int, height: int) -> list[np.ndarray]:
    """Return what is hardest to resample: noise, and edges that overshoot."""
    noise = np.random.default_rng(width).integers(0, 256, (height, width, 3), dtype=np.uint8)
    return [noise, np.where(noise > 127, 255, 0).astype(np.uint8)]


@pytest.mark.parametrize(
    'plan',
    [
        plan_official(640, 480, 336, 14, True),
        plan_official(1280, 720, 512, 16, False),
        plan_official(600, 600, 512, 16, False),  # rows are cut off
        plan_official(160, 120, 336, 14, True),  # enlarged
        plan_official(336, 252, 336, 14, True),  # neither
        plan_official(640, 480, 224, 16, False),  # a square
        plan_for_shape(320, 240, (96, 256), 16),
        plan_for_shape(60, 124, (32, 32), 16),  # newer versions of Pillow do the columns first
    ],
    ids=lambda plan: f'{plan.image_size} to {plan.grid_size}',
)
def test_preprocessing_makes_the_very_bytes(plan: GridPlan) -> None:
    run = session(preprocess_graph(plan))
    for picture in pictures(*plan.image_size):
        (image,) = run.run(None, {'frame': picture[None]})
        np.testing.assert_array_equal(image[0], to_grid(View(picture), plan).image)


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_preprocessing_makes_the_very_bytes_at_any_size(data) -> None:
    width, height = (data.draw(st.integers(30, 200)) for _ in range(2))
    shape = tuple(16 * data.draw(st.integers(1, 8)) for _ in range(2))
    plan = plan_for_shape(width, height, shape, 16)
    run = session(preprocess_graph(plan))
    for picture in pictures(width, height):
        (image,) = run.run(None, {'frame': picture[None]})
        np.testing.assert_array_equal(image[0], to_grid(View(picture), plan).image)


def test_a_pillow_that_computes_otherwise_is_refused(monkeypatch) -> None:
    plan = plan_official(160, 120, 112, 14, True)
    odd = 'mast3r_ros.export.preprocess_graph.resampling_coefficients'
    monkeypatch.setattr(
        odd, lambda plan: [np.roll(c, 1, 0) for c in resampling_coefficients(plan)]
    )
    with pytest.raises(EngineUnavailable, match=r'Pillow [\d.]+ resamples in a way'):
        preprocess_graph(plan)


def test_every_number_of_preprocessing_fits_the_short_formats_of_accelerators() -> None:
    model = preprocess_graph(plan_official(1280, 720, 512, 16, False))
    arrays = {item.name: onnx.numpy_helper.to_array(item) for item in model.graph.initializer}
    matrices = [
        arrays[f'{name}_{half}'] for name in ('across', 'down') for half in ('high', 'low')
    ]
    for matrix in matrices:
        assert np.abs(matrix).max() <= 2**11  # 11 significant bits, as TF32 and half floats have
        np.testing.assert_array_equal(matrix, np.rint(matrix))
    across, _ = resampling_coefficients(plan_official(1280, 720, 512, 16, False))
    assert 255 * np.abs(across % 2**11).sum(axis=0).max() < 2**24  # sums are exact in float32


def match(plan: MatchingPlan, desc_1, desc_2, mask_1=None, mask_2=None):
    """Return what the graph finds, as ``fast_reciprocal_matches`` gives it."""
    names = ('descriptors_1', 'descriptors_2') if plan.raw else ('desc_1', 'desc_2')
    inputs = dict(zip(names, (desc_1[None], desc_2[None]), strict=True))
    if plan.masked:
        inputs |= {
            'mask_1': mask_1[None].astype(np.uint8),
            'mask_2': mask_2[None].astype(np.uint8),
        }
    run = session(matching_graph(plan))
    outputs = dict(
        zip([each.name for each in run.get_outputs()], run.run(None, inputs), strict=True)
    )
    pixels_1, pixels_2 = settled_matches(plan, outputs, mask_1, mask_2)
    width_1, width_2 = plan.shape_1[1], plan.shape_2[1]
    return (
        np.stack([pixels_1 % width_1, pixels_1 // width_1], axis=1),
        np.stack([pixels_2 % width_2, pixels_2 // width_2], axis=1),
    )


@settings(deadline=None, max_examples=60)
@given(st.data())
def test_matching_is_the_processor_s_match_for_match_ties_and_masks_included(data) -> None:
    """Small whole numbers: sums are exact in any order, and ties are many."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    sizes = [(data.draw(st.integers(4, 23)), data.draw(st.integers(4, 23))) for _ in range(2)]
    dim, high = data.draw(st.integers(1, 5)), data.draw(st.integers(1, 4))
    maps = [rng.integers(-high, high + 1, (*size, dim)).astype(np.float32) for size in sizes]
    masked = data.draw(st.booleans())
    share = data.draw(st.sampled_from([0.0, 0.3, 0.9]))
    masks = [rng.random(size) < share if masked else None for size in sizes]
    plan = MatchingPlan(*sizes, dim, data.draw(st.integers(1, 4)), masked=masked)
    found = match(plan, *maps, *masks)
    wanted = fast_reciprocal_matches(
        *maps, subsample=plan.subsample, mask_1=masks[0], mask_2=masks[1]
    )
    for ours, reference in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, reference)


@pytest.mark.parametrize('raw', [False, True])
def test_matching_of_real_numbers_is_the_same_in_blocks_and_of_raw_outputs(
    raw, monkeypatch
) -> None:
    monkeypatch.setattr('mast3r_ros.export.matching_graph._SCORES_AT_ONCE', 50 * 96 * 128)
    maps = smooth_pair(96, 128)
    if raw:
        rng = np.random.default_rng(3)
        lengths = [rng.uniform(0.1, 30.0, (96, 128, 1)) for _ in maps]
        maps = [
            np.concatenate([one * length, length], axis=2).astype(np.float32)
            for one, length in zip(maps, lengths, strict=True)
        ]
    found = match(MatchingPlan((96, 128), (96, 128), 24, 4, raw=raw), *maps)
    unit = [descriptors(one)[0] for one in maps] if raw else maps
    wanted = fast_reciprocal_matches(*unit, subsample=4)
    assert len(wanted[0]) > 100
    for ours, reference in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(ours, reference)


def test_fewer_rounds_only_drop_matches() -> None:
    maps = smooth_pair(64, 64, noise=0.4)
    plan = MatchingPlan((64, 64), (64, 64), 24, 4, rounds=2)
    few = set(map(tuple, np.hstack(match(plan, *maps)).tolist()))
    all_of_them = set(map(tuple, np.hstack(fast_reciprocal_matches(*maps, subsample=4)).tolist()))
    assert 0 < len(few) < len(all_of_them)
    assert few <= all_of_them


def test_a_plan_without_seeds_is_refused() -> None:
    with pytest.raises(InvalidInput, match='no pixel at a stride of 64'):
        MatchingPlan((8, 8), (8, 8), subsample=64)
    with pytest.raises(InvalidInput, match='rounds is 0'):
        MatchingPlan((8, 8), (8, 8), rounds=0)
