# SPDX-License-Identifier: Apache-2.0
"""Reciprocal matching as an ONNX graph, for accelerators: products and ArgMax, nothing else.

The seeds go there and back a fixed number of times. A seed at rest stays at rest, so going on does
no harm, and where it arrived says whether it was. What remains for the processor is a list with a
row for each seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import IndexArray
from mast3r_ros.errors import InvalidInput
from mast3r_ros.export.plain_graph import PlainGraph
from mast3r_ros.models.description import Shape

if TYPE_CHECKING:
    import onnx

OUTPUTS = ('pixels_1', 'pixels_2', 'before_1')
"""Where each seed ended in view 1 and 2, and where it was in view 1 one round before."""

_FLOAT, _UINT8, _INT32 = 1, 2, 6  # element types by ONNX's numbers
_SCORES_AT_ONCE = 1 << 24  # 64 MB
_OUT_OF_REACH = 1e4  # taken off the score of a masked pixel; scores of unit vectors span 2
_SMALLEST_LENGTH = 1e-15  # of a raw descriptor: its square is still a number


@dataclass(frozen=True)
class MatchingPlan:
    """What a matching graph is made for.

    :param shape_1: height and width of view 1's descriptors.
    :param dim: channels of a descriptor.
    :param subsample: the stride of the seeds, as the settings have it.
    :param rounds: there and back; with fewer than ten, seeds that would have come to rest later
        are dropped.
    :param raw: whether it takes the network's last layer, with the confidence as last channel,
        rather than unit descriptors.
    :param masked: whether it takes masks too.
    """

    shape_1: Shape
    shape_2: Shape
    dim: int = 24
    subsample: int = 8
    rounds: int = 10
    raw: bool = False
    masked: bool = False

    def __post_init__(self) -> None:
        limits = {'dim': 1, 'subsample': 1, 'rounds': 1}
        for name, low in limits.items():
            if getattr(self, name) < low:
                raise InvalidInput(f'{name} is {getattr(self, name)}; it must be at least {low}')
        if min(*self.shape_1, *self.shape_2) < 1 or len(self.seeds) == 0:
            raise InvalidInput(
                f'views of {self.shape_1} and {self.shape_2} have no pixel at a stride of '
                f'{self.subsample}; take a smaller subsample'
            )

    @property
    def seeds(self) -> IndexArray:
        """The pixels of view 1 that matches are sought for."""
        (height, width), step = self.shape_1, self.subsample
        y, x = np.mgrid[step // 2 : height : step, step // 2 : width : step]
        return np.asarray((y * width + x).ravel(), np.int64)


def matching_graph(plan: MatchingPlan) -> onnx.ModelProto:
    """Return the graph that finds the reciprocal matches of two views' descriptors.

    It takes ``desc_1`` and ``desc_2``, finite unit vectors, float32 (1, H, W, dim); or, if
    ``raw``, ``descriptors_1`` and ``descriptors_2`` (1, H, W, dim + 1) as the network's heads make
    them. If ``masked`` it takes ``mask_1`` and ``mask_2`` too, uint8 (1, H, W), 1 where a pixel
    takes part and 0 where not. It makes :data:`OUTPUTS`, int32, a number for each seed, of which
    :func:`settled_matches` makes matches.
    """
    sizes = '_'.join(f'{height}x{width}' for height, width in (plan.shape_1, plan.shape_2))
    graph = PlainGraph(f'matching_{sizes}')
    view_1, view_2 = (_Descriptors(graph, plan, view) for view in (1, 2))
    ends: list[tuple[str, str, str]] = []
    largest = max(plan.shape_1[0] * plan.shape_1[1], plan.shape_2[0] * plan.shape_2[1])
    block = max(1, _SCORES_AT_ONCE // largest)
    for start in range(0, len(plan.seeds), block):
        seeds = plan.seeds[start : start + block].astype(np.int32)
        at_1 = graph.constant(f'seeds_{start}', seeds)
        at_2 = before_1 = ''
        for _ in range(plan.rounds):
            before_1 = at_1
            at_2 = _nearest(graph, view_1, at_1, view_2)
            at_1 = _nearest(graph, view_2, at_2, view_1)
        ends.append((at_1, at_2, before_1))
    for name, parts in zip(OUTPUTS, zip(*ends, strict=True), strict=True):
        graph.output('Concat', parts, name, _INT32, (len(plan.seeds),), axis=0)
    return graph.model()


def settled_matches(
    plan: MatchingPlan,
    outputs: Mapping[str, NDArray[Any]],
    mask_1: NDArray[Any] | None = None,
    mask_2: NDArray[Any] | None = None,
) -> tuple[IndexArray, IndexArray]:
    """Return the row-major pixels of view 1 and 2 that match, as the CPU's matching orders them.

    :param outputs: of the graph, by name.
    :param mask_1: (H, W) what the graph was given, nonzero takes part; ``mask_2`` likewise.
    """
    at_1, at_2, before_1 = (np.asarray(outputs[name], np.int64) for name in OUTPUTS)
    settled = at_1 == before_1
    if mask_1 is not None:
        settled &= (mask_1.ravel()[plan.seeds] != 0) & (mask_1.ravel()[at_1] != 0)
    if mask_2 is not None:
        settled &= mask_2.ravel()[at_2] != 0
    pairs = np.unique(np.stack([at_1[settled], at_2[settled]], axis=1), axis=0)
    return pairs[:, 0], pairs[:, 1]


class _Descriptors:
    """One view's descriptors in a graph: a row for each pixel to ask with, a column to find.

    A mask is one channel more: what asks has 1 there, and what is masked a number that takes it
    out of everybody's reach; nothing is added to the others.
    """

    def __init__(self, graph: PlainGraph, plan: MatchingPlan, view: int) -> None:
        height, width = plan.shape_1 if view == 1 else plan.shape_2
        name = f'descriptors_{view}' if plan.raw else f'desc_{view}'
        channels = plan.dim + 1 if plan.raw else plan.dim
        values = graph.input(name, _FLOAT, (1, height, width, channels))
        rows = graph.reshape(values, (height * width, channels))
        if plan.raw:
            rows = _unit(graph, graph.slice(rows, 1, 0, plan.dim))
        self.rows, found = rows, rows
        if plan.masked:
            mask = graph.input(f'mask_{view}', _UINT8, (1, height, width))
            mask = graph.reshape(graph.cast(mask, _FLOAT), (height * width, 1))
            missing = graph.node('Sub', mask, graph.number(1.0))
            penalty = graph.node('Mul', missing, graph.number(_OUT_OF_REACH))
            ones = graph.constant(f'ones_{view}', np.ones((height * width, 1), np.float32))
            self.rows = graph.node('Concat', rows, ones, axis=1)
            found = graph.node('Concat', rows, penalty, axis=1)
        self.columns = graph.node('Transpose', found, perm=(1, 0))


def _nearest(graph: PlainGraph, view: _Descriptors, pixels: str, other: _Descriptors) -> str:
    """Return the most similar pixel of the other view, the first of equals, for some of a view."""
    asking = graph.node('Gather', view.rows, pixels, axis=0)
    scores = graph.node('MatMul', asking, other.columns)
    return graph.cast(graph.node('ArgMax', scores, axis=1, keepdims=0), _INT32)


def _unit(graph: PlainGraph, rows: str) -> str:
    """Return rows divided by their lengths."""
    axes = graph.constant('channels', np.array([1], np.int64))
    squares = graph.node('ReduceSum', graph.node('Mul', rows, rows), axes, keepdims=1)
    length = graph.node('Max', graph.node('Sqrt', squares), graph.number(_SMALLEST_LENGTH))
    return graph.node('Div', rows, length)
