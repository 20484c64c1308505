# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the faster searches: their time and their agreement with the exact one.

There are no weights to be had here. The answers are an oracle's, from the true depth and poses of
a hand-held walk: points with a network's errors, and descriptors of the surface (24 channels,
waves of 0.4 to 6 m) that are off by a pixel each, a tenth of them false.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Missing, Row, compare

from mast3r_ros.config import MatchingConfig, ModelConfig, SearchRule
from mast3r_ros.core.matching import match_descriptors, match_pair
from mast3r_ros.core.results import InferenceResult, MatchResult, Output
from mast3r_ros.core.views import View

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))
from kitchen_walk import DEPTH_CAMERA, WalkFrame, kitchen_walk, register_walk
from oracle_engine import EXACT as NO_ERRORS
from oracle_engine import OracleEngine
from real_data import find_data_folder
from support.descriptor_maps import smooth_pair

EXACT = MatchingConfig()
FASTER = (SearchRule.GUIDED, SearchRule.COARSE_TO_FINE)
OTHER = 'our exact search'
EVERY = 10  # frames of the walk
RIGHT_PX = 3.0  # from the true place: the descriptors of view 1 are off by a pixel

# What is matched: name, long side, and which of the frames make pairs.
CASES = (
    ('336x252x24, 10 frames apart', 336, ((1, 0), (6, 5), (11, 10))),
    ('336x252x24, 60 frames apart', 336, ((6, 0), (8, 2), (11, 5))),
    ('504x378x24, 10 frames apart', 504, ((1, 0),)),
)


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    yield _smooth_row()
    walk = kitchen_walk(EVERY, 12) if find_data_folder('redkitchen_150') else None
    for case, long_side, pairs in CASES:
        if walk is None:
            yield Missing('matching', case, 'MAST3R_ROS_DATA names no folder with redkitchen_150')
            continue
        frames = [(walk[newer], walk[older]) for newer, older in pairs]
        model = ModelConfig(resolution=long_side)
        results = [_answer(OracleEngine(model), *pair) for pair in frames]
        knowing = OracleEngine(model, provides=Output.WARP, errors=NO_ERRORS)
        truths = [_answer(knowing, *pair).warp_1_2 for pair in frames]
        for search in FASTER:
            yield _row(f'{search.value}, {case}', EXACT.replace(search=search), results, truths)


def _smooth_row() -> Row:
    desc_1, desc_2 = smooth_pair(384, 512, noise=0.05)
    coarse = EXACT.replace(search=SearchRule.COARSE_TO_FINE)
    exact, ours = (match_descriptors(desc_1, desc_2, None, None, one) for one in (EXACT, coarse))
    return compare(
        'matching',
        'coarse_to_fine, 384x512x24, smooth',
        lambda: match_descriptors(desc_1, desc_2, None, None, coarse),
        lambda: match_descriptors(desc_1, desc_2, None, None, EXACT),
        other_name=OTHER,
        rounds=5,
        facts={
            'matches': len(exact),
            'exact_found': round(float(among(exact, ours, 0).mean()), 3),
            'ours_are_exact': round(float(among(ours, exact, 0).mean()), 3),
        },
    )


def _row(
    name: str, matching: MatchingConfig, results: list[InferenceResult], truths: list[Any]
) -> Row:
    return compare(
        'matching',
        name,
        lambda: [match_pair(result, matching) for result in results],
        lambda: [match_pair(result, EXACT) for result in results],
        other_name=OTHER,
        rounds=5,
        facts=_agreement(matching, results, truths),
    )


def _answer(engine: OracleEngine, newer: WalkFrame, older: WalkFrame) -> InferenceResult:
    register_walk(engine, [newer, older])
    views = [View(frame.image, DEPTH_CAMERA) for frame in (newer, older)]
    return engine.infer_views(*views)


def _agreement(
    matching: MatchingConfig, results: list[InferenceResult], truths: list[Any]
) -> dict[str, Any]:
    """Return shares over all pairs; those that are right are among those with a known truth."""
    found: dict[str, list[bool]] = {}
    for result, truth in zip(results, truths, strict=True):
        exact, ours = match_pair(result, EXACT), match_pair(result, matching)
        error_exact, error_ours = (_errors_px(one, truth) for one in (exact, ours))
        same = among(exact, ours, 0)
        for name, rows_ in (
            ('exact_found', same),
            ('exact_found_1px', among(exact, ours, 1)),
            ('right_exact_found', same[error_exact < RIGHT_PX]),
            ('ours_are_exact', among(ours, exact, 0)),
            ('exact_right', error_exact[np.isfinite(error_exact)] < RIGHT_PX),
            ('ours_right', error_ours[np.isfinite(error_ours)] < RIGHT_PX),
        ):
            found.setdefault(name, []).extend(rows_)
    shares: dict[str, Any] = {
        name: round(float(np.mean(rows_)), 3) for name, rows_ in found.items()
    }
    return {'matches': len(found['exact_found']), **shares}


def among(matches: MatchResult, others: MatchResult, within_px: int) -> np.ndarray:
    """Return which matches are among others, both their pixels within so many pixels."""
    ours, theirs = (
        np.concatenate([one.pts2d_1, one.pts2d_2], axis=1) for one in (matches, others)
    )
    return np.array([(np.abs(theirs - one).max(axis=1) <= within_px).any() for one in ours], bool)


def _errors_px(matches: MatchResult, truth: Any) -> np.ndarray:
    """Return how far each match ends from where its surface is seen; NaN where nobody knows."""
    places = truth.reshape(-1, 2)[matches.idx_1]
    return np.linalg.norm(matches.pts2d_2 - places, axis=1)
