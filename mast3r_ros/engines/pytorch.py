# SPDX-License-Identifier: Apache-2.0
"""The engine that runs the networks as PyTorch modules, with the weights of an exported model."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mast3r_ros.config import BackendType, MASt3RRuntimeConfig, Precision
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.results import EngineInfo
from mast3r_ros.engines.network_engine import NetworkEngine, Values
from mast3r_ros.errors import EngineFailed, EngineUnavailable, InvalidInput, ModelError
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import DECODER, ENCODER, TRANSPOSED, Shape
from mast3r_ros.models.folder import find_model
from mast3r_ros.models.networks.precision import to_precision
from mast3r_ros.models.networks.stages import build_stages

_BAKED = 'encoder.baked_'  # DUNE's positions: the graphs have them, the settings do not
_TYPES = {1: torch.float32, 10: torch.float16, 16: torch.bfloat16}  # by ONNX's numbers


@dataclass(frozen=True)
class _Graph:
    """What a stage's graph tells: the names of its ports, in order, and its tensors."""

    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    tensors: Mapping[str, Tensor]


@dataclass(frozen=True)
class _Stage:
    module: nn.Module
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


class PyTorchEngine(NetworkEngine):
    """Runs the stages of a model folder with PyTorch, on a card if there is one.

    On the processor the weights are the file's own pages: they cost no memory of this process,
    however many sizes are used.
    """

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        config = config or MASt3RRuntimeConfig()
        self._onnx = _onnx()
        self._device = _device(config.runtime.device)
        self._num_threads = config.runtime.num_threads or usable_cores()
        name = BackendType.PYTORCH.value
        folder = find_model(config, name, _precisions(self._device))
        super().__init__(name, config, folder, str(self._device))
        self._architecture = _architecture(self.folder.description.architecture)
        self._weights = _mapped(self.folder.weights_path)
        self._stages: dict[tuple[str, Shape, Shape], _Stage] = {}
        self._on_device: dict[str, nn.Parameter] = {}
        self._warm_up()
        self._check_at_load(config, keep=self._device.type == 'cpu')

    def to_host(self, value: Any) -> NDArray[Any]:
        """Return a stage's output as an array in this process's memory."""
        array: NDArray[Any] = value.float().cpu().numpy()
        return array

    def describe(self) -> EngineInfo:
        """Say what runs and on what."""
        device = str(self._device)
        if self._device.type == 'cpu':
            device = f'cpu, {self._num_threads} threads'
        model = self.folder.description
        versions = {
            'torch': str(torch.__version__),
            'model': f'{model.variant.value} {model.weights.sha256[:12]}',
        }
        return EngineInfo(self._name, device, model.precision.value, versions)

    def module(self, stage: str, shape_1: Shape, shape_2: Shape) -> nn.Module:
        """Return a stage as a module, with its weights, to make something else of it."""
        self._begin()
        self._load_whole(stage, shape_1, shape_2)
        return self._stages[stage, shape_1, shape_2].module

    def _drop_heads(self) -> None:
        for key in [key for key in self._stages if key[0] not in (ENCODER, DECODER)]:
            module = self._stages.pop(key).module
            for name, _ in module.named_parameters():
                self._on_device.pop(name, None)

    def _unload(self) -> None:
        self._stages.clear()
        self._on_device.clear()

    def _begin(self) -> None:
        super()._begin()
        if torch.get_num_threads() != self._num_threads:  # it is a number of each thread
            torch.set_num_threads(self._num_threads)

    def _load(self, stage: str, shape_1: Shape, shape_2: Shape) -> bool:
        key = (stage, shape_1, shape_2)
        if key in self._stages:
            return False
        path = self.folder.stage_path(stage, shape_1, shape_2)
        graph = self._read(path)
        with torch.device('meta'):  # the weights come from the file
            stages = build_stages(self._architecture, shape_1, shape_2)
        stages = to_precision(stages, self.folder.description.precision)
        module = stages.encoder_1 if stage == ENCODER else getattr(stages, stage)
        self._fill(module, graph, path)
        module.to(self._device)
        for part in module.modules():
            part.register_forward_pre_hook(lambda *_: self._check_cancelled())
        self._stages[key] = _Stage(module, graph.inputs, graph.outputs)
        return True

    def _run(self, stage: str, shape_1: Shape, shape_2: Shape, values: Values) -> Values:
        ready = self._stages[stage, shape_1, shape_2]
        try:
            inputs = [self._as_tensor(values[name]) for name in ready.inputs]
            with torch.inference_mode(), _exact_convolutions():
                made = ready.module(*inputs)
        except (RuntimeError, KeyError) as error:
            if isinstance(error, EngineFailed):
                raise
            raise EngineFailed(f'PyTorch failed in {stage}: {error}') from error
        outputs = made if isinstance(made, tuple) else (made,)
        return dict(zip(ready.outputs, outputs, strict=True))

    def _as_tensor(self, value: Any) -> Tensor:
        tensor = value if isinstance(value, Tensor) else torch.from_numpy(np.array(value))
        return tensor.to(self._device)

    def _read(self, path: Path) -> _Graph:
        """Read a graph's ports and tensors; the large ones are views of the weights file."""
        try:
            graph = self._onnx.load(str(path), load_external_data=False).graph
            tensors = dict(
                _as_module_has_it(item.name, self._tensor(item))
                for item in graph.initializer
                if item.data_type in _TYPES
            )
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f'cannot read {path}: {error}; export the model anew') from error
        except Exception as error:  # of protobuf, whose errors have no common base
            raise ModelError(f'{path} is no ONNX graph; export the model anew') from error
        return _Graph(
            tuple(item.name for item in graph.input),
            tuple(item.name for item in graph.output),
            tensors,
        )

    def _tensor(self, item: Any) -> Tensor:
        shape, kind = tuple(item.dims), _TYPES[item.data_type]
        if not item.external_data:
            values = self._onnx.numpy_helper.to_array(item)
            return torch.from_numpy(np.array(values, np.float32)).to(kind)
        place = {entry.key: entry.value for entry in item.external_data}
        count = int(np.prod(shape, dtype=np.int64))
        offset = int(place['offset'])
        if offset + count * kind.itemsize > len(self._weights):
            raise ValueError(f'{item.name} lies behind the end of the weights')
        return torch.frombuffer(self._weights, dtype=kind, count=count, offset=offset).view(shape)

    def _fill(self, module: nn.Module, graph: _Graph, path: Path) -> None:
        """Give a module its weights; those that several sizes share are on the device once."""
        for owner_name, owner in module.named_modules():
            for part, empty in list(owner.named_parameters(recurse=False)):
                name = f'{owner_name}.{part}'
                tensor = graph.tensors.get(name)
                if tensor is None or tensor.shape != empty.shape:
                    raise ModelError(
                        f'{path} has no {name} of {tuple(empty.shape)}: it is of another version; '
                        'export the model anew'
                    )
                if name not in self._on_device:
                    moved = tensor.to(self._device, empty.dtype)
                    self._on_device[name] = nn.Parameter(moved, requires_grad=False)
                setattr(owner, part, self._on_device[name])
            for part, buffer in list(owner.named_buffers(recurse=False)):
                name = f'{owner_name}.{part}'
                if name.startswith(_BAKED) and name in graph.tensors:
                    buffer.copy_(graph.tensors[name].view_as(buffer))
                elif name.startswith(_BAKED):
                    raise ModelError(f'{path} has no {name}; export the model anew')


