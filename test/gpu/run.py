# SPDX-License-Identifier: Apache-2.0
"""Everything that only a machine with a card can tell, in one command: `make test-gpu`.

For every engine and precision that is installed here: build, check against float32, time, and
run a thousand pairs while memory is watched. Ends with the table for docs/benchmarks.md, and with
what was left out and why. Needs neither ROS nor published weights.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))
sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from card_memory import MemoryWatch
from card_rows import Outcome, Skip, table, time_rows

from mast3r_ros.config import (
    BackendType,
    MASt3RRuntimeConfig,
    ModelConfig,
    Precision,
    RuntimeConfig,
)
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.engines.registry import engine_status, get_runtime
from mast3r_ros.errors import Mast3rError
from mast3r_ros.models.folder import ModelFolder

ROOT = Path(__file__).resolve().parents[2]
SHAPE = (252, 336)  # of a 640x480 image, for DUNE small
PRECISIONS = (Precision.FP32, Precision.FP16, Precision.BF16)
BACKENDS = ('pytorch', 'cuda', 'tensorrt')


def main(argv: Sequence[str] | None = None) -> int:
    """Run all that can be run; return 1 where something is wrong, 2 where nothing could be run."""
    options = _parser().parse_args(argv)
    outcomes: list[Outcome] = []
    skips: list[Skip] = []
    for backend in options.backends:
        why_not = obstacle(backend)
        if why_not:
            skips.append(Skip(backend, why_not))
            continue
        for outcome in _of_backend(backend, options):
            (skips if isinstance(outcome, Skip) else outcomes).append(outcome)  # type: ignore[arg-type]
    print('\n' + table(outcomes))
    for skip in skips:
        print(f'not run: {skip.what}: {skip.reason}')
    for outcome in outcomes:
        for fault in outcome.faults:
            print(f'WRONG: {outcome.name}: {fault}')
    if not outcomes:
        print('Nothing could be run here.')
        return 2
    return 1 if any(outcome.faults for outcome in outcomes) else 0


def obstacle(backend: str) -> str:
    """Return why an engine cannot run on a card here, or an empty text."""
    status = engine_status(BackendType(backend))
    if not status.available:
        return status.reason
    if backend == 'pytorch':
        import torch

        if not torch.cuda.is_available():
            return f'PyTorch {torch.__version__} sees no CUDA device'
    return ''


def _of_backend(backend: str, options: argparse.Namespace) -> Iterator[Outcome | Skip]:
    for precision in options.precisions:
        name = f'{backend} {precision.value}'
        print(f'== {name}', flush=True)
        try:
            folder = _model(options, precision)
            if folder is None:
                yield Skip(name, f'--model holds no {precision.value} model')
                continue
            yield _run_one(name, backend, folder, options)
        except Mast3rError as error:
            yield Outcome(name, faults=[str(error)])
        except ImportError as error:
            yield Skip(name, f'its model cannot be exported here: {error}; give one with --model')


def _run_one(name: str, backend: str, folder: Path, options: argparse.Namespace) -> Outcome:
    """Build, check, time and soak one engine."""
    outcome = Outcome(name)
    start_s = time.perf_counter()
    with get_runtime(_config(backend, folder, options)) as engine:
        outcome.start_s = time.perf_counter() - start_s
        info = engine.describe()
        outcome.device, outcome.versions = info.device, info.versions
        found = engine.self_check()  # type: ignore[attr-defined]  # every network engine has it
        outcome.worst_p50 = max((item.p50 for item in found.values()), default=None)
        pair = made_up_pair(SHAPE[1], SHAPE[0])
        outcome.times_ms = time_rows(engine, pair, options.rounds)
        _soak(engine, pair, options.pairs, outcome)
    return outcome


def _soak(
    engine: EngineInterface,
    pair: tuple,
    pairs: int,
    outcome: Outcome,  # type: ignore[type-arg]
) -> None:
    """Answer two pairs in turn; each must be answered as at first, memory must stand still."""
    first: dict[bool, InferenceResult] = {}
    with MemoryWatch(outcome.device) as memory:
        for number in range(pairs):
            turned = bool(number % 2)  # what is left of the last pair would show
            result = engine.infer(*(pair[::-1] if turned else pair), outputs=Output.ALL)
            known = first.setdefault(turned, result)
            if number % 50 < 2:
                _compare(known, result, number, outcome)
            memory.look(number)
            if number and number % 200 == 0:
                print(f'  {number} pairs', flush=True)
    outcome.soaked = pairs
    outcome.card_mb, outcome.process_mb = memory.peak_mb()
    outcome.faults += memory.growth()


def _compare(
    first: InferenceResult, result: InferenceResult, number: int, outcome: Outcome
) -> None:
    import numpy as np

    for name in ('pts3d_1', 'desc_2'):
        one, other = getattr(first, name), getattr(result, name)
        if one is not None and not np.allclose(one, other, rtol=1e-2, atol=1e-3, equal_nan=True):
            outcome.faults.append(f'pair {number} has another {name} than the same pair at first')


def _config(backend: str, folder: Path, options: argparse.Namespace) -> MASt3RRuntimeConfig:
    shape = ModelFolder.open(folder).description.shapes[0]
    return MASt3RRuntimeConfig(
        model=ModelConfig(path=folder, shape=shape, fit='crop'),
        runtime=RuntimeConfig(backend=backend, device=options.device),
        cache_dir=options.cache,
    )


def _model(options: argparse.Namespace, precision: Precision) -> Path | None:
    """Return a folder in a precision: that given, or made-up weights of DUNE small's size."""
    if options.model is None:
        from full_size_model import full_size_model

        return full_size_model('dune_small', SHAPE, precision, precision is Precision.INT8_FP16)
    for folder in (options.model, options.model.parent / precision.value):
        there = (folder / 'model.json').is_file()
        if there and ModelFolder.open(folder).description.precision is precision:
            return Path(folder)
    return None


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        '--model', type=Path, help='a model folder; its neighbours fp32, fp16, bf16 are taken too'
    )
    parser.add_argument('--backends', nargs='+', default=list(BACKENDS))
    parser.add_argument(
        '--precisions',
        nargs='+',
        type=Precision,
        default=list(PRECISIONS),
        help='fp32, fp16, bf16 and, for tensorrt alone, int8_fp16 (the first three)',
    )
    parser.add_argument('--pairs', type=int, default=1000, help='of the soak (1000)')
    parser.add_argument('--rounds', type=int, default=50, help='of each timing (50)')
    parser.add_argument('--device', type=int, default=0, help='card (0)')
    parser.add_argument('--cache', type=Path, default=ROOT / 'build' / 'gpu')
    return parser


if __name__ == '__main__':
    sys.exit(main())
