# SPDX-License-Identifier: Apache-2.0
"""One network on every engine, against the official way: eager PyTorch, all outputs, tiled
matching. Everything is timed in turn, round by round, so that ratios are those of one moment.
"""

from __future__ import annotations

import importlib.util
import json
import multiprocessing
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from ceiling import least_ms, measured_peaks
from matching import tiled_matches
from side_by_side import Missing, Row

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, Precision, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import Output
from mast3r_ros.engines.registry import get_runtime
from mast3r_ros.errors import Mast3rError
from mast3r_ros.models.architecture import Architecture

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))

ROUNDS = 3
NEEDED = ('torch', 'onnx', 'onnxscript', 'onnxruntime')
OFFICIAL = 'PyTorch eager float32, all outputs'
JOBS: dict[str, tuple[Output, bool]] = {
    'cloud and matches': (Output.CLOUD_1 | Output.CLOUD_2 | Output.DESC, True),
    'cloud of view 1 alone': (Output.CLOUD_1, False),
    'matches alone': (Output.DESC, True),
}


@dataclass(frozen=True)
class NetworkCase:
    """A network to measure.

    :param export: returns its model folder for a shape, a precision and whether it is calibrated.
    :param goals: ratios to reach, by engine and job.
    """

    group: str
    name: str
    shape: tuple[int, int]
    export: Callable[..., Path]
    goals: Mapping[tuple[str, str], float] = field(default_factory=dict)
    rounds: int = ROUNDS


@dataclass(frozen=True)
class Candidate:
    """An engine that answers the network."""

    name: str
    backend: str
    precision: str
    exported: Precision
    calibrated: bool = False
    needs: tuple[str, ...] = ()


# OpenVINO rounds the float32 folder to bfloat16 by itself, so that none has to be exported for it.
CANDIDATES = (
    Candidate('ONNX Runtime fp32', 'onnxruntime', 'fp32', Precision.FP32),
    Candidate('ONNX Runtime int8', 'onnxruntime', 'int8', Precision.INT8, True, ('nncf',)),
    Candidate('OpenVINO fp32', 'openvino', 'fp32', Precision.FP32, needs=('openvino',)),
    Candidate('OpenVINO bf16', 'openvino', 'bf16', Precision.FP32, needs=('openvino',)),
    Candidate('OpenVINO int8', 'openvino', 'int8', Precision.INT8, True, ('openvino', 'nncf')),
)
ALL_CANDIDATES = (
    *CANDIDATES,
    Candidate('ONNX Runtime int8, dynamic', 'onnxruntime', 'int8', Precision.INT8),
    Candidate('OpenVINO bf16 folder', 'openvino', 'bf16', Precision.BF16, needs=('openvino',)),
)


def missing_libraries(names: tuple[str, ...] = NEEDED) -> list[str]:
    """Return which libraries are not installed."""
    return [name for name in names if importlib.util.find_spec(name) is None]


def network_rows(
    case: NetworkCase, candidates: tuple[Candidate, ...] = CANDIDATES
) -> Iterator[Row | Missing]:
    """Measure every engine that runs here and yield a row for each of its jobs."""
    _export_at_once(case, candidates)
    with TemporaryDirectory() as cache_dir:
        yield from _measured(case, candidates, Path(cache_dir))


def _measured(
    case: NetworkCase, candidates: tuple[Candidate, ...], cache_dir: Path
) -> Iterator[Row | Missing]:
    engines: dict[Candidate, Any] = {}
    pair = made_up_pair(case.shape[1], case.shape[0])
    for candidate in candidates:
        missing = missing_libraries(candidate.needs)
        name = f'{case.name}, {candidate.name}'
        if missing:
            yield Missing(case.group, name, f'needs {", ".join(missing)}')
            continue
        try:
            engines[candidate] = _engine(case, candidate, cache_dir)
        except Mast3rError as error:
            yield Missing(case.group, name, str(error))
    if not engines:
        return
    official = _engine(case, Candidate('', 'pytorch', 'fp32', Precision.FP32), cache_dir)
    reference = official.infer(*pair)
    with ThreadPoolExecutor(2) as pool:
        memory = dict(
            zip(engines, pool.map(partial(_memory, case, cache_dir), engines), strict=True)
        )
    facts = {
        candidate: {**_errors(engine.infer(*pair), reference), **memory[candidate]}
        for candidate, engine in engines.items()
    }
    timed = _time_in_turn(case, engines, official, pair)
    least = _least_times(case, list(engines), official)
    for engine in (official, *engines.values()):
        engine.close()
    for (candidate, job), times in timed.items():
        if candidate is not None:
            theirs = timed[None, 'matches' if JOBS[job][1] else 'answers']
            at_most = min(theirs) / least[candidate, job] if least else None
            yield _row(case, candidate, job, times, theirs, at_most, facts[candidate])


