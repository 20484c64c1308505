# SPDX-License-Identifier: Apache-2.0
"""What was seen of one engine on a card, and all of it as a table."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import Output

REQUESTS = {
    'cloud and matches': Output.CLOUD_1 | Output.DESC,
    'cloud of view 1': Output.CLOUD_1,
    'matches': Output.DESC,
}


@dataclass(frozen=True)
class Skip:
    """What was not run, and why."""

    what: str
    reason: str


@dataclass
class Outcome:
    """What was seen of one engine in one precision.

    :param start_s: time to build and load it.
    :param worst_p50: largest difference from float32 in the middle pixel of an answer.
    :param times_ms: of each request, the middle and the 95th of 100 times.
    :param soaked: pairs that were answered while memory was watched.
    """

    name: str
    device: str = ''
    versions: Mapping[str, str] = field(default_factory=dict)
    start_s: float | None = None
    worst_p50: float | None = None
    times_ms: dict[str, tuple[float, float]] = field(default_factory=dict)
    soaked: int = 0
    card_mb: float | None = None
    process_mb: float | None = None
    faults: list[str] = field(default_factory=list)


def time_rows(
    engine: EngineInterface, pair: Sequence[Any], rounds: int
) -> dict[str, tuple[float, float]]:
    """Time each request; they take turns, so that a warm card favours none."""
    spent: dict[str, list[float]] = {name: [] for name in REQUESTS}
    for number in range(rounds + 3):
        for name, outputs in REQUESTS.items():
            wanted = outputs & engine.provides
            start_s = time.perf_counter()
            result = engine.infer(*pair, outputs=wanted)
            if wanted & Output.DESC:
                engine.match_result(result)
            if number >= 3:  # load, capture, settle
                spent[name].append((time.perf_counter() - start_s) * 1e3)
    return {
        name: (float(np.median(values)), float(np.percentile(values, 95)))
        for name, values in spent.items()
        if values
    }


def table(outcomes: Sequence[Outcome]) -> str:
    """Return the outcomes as a table for docs/benchmarks.md."""
    head = ['engine', 'start', *REQUESTS, 'from float32', 'soak', 'card', 'process']
    lines = [_line(head), _line(['---'] * len(head))]
    for each in outcomes:
        times = [each.times_ms.get(name) for name in REQUESTS]
        cells = [
            each.name,
            _number(each.start_s, '{:.1f} s'),
            *('-' if pair is None else f'{pair[0]:.1f} ms (p95 {pair[1]:.1f})' for pair in times),
            _number(None if each.worst_p50 is None else 100 * each.worst_p50, '{:.2g} %'),
            f'{each.soaked} pairs, {"WRONG" if each.faults else "steady"}',
            _number(each.card_mb, '{:.0f} MB'),
            _number(each.process_mb, '{:.0f} MB'),
        ]
        lines.append(_line(cells))
    for device, versions in {
        each.device: each.versions for each in outcomes if each.device
    }.items():
        said = ', '.join(f'{name} {value}' for name, value in versions.items())
        lines.append(f'\n{device}: {said}')
    return '\n'.join(lines)


def _line(cells: Sequence[str]) -> str:
    return f'| {" | ".join(cells)} |'


def _number(value: float | None, form: str) -> str:
    return '-' if value is None else form.format(value)
