# SPDX-License-Identifier: Apache-2.0
"""Where every pixel of one view lies in another that may stand anywhere, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray, pixel_grid, sample
from mast3r_ros.engines.geometric.quality import Texture, likeness, match_quality

_AGREE_PX = 1.0  # there and back
_ALIKE = 0.5  # of the windows around both pixels, at least
_FEW_AGREE = 0.4  # of the pixels: with less the views are aligned by landmarks first
_LANDMARKS = 2000
_RATIO = 0.8  # of the distances to the best and the second best landmark
_MIN_ALIGNED = 12  # landmarks that agree on one alignment
_ALIGNED_PX = 5.0  # a rough alignment only: what is nearer or farther moves otherwise
_SEED = 0


@dataclass(frozen=True, eq=False)
class Flow:
    """Matches of one view, checked there and back.

    :param warp: (H, W, 2) pixel in the other view; NaN where there is none.
    :param quality: (H, W) from 0 to 1.
    """

    warp: FloatArray
    quality: FloatArray

    @property
    def share(self) -> float:
        """Share of the pixels that have a match."""
        return float(np.count_nonzero(self.quality) / self.quality.size)


def find_flow(image_1: GrayArray, image_2: GrayArray) -> tuple[Flow, Flow]:
    """Return the matches of view 1 in view 2, and of view 2 in view 1; sizes may differ."""
    height, width = image_1.shape
    scale = np.diag([image_2.shape[1] / width, image_2.shape[0] / height, 1.0])
    scale[:2, 2] = 0.5 * np.diag(scale)[:2] - 0.5
    there, back = _flow_both_ways(image_1, image_2, scale)
    gap_px = _gap_px(there, back)
    if np.mean(gap_px <= _AGREE_PX) < _FEW_AGREE:
        alignment = _align(image_1, image_2)
        if alignment is not None:
            aligned = _flow_both_ways(image_1, image_2, alignment)
            aligned_gap_px = _gap_px(*aligned)
            if np.mean(aligned_gap_px <= _AGREE_PX) > np.mean(gap_px <= _AGREE_PX):
                (there, back), gap_px = aligned, aligned_gap_px
    return (
        _checked(there, gap_px, image_1, image_2),
        _checked(back, _gap_px(back, there), image_2, image_1),
    )


def _flow_both_ways(
    image_1: GrayArray, image_2: GrayArray, T_pixels: Matrix
) -> tuple[FloatArray, FloatArray]:
    """Return (H, W, 2) pixels of the other view, from view 1 and from view 2.

    :param T_pixels: 3x3 guess that takes pixels of view 1 into view 2.
    """
    size = image_1.shape[::-1]
    guessed_2 = image_2
    if not np.array_equal(T_pixels, np.eye(3)):
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        guessed_2 = np.asarray(cv2.warpPerspective(image_2, T_pixels, size, flags=flags))
    solver = _solver()
    pixels_1 = pixel_grid(*size)
    there = pixels_1 + solver.calc(image_1, guessed_2, None)
    back = pixels_1 + solver.calc(guessed_2, image_1, None)
    if guessed_2 is image_2:
        return there, back
    pixels_2 = pixel_grid(image_2.shape[1], image_2.shape[0])
    guessed_1 = _map_pixels(np.asarray(np.linalg.inv(T_pixels), np.float64), pixels_2)
    return _map_pixels(T_pixels, there), sample(back, guessed_1, cv2.INTER_LINEAR)


def _solver() -> cv2.DISOpticalFlow:
    """Return the flow solver: as precise as its slowest preset at a fraction of the time."""
    solver = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    solver.setFinestScale(0)
    solver.setPatchStride(5)
    solver.setGradientDescentIterations(8)
    solver.setVariationalRefinementIterations(3)
    return solver


def _gap_px(there: FloatArray, back: FloatArray) -> FloatArray:
    """Return how far from each pixel the way there and back ends; NaN outside."""
    height, width = there.shape[:2]
    ends = sample(back, there, cv2.INTER_LINEAR) - pixel_grid(width, height)
    return np.asarray(np.hypot(ends[..., 0], ends[..., 1]))


def _checked(there: FloatArray, gap_px: FloatArray, image: GrayArray, other: GrayArray) -> Flow:
    """Keep the matches that the way back, the looks and the texture confirm."""
    texture = Texture.any_direction(image)
    looks = likeness(image, sample(other.astype(np.float32), there, cv2.INTER_LINEAR))
    good: MaskArray = (gap_px <= _AGREE_PX) & (looks >= _ALIKE) & texture.within_reach
    agreement = np.nan_to_num(1.0 - gap_px * np.float32(0.5 / _AGREE_PX)) * looks
    quality = match_quality(agreement, good, texture)
    return Flow(np.where(good[..., None], there, np.float32(np.nan)), quality)


def _align(image_1: GrayArray, image_2: GrayArray) -> Matrix | None:
    """Return the 3x3 map of pixels of view 1 into view 2 that most landmarks agree on."""
    finder = cv2.SIFT.create(_LANDMARKS)
    points_1, marks_1 = finder.detectAndCompute(image_1, None)
    points_2, marks_2 = finder.detectAndCompute(image_2, None)
    if min(len(points_1), len(points_2)) < _MIN_ALIGNED:
        return None
    pairs = cv2.BFMatcher(cv2.NORM_L2).knnMatch(marks_1, marks_2, k=2)
    clear = [best for best, second in pairs if best.distance < _RATIO * second.distance]
    if len(clear) < _MIN_ALIGNED:
        return None
    uv_1 = np.array([points_1[match.queryIdx].pt for match in clear])
    uv_2 = np.array([points_2[match.trainIdx].pt for match in clear])
    cv2.setRNGSeed(_SEED)
    try:
        H, inliers = cv2.findHomography(uv_1, uv_2, cv2.USAC_MAGSAC, _ALIGNED_PX)
    except cv2.error:  # degenerate samples
        return None
    if H is None or np.count_nonzero(inliers) < _MIN_ALIGNED or np.linalg.det(H) <= 0.0:
        return None
    return np.asarray(H, np.float64)


def _map_pixels(T_pixels: Matrix, pixels: FloatArray) -> FloatArray:
    mapped = pixels @ T_pixels[:, :2].T + T_pixels[:, 2]
    return np.asarray(mapped[..., :2] / mapped[..., 2:], np.float32)
