# SPDX-License-Identifier: Apache-2.0
"""The published matching algorithm step by step, by brute force, to hold the fast one against.

Descriptors, masks and seeds are taken as given, without any check.
"""

from __future__ import annotations

import numpy as np


def reference_matches(
    desc_1, desc_2, *, subsample=8, seeds=None, pixel_tol=0, mask_1=None, mask_2=None
):
    """Return (xy_1, xy_2) like fast_reciprocal_matches.

    :param seeds: None for the stride, or a tuple (x, y) of arrays.
    """
    height, width, _ = desc_1.shape
    part_1, part_2 = _taking_part(desc_1, mask_1), _taking_part(desc_2, mask_2)
    if seeds is None:
        start = subsample // 2
        y, x = np.mgrid[start:height:subsample, start:width:subsample].reshape(2, -1)
    else:
        x, y = seeds
    rounds = 10 if seeds is None and pixel_tol == 0 else 1
    begin = np.unique(np.asarray(x, np.int64) + width * np.asarray(y, np.int64))
    begin = begin[part_1[begin]]
    if not part_1.any() or not part_2.any() or len(begin) == 0:
        return np.empty((0, 2), np.int64), np.empty((0, 2), np.int64)

    at_1, at_2 = begin.copy(), np.full_like(begin, -1)
    old_1, old_2 = at_1.copy(), at_2.copy()
    not_yet = np.ones(len(begin), bool)
    for turn in range(rounds):
        at_2[not_yet] = brute_nearest(desc_1, at_1[not_yet], desc_2, part_2)
        not_yet &= old_2 != at_2
        at_1[not_yet] = brute_nearest(desc_2, at_2[not_yet], desc_1, part_1)
        not_yet &= old_1 != at_1
        if turn == rounds - 1 or not not_yet.any():
            break
        old_1[:], old_2[:] = at_1, at_2
    converged = ~not_yet
    if pixel_tol > 0:
        moved = np.hypot(old_1 % width - at_1 % width, old_1 // width - at_1 // width)
        converged = moved < pixel_tol
        at_1 = old_1
    # Sorted like 64-bit numbers whose high word is the pixel of view 1.
    packed = np.unique(at_1[converged] * 2**32 + at_2[converged])
    return _xy(packed >> 32, width), _xy(packed & (2**32 - 1), desc_2.shape[1])


def brute_nearest(queries, pixels, targets, part):
    """Return for each query pixel the earliest target pixel with the highest dot product."""
    flat = targets.reshape(-1, targets.shape[2]).astype(np.float32)
    found = np.empty(len(pixels), np.int64)
    for row, vector in enumerate(queries.reshape(-1, queries.shape[2])[pixels].astype(np.float32)):
        scores = flat @ vector
        scores[~part] = -np.inf
        found[row] = np.argmax(scores)
    return found


def _taking_part(desc, mask):
    part = np.isfinite(desc).all(axis=2).ravel()
    return part if mask is None else part & (np.asarray(mask).ravel() != 0)


def _xy(pixels, width):
    return np.stack([pixels % width, pixels // width], axis=1)
