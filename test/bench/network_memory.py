# SPDX-License-Identifier: Apache-2.0
"""A process that prints the memory that an engine has for itself after some pairs, in bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from mast3r_ros.config import MASt3RRuntimeConfig, ModelConfig, RuntimeConfig
from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.memory import give_back_memory
from mast3r_ros.core.results import Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.registry import get_runtime


def main(
    folder: str,
    backend: str,
    precision: str,
    shape: tuple[int, int],
    threads: int,
    smaller: tuple[int, int] | None = None,
    cache_dir: str | None = None,
    pairs: int = 2,
) -> None:
    """Load a model with all its stages, answer some pairs, print what is held.

    :param smaller: a second size that is used as well.
    :param cache_dir: what an earlier load left there is used, as at every start but the first.
    """
    model = ModelConfig(
        path=Path(folder), shape=shape, precision=precision, tracking_shape=smaller
    )
    runtime = RuntimeConfig(
        backend=backend,
        num_threads=threads,
        self_check=False,
        compiled_cache=cache_dir is not None,
    )
    config = MASt3RRuntimeConfig(
        model=model, runtime=runtime, cache_dir=cache_dir and Path(cache_dir)
    )
    pair = made_up_pair(shape[1], shape[0])
    before = _private_bytes()
    with get_runtime(config) as engine:
        for _ in range(pairs):
            engine.infer(*pair)
            if smaller is not None:
                one, two = engine.encode(
                    [engine.prepare_for_tracking(View(item)) for item in pair]
                )
                engine.decode([(one, two, None)], Output.ALL)
        give_back_memory()
        print(_private_bytes() - before)


def _private_bytes() -> int:
    """Return the memory that is this process's alone; pages of files are not."""
    for line in Path('/proc/self/smaps_rollup').read_text(encoding='ascii').splitlines():
        if line.startswith('Anonymous:'):
            return int(line.split()[1]) * 1024
    raise SystemExit('the system does not say')


if __name__ == '__main__':
    arguments = json.loads(sys.argv[1])
    main(*arguments)