def _export_at_once(case: NetworkCase, candidates: tuple[Candidate, ...]) -> None:
    """Export what the candidates run, two at a time: mostly that is one thread's work."""
    wanted = dict.fromkeys(
        (each.exported, each.calibrated)
        for each in candidates
        if not missing_libraries(each.needs)
    )
    with ProcessPoolExecutor(2, multiprocessing.get_context('spawn')) as pool:
        exports = [pool.submit(case.export, case.shape, *each) for each in wanted]
        for each in as_completed(exports):
            with suppress(Mast3rError):  # whoever needs it fails with it, and says so
                each.result()


def _engine(case: NetworkCase, candidate: Candidate, cache_dir: Path) -> Any:
    path = case.export(case.shape, candidate.exported, candidate.calibrated)
    model = ModelConfig(path=path, shape=case.shape, precision=candidate.precision)
    # What a check at load would find, the errors beside each time tell.
    runtime = RuntimeConfig(
        backend=candidate.backend, num_threads=usable_cores(), self_check=False
    )
    config = MASt3RRuntimeConfig(model=model, runtime=runtime, cache_dir=cache_dir)
    return get_runtime(config)


def _least_times(
    case: NetworkCase, candidates: list[Candidate], official: Any
) -> dict[tuple[Candidate, str], float]:
    """Return milliseconds by engine and job if all products ran at this processor's best speed."""
    if missing_libraries(('openvino',)):
        return {}
    peaks = measured_peaks(usable_cores())
    speeds = ', '.join(f'{kind} {peak / 1e9:.0f} GFLOP/s' for kind, peak in peaks.items())
    print(f'  products reach {speeds} here', flush=True)
    architecture = Architecture.from_dict(official.folder.description.architecture)
    return {
        (candidate, job): least_ms(architecture, case.shape, outputs, candidate.precision, peaks)
        for candidate in candidates
        for job, (outputs, _) in JOBS.items()
    }


Times = dict[tuple[Candidate | None, str], list[float]]


def _time_in_turn(
    case: NetworkCase, engines: Mapping[Candidate, Any], official: Any, pair: Any
) -> Times:
    """Return milliseconds by engine and job; those of the official way under None."""
    times: Times = {}
    for _ in range(case.rounds):  # all have answered once, so none is cold
        spent: dict[tuple[Candidate | None, str], float] = {}
        start = time.perf_counter()
        result = official.infer(*pair)
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
        OFFICIAL + (', tiled matching' if JOBS[job][1] else ''),
        statistics.median(theirs),
        statistics.median(ratios),
        min(ratios),
        max(ratios),
        {'weights': 'made up', 'best_ms': min(ours), 'official_best_ms': min(theirs), **facts},
        case.goals.get((candidate.name, job)),
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


def _memory(case: NetworkCase, cache_dir: Path, candidate: Candidate) -> dict[str, float]:
    """Return what the engine holds for itself, measured in a process of its own."""
    path = case.export(case.shape, candidate.exported, candidate.calibrated)
    arguments = [str(path), candidate.backend, candidate.precision, case.shape, usable_cores()]
    arguments += [None, str(cache_dir)]
    command = [sys.executable, str(Path(__file__).with_name('network_memory.py'))]
    done = subprocess.run(
        [*command, json.dumps(arguments)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        return {}
    return {'private_mb': int(done.stdout.split()[-1]) / 1e6}
