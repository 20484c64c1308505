# SPDX-License-Identifier: Apache-2.0
"""Answers with a Core ML package on any machine: its program is read back and computed by PyTorch.

Core ML itself runs on Apple's machines alone. This knows the operators that the networks need and
says so of any other; each is computed in the number format that the program states.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

_KINDS = {'fp16': torch.float16, 'fp32': torch.float32}


class PackageProgram:
    """The program of a package, read from the files that Core ML would read."""

    def __init__(self, path: Path) -> None:
        from coremltools.converters.mil.frontend.milproto.load import load
        from coremltools.models.utils import load_spec

        self.spec = load_spec(str(path))
        weights = path / 'Data' / 'com.apple.CoreML' / 'weights'
        program = load(self.spec, self.spec.specificationVersion, str(weights))
        self._main = program.functions['main']
        self._constants: dict[str, Any] = {}

    @property
    def operators(self) -> Counter[tuple[str, str]]:
        """How often each operator makes each type of number."""
        return Counter(
            (item.op_type, item.outputs[0].dtype.__name__)
            for item in self._main.operations
            if item.op_type != 'const'
        )

    @property
    def largest_rank(self) -> int:
        """Of all values; Core ML takes no more than 5."""
        return max(len(made.shape) for item in self._main.operations for made in item.outputs)

    def answer(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Compute all outputs."""
        values = {name: torch.from_numpy(np.array(array)) for name, array in inputs.items()}

        def value_of(item: Any) -> Any:
            if isinstance(item, (list, tuple)):
                return [value_of(each) for each in item]
            return values[item.name] if item.name in values else self._constant(item)

        for item in self._main.operations:
            if item.op_type == 'const':
                continue
            arguments = {name: value_of(each) for name, each in item.inputs.items()}
            made = _OPERATORS[item.op_type](**arguments)
            made = made if isinstance(made, (tuple, list)) else [made]
            for output, tensor in zip(item.outputs, made, strict=True):
                assert tuple(tensor.shape) == tuple(output.shape), item.name
                values[output.name] = tensor
        return {output.name: values[output.name].numpy() for output in self._main.outputs}

    def _constant(self, item: Any) -> Any:
        if item.name not in self._constants:
            assert item.val is not None, f'{item.name} is used before it is made'
            whole = torch.from_numpy(np.array(item.val)) if np.ndim(item.val) else item.val
            self._constants[item.name] = whole
        return self._constants[item.name]


def _linear(x: Tensor, weight: Tensor, bias: Tensor) -> Tensor:
    return F.linear(x.float(), weight.float(), bias.float()).to(x.dtype)


def _matmul(x: Tensor, y: Tensor, transpose_x: bool = False, transpose_y: bool = False) -> Tensor:
    assert x.dtype is y.dtype
    left = x.transpose(-1, -2) if transpose_x else x
    right = y.transpose(-1, -2) if transpose_y else y
    return (left.float() @ right.float()).to(x.dtype)


def _conv(x: Tensor, weight: Tensor, bias: Tensor | None = None, **more: Any) -> Tensor:
    pad = [int(side) for side in more.get('pad', (0, 0, 0, 0))]
    if more['pad_type'] == 'valid':
        pad = [0, 0, 0, 0]
    elif more['pad_type'] == 'same':
        pad = [side // 2 for side in weight.shape[2:] for _ in range(2)]
    x = F.pad(x, (pad[2], pad[3], pad[0], pad[1]))
    strides = [int(step) for step in more.get('strides', (1, 1))]
    return F.conv2d(x, weight, bias, strides, groups=int(more.get('groups', 1)))


def _slice(x: Tensor, begin: Any, end: Any, **masks: Any) -> Tensor:
    from_start = masks.get('begin_mask', [False] * x.ndim)
    to_end = masks.get('end_mask', [False] * x.ndim)
    parts = [
        slice(
            None if from_start[axis] else int(begin[axis]),
            None if to_end[axis] else int(end[axis]),
        )
        for axis in range(x.ndim)
    ]
    return x[tuple(parts)]


def _norm(x: Tensor, axes: Any, gamma: Tensor, beta: Tensor, epsilon: float) -> Tensor:
    assert [int(axis) for axis in axes] == [-1]
    return F.layer_norm(x, gamma.shape, gamma, beta, float(epsilon))


def _upsample(x: Tensor, align_corners: bool, **factors: Any) -> Tensor:
    assert align_corners
    scales = (factors['scale_factor_height'], factors['scale_factor_width'])
    size = [round(side * float(scale)) for side, scale in zip(x.shape[2:], scales, strict=True)]
    return F.interpolate(x, size=size, mode='bilinear', align_corners=True)


def _gelu(x: Tensor, mode: str) -> Tensor:
    assert mode == 'EXACT'
    return F.gelu(x)


def _gather(x: Tensor, indices: Tensor, axis: int, batch_dims: int, **_: Any) -> Tensor:
    assert int(batch_dims) == 0
    return x.index_select(int(axis), indices)


def _of_one_type(work: Callable[[Any, Any], Tensor]) -> Callable[[Any, Any], Tensor]:
    def checked(x: Any, y: Any) -> Tensor:
        kinds = {item.dtype for item in (x, y) if isinstance(item, Tensor)}
        assert len(kinds) == 1, kinds
        made = work(x, y)
        return made.to(kinds.pop())

    return checked


_OPERATORS: dict[str, Callable[..., Any]] = {
    'add': _of_one_type(lambda x, y: x + y),
    'sub': _of_one_type(lambda x, y: x - y),
    'mul': _of_one_type(lambda x, y: x * y),
    'cast': lambda x, dtype: x.to(_KINDS[dtype]),
    'concat': lambda values, axis, interleave=False: torch.cat(values, int(axis)),
    'conv': _conv,
    'floor': lambda x: x.floor(),
    'gather': _gather,
    'gelu': _gelu,
    'identity': lambda x: x,
    'layer_norm': _norm,
    'linear': _linear,
    'matmul': _matmul,
    'maximum': _of_one_type(lambda x, y: torch.maximum(x, torch.as_tensor(y))),
    'minimum': _of_one_type(lambda x, y: torch.minimum(x, torch.as_tensor(y))),
    'real_div': _of_one_type(lambda x, y: x / y),
    'reduce_argmax': lambda x, axis, keep_dims: x.argmax(int(axis), bool(keep_dims)).int(),
    'reduce_sum': lambda x, axes, keep_dims: x.sum([int(n) for n in axes], bool(keep_dims)),
    'relu': lambda x: F.relu(x),
    'reshape': lambda x, shape: x.reshape([int(side) for side in shape]),
    'slice_by_index': _slice,
    'sqrt': lambda x: x.sqrt(),
    'softmax': lambda x, axis: x.softmax(int(axis)),
    'split': lambda x, split_sizes, axis: x.split([int(n) for n in split_sizes], int(axis)),
    'transpose': lambda x, perm: x.permute([int(axis) for axis in perm]),
    'upsample_bilinear': _upsample,
}
