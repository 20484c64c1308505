# SPDX-License-Identifier: Apache-2.0
"""A process that prints what an engine holds, and leaves when closed, in bytes.

In a process of its own: what other engines left in a library's arena would count too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from network_engines import pictures, settings

from mast3r_ros.config import MASt3RRuntimeConfig, RuntimeConfig
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.engines.registry import get_runtime


def private_bytes() -> int:
    """Return the memory that is this process's alone; pages of files are not."""
    for line in Path('/proc/self/smaps_rollup').read_text(encoding='ascii').splitlines():
        if line.startswith('Anonymous:'):
            return int(line.split()[1]) * 1024
    raise AssertionError('the system does not say')


def main(folder: Path, backend: str) -> None:
    """Load a model, answer two pairs, close it."""
    _engine(folder, backend).close()  # what is loaded once a process
    before = private_bytes()
    with _engine(folder, backend) as engine:
        engine.infer(*pictures())
        engine.infer(*pictures())
        held = private_bytes() - before
    print(held, private_bytes() - before)


def _engine(folder: Path, backend: str) -> EngineInterface:
    config: MASt3RRuntimeConfig = settings(folder, precision='fp32')
    return get_runtime(config.replace(runtime=RuntimeConfig(backend=backend, num_threads=1)))


if __name__ == '__main__':
    main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else 'onnxruntime')
