# SPDX-License-Identifier: Apache-2.0
"""From a network's raw last layer to points, descriptors and confidence: the same for all engines.

Always in float32 on the processor: the formulas overflow and cancel in half precision.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.parallel import parallel_map, thread_count
from mast3r_ros.core.results import FloatArray
from mast3r_ros.errors import EngineFailed

_BLOCK_PIXELS = 8192  # raw and finished values of so many fit the second cache
_LARGEST_EXPONENT = np.float32(88.0)  # exp of more is not finite in float32
_SMALLEST_LENGTH = np.float32(1e-8)

# Squared lengths between these lost nothing to underflow or overflow in float32.
_SAFE_SQUARES = (np.float32(1e-30), np.float32(1e37))


def points(raw: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return points (H, W, 3) and confidence (H, W), from 1 up, of raw (H, W, 4).

    The raw vector points the way, the exponential of its length (minus one) is the distance.
    """
    height, width = _check(raw, 4, exact=True)
    cloud = np.empty((height, width, 3), np.float32)
    confidence = np.empty((height, width), np.float32)
    _in_blocks(_points_block, raw, cloud, confidence)
    return cloud, confidence


def descriptors(raw: NDArray[Any]) -> tuple[FloatArray, FloatArray]:
    """Return unit descriptors (H, W, D) and their confidence (H, W), from 0 up.

    :param raw: (H, W, D + 1), the confidence last.
    """
    height, width = _check(raw, 2, exact=False)
    vectors = np.empty((height, width, raw.shape[2] - 1), np.float32)
    confidence = np.empty((height, width), np.float32)
    _in_blocks(_descriptors_block, raw, vectors, confidence)
    return vectors, confidence


def _points_block(raw: FloatArray, cloud: FloatArray, confidence: FloatArray) -> None:
    xyz = raw[:, :3]
    length, unsafe = _lengths(xyz)
    factor = np.minimum(length, _LARGEST_EXPONENT)
    np.expm1(factor, out=factor)
    factor /= np.maximum(length, _SMALLEST_LENGTH, out=length)
    np.multiply(xyz, factor[:, None], out=cloud)
    np.minimum(raw[:, 3], _LARGEST_EXPONENT, out=confidence)
    np.exp(confidence, out=confidence)
    confidence += np.float32(1.0)
    if unsafe.any():
        _points_of_extremes(xyz, cloud, unsafe)


def _points_of_extremes(xyz: FloatArray, cloud: FloatArray, rows: NDArray[np.bool_]) -> None:
    exact = xyz[rows].astype(np.float64)
    length = np.linalg.norm(exact, axis=1, keepdims=True)
    distance = np.expm1(np.minimum(length, float(_LARGEST_EXPONENT)))
    cloud[rows] = exact / np.maximum(length, float(_SMALLEST_LENGTH)) * distance


def _descriptors_block(raw: FloatArray, vectors: FloatArray, confidence: FloatArray) -> None:
    values = raw[:, :-1]
    length, unsafe = _lengths(values)
    np.maximum(length, np.finfo(np.float32).tiny, out=length)
    np.divide(values, length[:, None], out=vectors)
    np.minimum(raw[:, -1], _LARGEST_EXPONENT, out=confidence)
    np.exp(confidence, out=confidence)
    if unsafe.any():
        exact = values[unsafe].astype(np.float64)
        norms = np.linalg.norm(exact, axis=1, keepdims=True)
        vectors[unsafe] = exact / np.where(norms > 0.0, norms, 1.0)


def _lengths(vectors: FloatArray) -> tuple[FloatArray, NDArray[np.bool_]]:
    """Return each row's length, and which rows are too long or short for float32 squares."""
    squares = np.einsum('ij,ij->i', vectors, vectors)
    safe = (squares > _SAFE_SQUARES[0]) & (squares < _SAFE_SQUARES[1])
    return np.sqrt(squares, out=squares), ~safe


def _in_blocks(
    work: Callable[[FloatArray, FloatArray, FloatArray], None],
    raw: NDArray[Any],
    vectors: FloatArray,
    confidence: FloatArray,
) -> None:
    """Run ``work`` on pixels that fit the cache at once, shared out over a few threads."""
    flat = raw.reshape(-1, raw.shape[2])
    flat_vectors, flat_confidence = vectors.reshape(len(flat), -1), confidence.reshape(-1)

    def run(part: range) -> None:
        with np.errstate(all='ignore'):  # what is not finite comes from the network and is seen
            for start in part:
                block = slice(start, start + _BLOCK_PIXELS)
                values = np.asarray(flat[block], np.float32)
                work(values, flat_vectors[block], flat_confidence[block])

    blocks = range(0, len(flat), _BLOCK_PIXELS)
    threads = min(thread_count(), len(blocks))
    parallel_map(run, [blocks[first::threads] for first in range(threads)])


def _check(raw: NDArray[Any], channels: int, *, exact: bool) -> tuple[int, int]:
    """Return height and width of a raw map, or say what is wrong with it."""
    fits = raw.ndim == 3 and (raw.shape[2] == channels if exact else raw.shape[2] >= channels)
    if not fits or 0 in raw.shape:
        kind = f'{channels}' if exact else f'at least {channels}'
        raise EngineFailed(
            f'the network returned {raw.dtype} {raw.shape}; expected is (height, width, channels) '
            f'with {kind} channels; export the model anew'
        )
    return int(raw.shape[0]), int(raw.shape[1])
