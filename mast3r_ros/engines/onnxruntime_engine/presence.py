# SPDX-License-Identifier: Apache-2.0
"""Whether this machine has what CUDA needs, told without importing ONNX Runtime."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

# An NVIDIA card shows itself by one of these; a Jetson and WSL have their own.
_CARDS = ('nvidia[0-9]*', 'nvgpu', 'nvhost-gpu', 'dxg')


def cuda_obstacle(devices: Path = Path('/dev')) -> str:
    """Return why ONNX Runtime cannot use CUDA here, or an empty text."""
    spec = find_spec('onnxruntime')
    places = spec.submodule_search_locations if spec is not None else None
    if not any(next(Path(place).glob('capi/*providers_cuda*'), None) for place in places or ()):
        return (
            'this onnxruntime is built without CUDA; uninstall it and '
            "pip install 'mast3r_ros[cuda]'"
        )
    return card_obstacle(devices)


def card_obstacle(devices: Path = Path('/dev')) -> str:
    """Return that no NVIDIA card can be used here, or an empty text."""
    if not any(next(devices.glob(pattern), None) for pattern in _CARDS):
        return f'there is no NVIDIA card, or no driver for it ({devices}/nvidia0 is missing)'
    return ''
