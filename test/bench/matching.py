# SPDX-License-Identifier: Apache-2.0
"""Bench rows of matching: against the published algorithm in PyTorch, tiled on both sides."""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from side_by_side import Missing, Row, compare

from mast3r_ros.core.matching import fast_reciprocal_matches

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.descriptor_maps import random_map, smooth_pair

TILE = 8192  # rows and columns of one tile, where one of that many numbers cannot hold all
ROUNDS = 10
OTHER = 'tiled PyTorch, both ways'

# Rows of the table: name, goal, how often, and what makes the two maps.
CASES = (
    ('336x336x24 stride 8, smooth', 12.0, 3, lambda: smooth_pair(336, 336, noise=0.05)),
    ('336x336x24 stride 8, smooth and noisy', 12.0, 3, lambda: smooth_pair(336, 336, noise=0.2)),
    ('336x336x24 stride 8, no order at all', None, 1, lambda: _without_order(336, 336)),
    ('384x512x24 stride 8, smooth', None, 2, lambda: smooth_pair(384, 512, noise=0.05)),
)


def rows() -> Iterator[Row | Missing]:
    """Measure one row after another."""
    for name, goal, rounds, make in CASES:
        if importlib.util.find_spec('torch') is None:
            yield Missing('matching', name, 'needs torch, which make bench installs')
            continue
        yield _row(name, goal, rounds, *make())


def _row(name: str, goal: float | None, rounds: int, desc_1: Any, desc_2: Any) -> Row:
    ours = fast_reciprocal_matches(desc_1, desc_2)
    theirs = tiled_matches(desc_1, desc_2)
    if not all(np.array_equal(mine, other) for mine, other in zip(ours, theirs, strict=True)):
        raise RuntimeError(f'{name}: the two do not find the same matches')
    return compare(
        'matching',
        name,
        lambda: fast_reciprocal_matches(desc_1, desc_2),
        lambda: tiled_matches(desc_1, desc_2),
        other_name=OTHER,
        rounds=rounds,
        goal=goal,
        facts={'matches': len(ours[0]), 'same_matches': True},
        is_warm=True,
    )


def _without_order(height: int, width: int) -> tuple[Any, Any]:
    return random_map(height, width, seed=0), random_map(height, width, seed=1)


def tiled_matches(desc_1: Any, desc_2: Any, subsample: int = 8) -> tuple[Any, Any]:
    """Return (xy_1, xy_2) of the published algorithm: every pixel searched anew in every round."""
    import torch

    height, width, dim = desc_1.shape
    flat_1 = torch.from_numpy(desc_1.reshape(-1, dim))
    flat_2 = torch.from_numpy(desc_2.reshape(-1, dim))
    start = subsample // 2
    y, x = np.mgrid[start:height:subsample, start:width:subsample].reshape(2, -1)
    at_1 = np.unique(x + width * y)
    at_2 = np.full_like(at_1, -1)
    old_1, old_2 = at_1.copy(), at_2.copy()
    not_yet = np.ones(len(at_1), bool)
    for _ in range(ROUNDS):
        at_2[not_yet] = nearest_both_ways(flat_1[at_1[not_yet]], flat_2)[0]
        not_yet &= old_2 != at_2
        at_1[not_yet] = nearest_both_ways(flat_2[at_2[not_yet]], flat_1)[0]
        not_yet &= old_1 != at_1
        if not not_yet.any():
            break
        old_1[:], old_2[:] = at_1, at_2
    pairs = np.unique(np.stack([at_1[~not_yet], at_2[~not_yet]], axis=1), axis=0)
    sizes = ((width, pairs[:, 0]), (desc_2.shape[1], pairs[:, 1]))
    xy_1, xy_2 = (np.stack([idx % wide, idx // wide], axis=1) for wide, idx in sizes)
    return xy_1, xy_2


def nearest_both_ways(left: Any, right: Any) -> tuple[Any, Any]:
    """Return the nearest of every row of the other side for both sides, tile by tile."""
    import torch

    best = [torch.full((len(side),), -torch.inf) for side in (left, right)]
    found = [torch.zeros(len(side), dtype=torch.int64) for side in (left, right)]
    size = TILE if len(left) * len(right) > TILE**2 else max(len(left), len(right))
    for top in range(0, len(left), size):
        for start in range(0, len(right), size):
            tile = left[top : top + size] @ right[start : start + size].T
            for side, (here, there) in enumerate(((top, start), (start, top))):
                score, index = tile.max(dim=1 - side)
                rows_ = slice(here, here + size)
                better = score > best[side][rows_]
                best[side][rows_][better] = score[better]
                found[side][rows_][better] = index[better] + there
    return found[0].numpy(), found[1].numpy()
