# SPDX-License-Identifier: Apache-2.0
"""From a camera's picture to the network's pixels as an ONNX graph, for accelerators.

The official resampling is linear along each axis, so it is a constant matrix for each. Pillow
rounds its coefficients to multiples of 2**-22 and computes with whole numbers; here each is split
into two whole numbers of 11 bits, so that every product and sum is exact in float32, and in the
shorter formats too that accelerators multiply in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import PIL
from numpy.typing import NDArray
from PIL import Image

from mast3r_ros.core.preprocessing import GridPlan, official_kernel
from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.export.plain_graph import PlainGraph
from mast3r_ros.export.stage_ports import IMAGE

if TYPE_CHECKING:
    import onnx

FRAME = 'frame'

_HALF_BITS = 11
_HALF = 1 << _HALF_BITS
_ONE = 1 << 2 * _HALF_BITS  # what stands for a coefficient of 1
_FLOAT, _UINT8 = 1, 2  # element types by ONNX's numbers

Coefficients = NDArray[np.int32]


def preprocess_graph(plan: GridPlan) -> onnx.ModelProto:
    """Return the graph that scales and cuts pictures of one size as ``resize: official`` does.

    It takes ``frame``, uint8 (1, H, W, 3) as the camera gave it, and makes ``image``, uint8
    (1, h, w, 3), the encoder's input: byte for byte what the Pillow that is installed makes of
    pictures up to ten times as large as the network's.

    :raises EngineUnavailable: that Pillow computes in another way than all that are known.
    """
    (width, height), (columns, rows) = plan.image_size, plan.grid_size
    across, down = resampling_coefficients(plan)
    used = np.flatnonzero(down.any(axis=0))
    first, end = int(used[0]), int(used[-1]) + 1
    graph = PlainGraph(f'preprocess_{width}x{height}_{columns}x{rows}')
    values = graph.cast(graph.input(FRAME, _UINT8, (1, height, width, 3)), _FLOAT)
    if end - first < height:  # the cut leaves rows out
        values = graph.slice(values, 1, first, end)
    down = down[:, first:end]
    values = graph.node('Transpose', values, perm=(0, 1, 3, 2))  # rows, channels, columns
    if _goes_across_first(plan):
        values = _down(graph, _across(graph, values, across), down, columns)
    else:
        values = _across(graph, _down(graph, values, down, width), across)
    values = graph.node('Transpose', values, perm=(0, 1, 3, 2))
    graph.output('Cast', values, IMAGE, _UINT8, (1, rows, columns, 3), to=_UINT8)
    return graph.model()


def resampling_coefficients(plan: GridPlan) -> tuple[Coefficients, Coefficients]:
    """Return Pillow's coefficients times 2**22 for a picture's rows (W, w) and columns (h, H)."""
    (width, height), (scaled_w, scaled_h) = plan.image_size, plan.scaled_size
    (x, y), (columns, rows) = plan.crop_offset, plan.grid_size
    kernel = official_kernel(plan.image_size, plan.scaled_size)
    across = _coefficients(width, scaled_w, kernel)[:, x : x + columns]
    down = _coefficients(height, scaled_h, kernel)[:, y : y + rows]
    return across, down.T


def _coefficients(length: int, scaled: int, kernel: Image.Resampling) -> Coefficients:
    """Return (length, scaled): Pillow's own answer to lines with a single bright pixel each."""
    lines = Image.fromarray(np.eye(length, dtype=np.int32) * _ONE)
    return np.asarray(lines.resize((scaled, length), kernel), np.int32)


def _goes_across_first(plan: GridPlan) -> bool:
    """Return whether Pillow does the rows of such pictures before their columns.

    Each pass rounds to bytes, so the order matters, and not all versions choose alike.
    """
    across, down = (matrix.astype(np.float64) for matrix in resampling_coefficients(plan))
    width, height = plan.image_size
    picture = np.random.default_rng(0).integers(0, 256, (height, width), dtype=np.uint8)
    kernel = official_kernel(plan.image_size, plan.scaled_size)
    scaled = np.asarray(Image.fromarray(picture).resize(plan.scaled_size, kernel))
    (x, y), (columns, rows) = plan.crop_offset, plan.grid_size
    wanted = scaled[y : y + rows, x : x + columns]
    if np.array_equal(_shifted(down @ _shifted(picture @ across)), wanted):
        return True
    if np.array_equal(_shifted(_shifted(down @ picture) @ across), wanted):
        return False
    raise EngineUnavailable(
        f'Pillow {PIL.__version__} resamples in a way that this version does not know; install '
        'another one, or let the processor prepare the pictures'
    )


def _shifted(sums: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return sums of bytes times coefficients as bytes; float64 holds them exactly."""
    shifted: NDArray[np.float64] = np.clip(np.floor(sums / _ONE + 0.5), 0.0, 255.0)
    return shifted


def _across(graph: PlainGraph, values: str, coefficients: Coefficients) -> str:
    """Resample the columns of (1, rows, channels, columns)."""
    products = [
        graph.node('MatMul', values, graph.constant(name, matrix))
        for name, matrix in _halves('across', coefficients)
    ]
    return _bytes(graph, *products)


def _down(graph: PlainGraph, values: str, coefficients: Coefficients, columns: int) -> str:
    """Resample the rows of (1, rows, channels, columns)."""
    after, before = coefficients.shape
    lines = graph.reshape(values, (1, before, 3 * columns))
    products = [
        graph.node('MatMul', graph.constant(name, matrix), lines)
        for name, matrix in _halves('down', coefficients)
    ]
    return graph.reshape(_bytes(graph, *products), (1, after, 3, columns))


def _halves(name: str, whole: Coefficients) -> list[tuple[str, NDArray[np.float32]]]:
    """Return two matrices of small whole numbers: ``high * 2**11 + low``."""
    high = (whole + _HALF // 2) >> _HALF_BITS
    low = whole - (high << _HALF_BITS)
    parts = {f'{name}_high': high, f'{name}_low': low}
    return [(key, np.ascontiguousarray(part, np.float32)) for key, part in parts.items()]


def _bytes(graph: PlainGraph, high: str, low: str) -> str:
    """Return ``(high * 2**11 + low + 2**21) >> 22`` as bytes hold it, still as float32."""
    shrink = graph.number(1.0 / _HALF)
    carried = graph.node('Floor', graph.node('Mul', low, shrink))
    whole = graph.node('Add', graph.node('Add', high, carried), graph.number(_HALF / 2))
    rounded = graph.node('Floor', graph.node('Mul', whole, shrink))
    return graph.node('Clip', rounded, graph.number(0.0), graph.number(255.0))
