# SPDX-License-Identifier: Apache-2.0
"""Pixel matches between two views: from descriptors, from a warp, or from two clouds alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mast3r_ros.config import MatchingConfig, SearchRule
from mast3r_ros.core.match_filters import filter_matches
from mast3r_ros.core.nearest import DistanceSearch, SimilaritySearch
from mast3r_ros.core.pixel_vectors import Pixels, PixelVectors
from mast3r_ros.core.projected_guesses import ProjectedGuesses, projected_guesses
from mast3r_ros.core.reciprocal import (
    PixelSearch,
    given_seeds,
    nearest_pairs,
    reciprocal_pairs,
    stride_seeds,
)
from mast3r_ros.core.results import FloatArray, IndexArray, InferenceResult, MatchResult
from mast3r_ros.core.warp_matching import warp_pairs
from mast3r_ros.core.window_search import CoarseGuesses, KnownGuesses, WindowSearch
from mast3r_ros.errors import InvalidInput

_WARP_TOLERANCE_PX = 1.0  # of the way there and back, where pixel_tol is 0
_UNKNOWN = 'none'  # the confidence kind where an engine gives none; every match then has 1


def fast_reciprocal_matches(
    desc_1: NDArray[Any],
    desc_2: NDArray[Any],
    *,
    subsample: int = 8,
    seeds: tuple[ArrayLike, ArrayLike] | ArrayLike | None = None,
    pixel_tol: float = 0,
    mask_1: NDArray[Any] | None = None,
    mask_2: NDArray[Any] | None = None,
) -> tuple[IndexArray, IndexArray]:
    """Match two descriptor maps by reciprocal nearest neighbours, from a few seeds in view 1.

    Nearest is the highest dot product, as float32 rounds it, and the first in row-major order of
    equals. Each seed goes to its nearest in view 2 and from there to the nearest in view 1. Seeds
    by stride that end elsewhere go on from there, up to ten times, and are dropped if they still
    move; given seeds go once and are dropped unless they end where they began.

    A pixel whose descriptor is not finite takes no part, as if it were masked.

    :param desc_1: (H, W, D), float32 or float16.
    :param desc_2: (H2, W2, D); its size may differ.
    :param subsample: the stride: seeds are the pixels ``subsample // 2 + n * subsample``.
    :param seeds: whole pixels of view 1 instead, as a tuple ``(x, y)`` of two arrays or (N, 2).
    :param pixel_tol: above 0, every seed, by stride too, goes once, matches if it ends less than
        so many pixels from where it began, and keeps its own place.
    :param mask_1: (H, W) bool or whole numbers; only nonzero pixels are seeds or ends.
    :param mask_2: (H2, W2), the same for view 2.
    :returns: ``(xy_1, xy_2)``, both int64 (K, 2) as (x, y), without doubles, ascending by the
        row-major index in view 1, then in view 2. Nothing to match gives K = 0.
    """
    if not pixel_tol >= 0:
        raise InvalidInput(f'pixel_tol is {pixel_tol}; allowed is a number of at least 0')
    view_1, view_2 = _descriptor_views(desc_1, desc_2, mask_1, mask_2)
    pixels_1, pixels_2 = reciprocal_pairs(
        stride_seeds(view_1, subsample) if seeds is None else given_seeds(view_1, seeds),
        SimilaritySearch(view_1),
        SimilaritySearch(view_2),
        until_rest=seeds is None,
        pixel_tol=pixel_tol,
    )
    return view_1.xy(pixels_1), view_2.xy(pixels_2)


def match_descriptors(
    desc_1: NDArray[Any],
    desc_2: NDArray[Any],
    conf_1: FloatArray | None,
    conf_2: FloatArray | None,
    matching: MatchingConfig,
    *,
    mask_1: NDArray[Any] | None = None,
    mask_2: NDArray[Any] | None = None,
    guesses: ProjectedGuesses | None = None,
) -> MatchResult:
    """Match two descriptor maps as the settings say.

    :param conf_1: (H, W) confidence of the descriptors, and ``conf_2`` of view 2: a match has the
        smaller of its two pixels (``desc_conf``); without, the dot product (``similarity``).
    :param guesses: where pixels likely lie in the other view: they are sought nearby, and in the
        whole view where there is none.
    """
    view_1, view_2 = _descriptor_views(desc_1, desc_2, mask_1, mask_2)
    search_1, search_2 = _descriptor_searches(view_1, view_2, guesses, matching)
    idx_1, idx_2 = _search(search_1, search_2, matching)
    if conf_1 is not None and conf_2 is not None:
        at_1 = _at(view_1, idx_1, 'conf_1', conf_1)
        at_2 = _at(view_2, idx_2, 'conf_2', conf_2)
        kind, confidence = 'desc_conf', np.minimum(at_1, at_2)
    else:
        dot = np.einsum('nd,nd->n', view_1.take(idx_1), view_2.take(idx_2))
        kind, confidence = 'similarity', dot
    return _pixel_matches(view_1, view_2, idx_1, idx_2, confidence, kind, matching)


def match_pair(result: InferenceResult, matching: MatchingConfig) -> MatchResult:
    """Match a pair from what its result holds: descriptors, else a warp, else both clouds."""
    if result.desc_1 is not None and result.desc_2 is not None:
        return match_descriptors(
            result.desc_1,
            result.desc_2,
            result.desc_conf_1,
            result.desc_conf_2,
            matching,
            mask_1=result.grid_1.mask,
            mask_2=result.grid_2.mask,
            guesses=_guesses(result, matching),
        )
    if result.warp_1_2 is not None:
        return _match_warp(result, result.warp_1_2, matching)
    if result.pts3d_1 is not None and result.pts3d_2 is not None:
        return _match_clouds(result, result.pts3d_1, result.pts3d_2, matching)
    raise InvalidInput(
        'the result holds neither descriptors, nor a warp, nor both clouds to match by; '
        'ask the engine for one of them'
    )


def _match_warp(
    result: InferenceResult, warp_1_2: FloatArray, matching: MatchingConfig
) -> MatchResult:
    """Sample the warp; ``reciprocal`` asks for the way back, where the engine gives one."""
    view_1 = PixelVectors('warp_1_2', warp_1_2, result.grid_1.mask)
    size_2 = result.grid_2.width, result.grid_2.height
    idx_1, xy_2 = warp_pairs(
        stride_seeds(view_1, matching.subsample),
        view_1,
        result.warp_2_1 if matching.reciprocal else None,
        size_2,
        matching.pixel_tol or _WARP_TOLERANCE_PX,
    )
    column, row = np.floor(xy_2 + 0.5).astype(np.int64).T
    idx_2 = row * size_2[0] + column
    if result.grid_2.mask is not None:
        seen = result.grid_2.mask.ravel()[idx_2]
        idx_1, idx_2, xy_2 = idx_1[seen], idx_2[seen], xy_2[seen]
    if result.warp_conf_1 is not None:
        kind, confidence = 'warp_conf', _at(view_1, idx_1, 'warp_conf_1', result.warp_conf_1)
    else:
        kind, confidence = _UNKNOWN, np.ones(len(idx_1), np.float32)
    xy_1 = view_1.xy(idx_1).astype(np.float32)
    matches = MatchResult(idx_1, idx_2, xy_1, xy_2, confidence, kind)
    return filter_matches(matches, matching, (view_1.width, view_1.height), size_2)


def _match_clouds(
    result: InferenceResult, points_1: FloatArray, points_2: FloatArray, matching: MatchingConfig
) -> MatchResult:
    """Match the points of two clouds in one frame by their distance."""
    view_1 = PixelVectors('pts3d_1', points_1, result.grid_1.mask)
    view_2 = PixelVectors('pts3d_2', points_2, result.grid_2.mask)
    idx_1, idx_2 = _search(DistanceSearch(view_1), DistanceSearch(view_2), matching)
    if result.conf_1 is not None and result.conf_2 is not None:
        at_1 = _at(view_1, idx_1, 'conf_1', result.conf_1)
        at_2 = _at(view_2, idx_2, 'conf_2', result.conf_2)
        kind, confidence = 'conf', np.minimum(at_1, at_2)
    else:
        kind, confidence = _UNKNOWN, np.ones(len(idx_1), np.float32)
    return _pixel_matches(view_1, view_2, idx_1, idx_2, confidence, kind, matching)


def _descriptor_views(
    desc_1: NDArray[Any],
    desc_2: NDArray[Any],
    mask_1: NDArray[Any] | None,
    mask_2: NDArray[Any] | None,
) -> tuple[PixelVectors, PixelVectors]:
    view_1 = PixelVectors('desc_1', desc_1, mask_1)
    view_2 = PixelVectors('desc_2', desc_2, mask_2)
    if view_1.dim != view_2.dim:
        raise InvalidInput(
            f'desc_1 has {view_1.dim} channels and desc_2 has {view_2.dim}; '
            'give descriptors of one network'
        )
    return view_1, view_2


def _guesses(result: InferenceResult, matching: MatchingConfig) -> ProjectedGuesses | None:
    if matching.search is not SearchRule.GUIDED:
        return None
    return projected_guesses(result, gap_px=matching.search_radius_px)


def _descriptor_searches(
    view_1: PixelVectors,
    view_2: PixelVectors,
    guesses: ProjectedGuesses | None,
    matching: MatchingConfig,
) -> tuple[PixelSearch, PixelSearch]:
    whole_1, whole_2 = SimilaritySearch(view_1), SimilaritySearch(view_2)
    radius_px = matching.search_radius_px
    if guesses is not None:
        return (
            WindowSearch(whole_1, KnownGuesses(guesses.to_1), radius_px),
            WindowSearch(whole_2, KnownGuesses(guesses.to_2), radius_px),
        )
    if matching.search is SearchRule.COARSE_TO_FINE:
        return (
            WindowSearch(whole_1, CoarseGuesses(view_1, radius_px), radius_px),
            WindowSearch(whole_2, CoarseGuesses(view_2, radius_px), radius_px),
        )
    return whole_1, whole_2


def _search(
    search_1: PixelSearch, search_2: PixelSearch, matching: MatchingConfig
) -> tuple[Pixels, Pixels]:
    """Return pixels of view 1 and view 2 that match as the settings say."""
    seeds = stride_seeds(search_1.targets, matching.subsample)
    if not matching.reciprocal:
        return nearest_pairs(seeds, search_1.targets, search_2)
    return reciprocal_pairs(
        seeds, search_1, search_2, until_rest=True, pixel_tol=matching.pixel_tol
    )


def _at(
    view: PixelVectors, pixels: Pixels, name: str, confidence: NDArray[Any]
) -> NDArray[np.float32]:
    """Return the values of a confidence map of that view at some pixels."""
    if confidence.shape != (view.height, view.width):
        raise InvalidInput(
            f'{name} has shape {confidence.shape}; its view is {view.height}x{view.width} '
            '(height x width), give one value a pixel'
        )
    return np.asarray(confidence[pixels // view.width, pixels % view.width], np.float32)


def _pixel_matches(
    view_1: PixelVectors,
    view_2: PixelVectors,
    idx_1: Pixels,
    idx_2: Pixels,
    confidence: NDArray[np.float32],
    kind: str,
    matching: MatchingConfig,
) -> MatchResult:
    """Return whole-pixel matches, filtered."""
    matches = MatchResult(
        idx_1.astype(np.int64),
        idx_2.astype(np.int64),
        view_1.xy(idx_1).astype(np.float32),
        view_2.xy(idx_2).astype(np.float32),
        confidence,
        kind,
    )
    size_1, size_2 = (view_1.width, view_1.height), (view_2.width, view_2.height)
    return filter_matches(matches, matching, size_1, size_2)