def _as_module_has_it(name: str, tensor: Tensor) -> tuple[str, Tensor]:
    """Return a stored tensor by the name and in the order that it has in a module."""
    if name.endswith(TRANSPOSED):
        return name.removesuffix(TRANSPOSED), tensor.t()
    return name, tensor


def _exact_convolutions() -> Any:
    """Return a context in which float32 is float32 on a card; cuDNN is off unless it is named."""
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


def _onnx() -> Any:
    try:
        import onnx
    except ImportError as error:
        raise EngineUnavailable(
            f"onnx cannot be imported: {error}; pip install 'mast3r_ros[export]'"
        ) from error
    return onnx


def _device(index: int) -> torch.device:
    if index < 0:
        return torch.device('cpu')
    if torch.cuda.is_available():
        found = torch.cuda.device_count()
        if index >= found:
            raise EngineUnavailable(
                f'runtime.device is {index} and PyTorch sees {found} cards; the first is 0'
            )
        return torch.device('cuda', index)
    return torch.device('mps' if torch.backends.mps.is_available() else 'cpu')


def _precisions(device: torch.device) -> tuple[Precision, ...]:
    """Return what PyTorch runs on a device, fastest first."""
    if device.type != 'cpu':
        return (Precision.FP16, Precision.BF16, Precision.FP32)
    has_bf16 = getattr(torch.cpu, '_is_avx512_bf16_supported', lambda: False)
    if has_bf16():
        return (Precision.BF16, Precision.FP32, Precision.FP16)
    return (Precision.FP32, Precision.BF16, Precision.FP16)


def _architecture(values: Mapping[str, Any]) -> Architecture:
    try:
        return Architecture.from_dict(values)
    except InvalidInput as error:
        raise ModelError(f'the description of the model is of another version: {error}') from error


def _mapped(path: Path) -> mmap.mmap:
    """Map the weights; nobody writes to them, and writes would not reach the file."""
    with open(path, 'rb') as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
