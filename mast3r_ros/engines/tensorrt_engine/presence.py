# SPDX-License-Identifier: Apache-2.0
"""Whether this machine has what TensorRT needs, told without importing it."""

from __future__ import annotations

from pathlib import Path

from mast3r_ros.engines.onnxruntime_engine.presence import card_obstacle
from mast3r_ros.engines.tensorrt_engine.cuda_access import NO_ACCESS, has_module


def tensorrt_obstacle(devices: Path = Path('/dev')) -> str:
    """Return why TensorRT cannot be used here, or an empty text."""
    if not any(map(has_module, ('cuda.bindings', 'cuda.cudart', 'pycuda'))):
        return f'{NO_ACCESS}; pip install cuda-python'
    return card_obstacle(devices)
