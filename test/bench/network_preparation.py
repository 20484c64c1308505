# SPDX-License-Identifier: Apache-2.0
"""What comes before the timing: exports, and the memory of engines in processes of their own.

An export is mostly one thread's work, so two run at a time and the memory of what is exported
already is measured meanwhile.
"""

from __future__ import annotations

import json
import multiprocessing
import signal
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor, as_completed
from pathlib import Path

from network_case import Candidate, NetworkCase

from mast3r_ros.core.cores import usable_cores
from mast3r_ros.errors import Mast3rError

Outcome = dict[str, float] | Mast3rError

PROGRAM = Path(__file__).with_name('network_memory.py')


def prepare(
    case: NetworkCase, candidates: Sequence[Candidate], cache_dir: Path
) -> dict[Candidate, Outcome]:
    """Export what the candidates run and return what each holds for itself, or why it cannot."""
    by_export: dict[tuple[str, bool], list[Candidate]] = {}
    for each in candidates:
        by_export.setdefault((each.exported.value, each.calibrated), []).append(each)
    outcomes: dict[Candidate, Outcome] = {}
    measured: dict[Candidate, Future[dict[str, float]]] = {}
    context = multiprocessing.get_context('spawn')
    to_default = (signal.SIGINT, signal.SIG_DFL)  # Ctrl-C ends them without a word
    processes = ProcessPoolExecutor(2, context, initializer=signal.signal, initargs=to_default)
    threads = ThreadPoolExecutor(2)
    try:
        exports = {processes.submit(case.folder, alike[0]): alike for alike in by_export.values()}
        for export in as_completed(exports):
            error = export.exception()
            for each in exports[export]:
                if isinstance(error, Mast3rError):
                    outcomes[each] = error
                else:
                    folder = export.result()
                    measured[each] = threads.submit(_memory, case, each, folder, cache_dir)
        outcomes |= {candidate: future.result() for candidate, future in measured.items()}
    finally:
        threads.shutdown(cancel_futures=True)
        processes.shutdown(cancel_futures=True)
    return {candidate: outcomes[candidate] for candidate in candidates}


def _memory(
    case: NetworkCase, candidate: Candidate, folder: Path, cache_dir: Path
) -> dict[str, float]:
    """Return what an engine holds at any start but the first, which compiles."""
    arguments = [str(folder), candidate.backend, candidate.precision, case.shape, usable_cores()]
    printed = b''
    for pairs in (1, 2) if candidate.backend == 'openvino' else (2,):
        words = json.dumps([*arguments, None, str(cache_dir), pairs])
        done = subprocess.run(
            [sys.executable, str(PROGRAM), words], capture_output=True, check=False
        )
        if done.returncode:
            if done.returncode > 0:  # below, a signal ended it
                why = done.stderr.decode(errors='replace').strip().rpartition('\n')[2]
                print(f'  memory of {candidate.name} not measured: {why}', flush=True)
            return {}
        printed = done.stdout
    return {'private_mb': int(printed.split()[-1]) / 1e6}
