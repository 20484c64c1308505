# SPDX-License-Identifier: Apache-2.0
"""A process that prints what an ONNX Runtime engine holds, and leaves when closed, in bytes.

In a process of its own: what other engines left in ONNX Runtime's arena would count too.
"""

from __future__ import annotations

import sys
from pathlib import Path

from network_engines import pictures, settings

from mast3r_ros.engines.onnxruntime_engine.engine import ProcessorEngine


def private_bytes() -> int:
    """Return the memory that is this process's alone; pages of files are not."""
    for line in Path('/proc/self/smaps_rollup').read_text(encoding='ascii').splitlines():
        if line.startswith('Anonymous:'):
            return int(line.split()[1]) * 1024
    raise AssertionError('the system does not say')


def main(folder: Path) -> None:
    """Load a model, answer two pairs, close it."""
    ProcessorEngine(settings(folder, threads=1)).close()  # what is loaded once a process
    before = private_bytes()
    with ProcessorEngine(settings(folder, threads=1)) as engine:
        engine.infer(*pictures())
        engine.infer(*pictures())
        held = private_bytes() - before
    print(held, private_bytes() - before)


if __name__ == '__main__':
    main(Path(sys.argv[1]))
