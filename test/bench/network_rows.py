# SPDX-License-Identifier: Apache-2.0
"""One network on every engine, against the published way: eager PyTorch, all outputs, tiled
matching. Everything is timed in turn, round by round, so that ratios are those of one moment.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceiling import least_ms, measured_peaks
from matching import tiled_matches
from network_case import (
    CANDIDATES,
    LEAST_ROUNDS,
    MOST_ROUNDS,
    Candidate,
    NetworkCase,
    missing_libraries,
)
from network_preparation import prepare
from side_by_side import Missing, Row

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import Output
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import Mast3rError

PUBLISHED = 'published arithmetic, PyTorch eager float32, all outputs'
JOBS: dict[str, tuple[Output, bool]] = {
    'cloud and matches': (Output.CLOUD_1 | Output.CLOUD_2 | Output.DESC, True),
    'cloud of view 1 alone': (Output.CLOUD_1, False),
    'matches alone': (Output.DESC, True),
}


def network_rows(
    case: NetworkCase, candidates: tuple[Candidate, ...] = CANDIDATES
) -> Iterator[Row | Missing]:
    """Measure every engine that runs here and yield a row for each of its jobs."""
    import torch

    runnable = []
    for candidate in candidates:
        missing = missing_libraries(candidate.needs)
        if missing:
            name = f'{case.name}, {candidate.name}'
            yield Missing(case.group, name, f'needs {", ".join(missing)}')
        else:
            runnable.append(candidate)
    torch.set_num_threads(usable_cores())
    with TemporaryDirectory() as cache_dir:
        yield from _measured(case, runnable, Path(cache_dir))


def _measured(
    case: NetworkCase, candidates: list[Candidate], cache_dir: Path
) -> Iterator[Row | Missing]:
    start = time.monotonic()
    prepared = prepare(case, candidates, cache_dir)
    print(f'  (exports and memory: {time.monotonic() - start:.0f} s)', flush=True)
    engines: dict[Candidate, Any] = {}
    for candidate, outcome in prepared.items():
        try:
            if isinstance(outcome, Mast3rError):
                raise outcome
            engines[candidate] = _engine(case, candidate, cache_dir)
        except Mast3rError as error:
            yield Missing(case.group, f'{case.name}, {candidate.name}', str(error))
    if not engines:
        return
    pair = made_up_pair(case.shape[1], case.shape[0])
    published = case.published()
    reference = published.infer(*pair)
    facts = {
        candidate: {**_errors(engine.infer(*pair), reference), **prepared[candidate]}
        for candidate, engine in engines.items()
    }
    timed = _time_in_turn(case, engines, published, pair)
    least = _least_times(case, list(engines))
    for engine in engines.values():
        engine.close()
    for (candidate, job), times in timed.items():
        if candidate is not None:
            theirs = timed[None, 'matches' if JOBS[job][1] else 'answers']
            # Shortest against shortest: what neighbours take from either side is left out.
            at_most = min(theirs) / least[candidate, job] if least else None
            yield _row(case, candidate, job, times, theirs, at_most, facts[candidate])


def _engine(case: NetworkCase, candidate: Candidate, cache_dir: Path) -> Any:
    path = case.folder(candidate)
    model = ModelConfig(path=path, shape=case.shape, precision=candidate.precision)
    # What a check at load would find, the errors beside each time tell.
    runtime = RuntimeConfig(
        backend=candidate.backend, num_threads=usable_cores(), self_check=False
    )
    config = MASt3RRuntimeConfig(model=model, runtime=runtime, cache_dir=cache_dir)
    return get_runtime(config)


def _least_times(
    case: NetworkCase, candidates: list[Candidate]
) -> dict[tuple[Candidate, str], float]:
    """Return milliseconds by engine and job if all products ran at this processor's best speed."""
    if missing_libraries(('openvino',)):
        return {}
    peaks = measured_peaks(usable_cores())
    speeds = ', '.join(f'{kind} {peak / 1e9:.0f} GFLOP/s' for kind, peak in peaks.items())
    print(f'  products reach {speeds} here', flush=True)
    return {
        (candidate, job): least_ms(
            case.architecture, case.shape, outputs, candidate.precision, peaks
        )
        for candidate in candidates
        for job, (outputs, _) in JOBS.items()
    }


Times = dict[tuple[Candidate | None, str], list[float]]


def _time_in_turn(
    case: NetworkCase, engines: Mapping[Candidate, Any], published: Any, pair: Any
) -> Times:
    """Return milliseconds by engine and job; those of the published way under None."""
    times: Times = {}
    begin = time.monotonic()
    for turn in range(MOST_ROUNDS):  # every stage has run once, so none is cold
        if turn >= LEAST_ROUNDS and time.monotonic() > begin + case.timed_s:
            break
        spent: dict[tuple[Candidate | None, str], float] = {}
        start = time.perf_counter()
        result = published.infer(*pair)
        answered = time.perf_counter()
        tiled_matches(result.desc_1, result.desc_2)
        spent[None, 'answers'] = (answered - start) * 1e3
        spent[None, 'matches'] = (time.perf_counter() - start) * 1e3
        for candidate, engine in engines.items():
            for job, (outputs, matches) in JOBS.items():
                start = time.perf_counter()
                result = engine.infer(*pair, outputs=outputs)
                if matches:
                    engine.match_result(result)
                spent[candidate, job] = (time.perf_counter() - start) * 1e3
        for key, value in spent.items():
            times.setdefault(key, []).append(value)
    return times


def _row(
    case: NetworkCase,
    candidate: Candidate,
    job: str,
    ours: list[float],
    theirs: list[float],
    at_most: float | None,
    facts: dict[str, Any],
) -> Row:
    ratios = [other / mine for mine, other in zip(ours, theirs, strict=True)]
    return Row(
        case.group,
        f'{case.name}, {candidate.name}, {job}',
        statistics.median(ours),
        PUBLISHED + (', tiled matching' if JOBS[job][1] else ''),
        statistics.median(theirs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        {
            'weights': 'made up',
            'rounds': len(ours),
            'best_ms': min(ours),
            'published_best_ms': min(theirs),
            **facts,
        },
        case.goals.get((candidate.name, job)),
        best_ratio=min(theirs) / min(ours),
        at_most=at_most,
    )


def _errors(ours: Any, reference: Any) -> dict[str, float]:
    """Return how far the answers of both views lie from the reference's."""
    from mast3r_ros.export.comparison import compare

    engine_matches = reference_matches(reference), reference_matches(ours)
    figures = compare(reference, ours, engine_matches)
    return {
        'descriptor_cosine_p01': figures.descriptor_cosine_p01 or 0.0,
        'median_point_error': figures.point_error_p50,
        'match_overlap': figures.match_overlap or 0.0,
    }


def reference_matches(result: Any) -> Any:
    """Return the matches of an answer, by the usual settings."""
    from mast3r_ros.config import MatchingConfig
    from mast3r_ros.core.matching import match_pair

    return match_pair(result, MatchingConfig())
