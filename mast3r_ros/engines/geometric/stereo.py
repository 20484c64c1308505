# SPDX-License-Identifier: Apache-2.0
"""Calibrated stereo: rectify, match along the rows, bring the answer back to the raw pixels."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np

from mast3r_ros.core.results import FloatArray, InferenceResult, Output
from mast3r_ros.engines.geometric.answers import (
    MIN_FOUND_SHARE,
    MIN_SIDE_PX,
    NOTHING_FOUND,
    TOO_SMALL,
    Stages,
)
from mast3r_ros.engines.geometric.disparity import Disparity, measure
from mast3r_ros.engines.geometric.other_view import seen_from_other
from mast3r_ros.engines.geometric.pixels import GrayArray
from mast3r_ros.engines.geometric.quality import MIN_PARALLAX_PX, confidence
from mast3r_ros.engines.geometric.rectified_view import RectifiedView
from mast3r_ros.engines.geometric.rig import StereoRig
from mast3r_ros.engines.geometric.search import SearchRange, find_range

_LARGEST_PARALLAX = 0.5  # of the width; what is nearer is not looked for


@dataclass(frozen=True, eq=False)
class _Matched:
    """What was found for one view, on its raw pixels."""

    view: RectifiedView
    disparity: FloatArray  # NaN where there is none
    parallax_px: FloatArray  # disparity beyond that of infinity
    quality: FloatArray  # 0 to 1


def solve_stereo(
    rig: StereoRig,
    image_1: GrayArray,
    image_2: GrayArray,
    empty: InferenceResult,
    outputs: Output,
    stages: Stages,
) -> InferenceResult:
    """Return ``empty`` filled with what the pair shows."""
    if min(*rig.view_1.size) < MIN_SIDE_PX:
        return replace(empty, notes=(TOO_SMALL,))
    with stages('rectify'):
        left, right = rig.view_1.rectify(image_1), rig.view_2.rectify(image_2)
    both = bool(outputs & (Output.CLOUD_2 | Output.WARP))
    found_1, found_2 = _match(rig, left, right, both, stages)
    if np.count_nonzero(found_1.quality) < MIN_FOUND_SHARE * found_1.quality.size:
        return replace(empty, notes=(NOTHING_FOUND,))
    with stages('lift'):
        matched_1 = _on_raw_pixels(rig.view_1, found_1, rig.infinity_px)
        result = _with_view_1(empty, matched_1, rig, outputs)
    if found_2 is None:
        return result
    with stages('lift'):
        matched_2 = _on_raw_pixels(rig.view_2, found_2, rig.infinity_px, sign=-1.0)
        return _with_view_2(result, matched_2, rig, outputs)


def _match(
    rig: StereoRig, left: GrayArray, right: GrayArray, both: bool, stages: Stages
) -> tuple[Disparity, Disparity | None]:
    """Return the disparities of view 1, and of view 2 if both are wanted."""
    nearest = rig.infinity_px + _LARGEST_PARALLAX * left.shape[1]
    possible = SearchRange.between(rig.infinity_px, nearest)
    with stages('disparity'):
        search = find_range(left, right, possible, rig.view_1.seen, rig.view_2.seen)
        found_1 = measure(left, right, search, rig.view_1.seen, rig.view_2.seen)
        return found_1, seen_from_other(found_1, rig.view_1.seen) if both else None


def _on_raw_pixels(
    view: RectifiedView, found: Disparity, infinity_px: float, sign: float = 1.0
) -> _Matched:
    values = view.to_raw_grid(found.values)
    quality = cv2.patchNaNs(view.to_raw_grid(found.quality), 0.0)
    parallax_px = np.float32(sign) * values - np.float32(infinity_px)
    return _Matched(view, values, parallax_px, quality)


def _with_view_1(
    result: InferenceResult, matched: _Matched, rig: StereoRig, outputs: Output
) -> InferenceResult:
    if Output.CLOUD_1 in outputs:
        points, conf = _cloud(matched, rig)
        result = replace(result, pts3d_1=points, conf_1=conf)
    if Output.WARP in outputs:
        warp = _warp(matched, rig.view_2)
        known = ~np.isnan(warp[..., 0])
        result = replace(result, warp_1_2=warp, warp_conf_1=matched.quality * known)
    return result


def _with_view_2(
    result: InferenceResult, matched: _Matched, rig: StereoRig, outputs: Output
) -> InferenceResult:
    if Output.CLOUD_2 in outputs:
        points, conf = _cloud(matched, rig)
        points += rig.view_2.center.astype(np.float32)
        result = replace(result, pts3d_2=points, conf_2=conf)
    if Output.WARP in outputs:
        result = replace(result, warp_2_1=_warp(matched, rig.view_1))
    return result


def _cloud(matched: _Matched, rig: StereoRig) -> tuple[FloatArray, FloatArray]:
    """Return points along the axes of camera 1, from the view's own camera, and confidence."""
    enough = matched.parallax_px >= MIN_PARALLAX_PX
    known_px = np.where(enough, matched.parallax_px, np.float32(np.nan))
    depth = np.float32(rig.focal_px * rig.baseline_m) / known_px
    points = cv2.multiply(matched.view.rays, cv2.merge([depth, depth, depth]))
    return np.asarray(points, np.float32), confidence(matched.quality, matched.parallax_px)


def _warp(matched: _Matched, other: RectifiedView) -> FloatArray:
    x, y = matched.view.on_rectified[..., 0], matched.view.on_rectified[..., 1]
    return other.to_raw_pixels(x - matched.disparity, np.ascontiguousarray(y))
