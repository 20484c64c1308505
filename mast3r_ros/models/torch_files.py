# SPDX-License-Identifier: Apache-2.0
"""The values of a .pth file as PyTorch tensors, mapped from the file rather than copied."""

from __future__ import annotations

import argparse
from pathlib import Path
from types import ModuleType
from typing import Any

from mast3r_ros.errors import CheckpointError


def import_torch() -> ModuleType:
    """Return PyTorch.

    :raises CheckpointError: with what to install, where it is missing.
    """
    try:
        import torch
    except ImportError as error:
        raise CheckpointError(
            f"reading weights needs PyTorch ({error}): pip install 'mast3r_ros[export]'"
        ) from None
    return torch


def load_torch_file(path: Path) -> Any:
    """Return what ``torch.save`` wrote, tensors staying in the file until they are used.

    The caller has judged the file by :class:`~mast3r_ros.models.torch_archive.TorchArchive`;
    this is the second lock, PyTorch's own.
    """
    torch = import_torch()
    try:
        unsafe = set(torch.serialization.get_unsafe_globals_in_checkpoint(path))
        if unsafe - {'argparse.Namespace'}:
            raise CheckpointError(
                f'{path} was refused and nothing of it was run: PyTorch calls '
                f'{", ".join(sorted(unsafe))} unsafe'
            )
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(path, map_location='cpu', weights_only=True, mmap=True)
    except CheckpointError:
        raise
    except Exception as error:  # PyTorch raises of any kind on a file it cannot take
        sentence = str(error).partition('\n')[0][:200]
        raise CheckpointError(f'{path} cannot be read by PyTorch: {sentence}') from None
