# SPDX-License-Identifier: Apache-2.0
"""The tensors of a checkpoint, held against those of a golden case."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from support.checkpoint_files import golden_tensors


def assert_golden(tensors: Mapping[str, Any], case: str) -> None:
    """Assert that every tensor of a golden case came, with its values, under its first name."""
    expected = {
        key: value for key, value in golden_tensors(case).items() if 'layer_rn.' not in key
    }
    assert set(tensors) == set(expected)
    for key, value in expected.items():
        assert torch.equal(tensors[key].float(), value.to(tensors[key].dtype).float()), key
