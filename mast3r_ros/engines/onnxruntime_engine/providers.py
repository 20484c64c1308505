# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime's own ways to run a graph, and whether the one that is asked for is really had."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from mast3r_ros.config import Precision
from mast3r_ros.errors import EngineUnavailable


@dataclass(frozen=True)
class Provider:
    """One execution provider.

    :param name: ONNX Runtime's name for it.
    :param device: where its tensors live, as ONNX Runtime calls it.
    :param precisions: what it runs, best first.
    :param package: the pip package that has it.
    :param library: its file in that package, for those that need more libraries.
    :param beside: what may run the parts that this one leaves; on the same device.
    :param engines: folder of what it builds of graphs, with a folder for each model's weights.
    :param replay: options that make it capture a run as a graph of the card and replay that.
    """

    name: str
    device: str
    device_index: int
    precisions: tuple[Precision, ...]
    package: str
    options: Mapping[str, str] = field(default_factory=dict)
    beside: tuple[Provider, ...] = ()
    engines: Path | None = None
    library: str = ''
    replay: Mapping[str, str] = field(default_factory=dict)

    @property
    def is_processor(self) -> bool:
        """Whether it is the processor, which needs no other to fall back on."""
        return self.device == 'cpu'

    @property
    def place(self) -> str:
        """The device with its number: ``cpu``, ``cuda:0``."""
        return self.device if self.is_processor else f'{self.device}:{self.device_index}'

    def for_weights(self, digest: str) -> Provider:
        """Return it with a folder for what it builds of one model, which is made here.

        ONNX Runtime knows a built engine by the graph's name and layers alone, which other
        weights share.

        :param digest: of the weights, as the model's description has it.
        :raises EngineUnavailable: the folder cannot be made.
        """
        if self.engines is None:
            return self
        # A description may say anything: its text is no name of a folder.
        folder = self.engines / hashlib.sha256(digest.encode()).hexdigest()[:16]
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise EngineUnavailable(
                f'{self.name} keeps what it builds in {folder}, which cannot be made: '
                f'{error.strerror}; choose another cache_dir'
            ) from error
        places = ('trt_engine_cache_path', 'trt_timing_cache_path')
        return replace(self, options={**self.options, **dict.fromkeys(places, str(folder))})

    def check(self, available: Sequence[str]) -> None:
        """Raise unless this build of ONNX Runtime has the provider."""
        if self.name not in available:
            raise EngineUnavailable(
                f'this onnxruntime has no {self.name}, only {", ".join(available)}; '
                f'uninstall it and pip install {self.package}'
            )

    def check_active(self, active: Sequence[str]) -> None:
        """Raise unless a session really took the provider."""
        if self.name not in active:
            raise EngineUnavailable(
                f'ONNX Runtime did not take {self.name} and runs on {", ".join(active)} instead; '
                'its CUDA and cuDNN libraries or the driver are missing or of another version'
            )


def processor() -> Provider:
    """Return the provider that runs on the processor.

    Half floats are no faster there than whole ones, and it has no bfloat16.
    """
    return Provider(
        name='CPUExecutionProvider',
        device='cpu',
        device_index=0,
        precisions=(Precision.INT8, Precision.FP32, Precision.FP16),
        package='onnxruntime',
    )


def cuda(index: int) -> Provider:
    """Return the provider that runs on an NVIDIA card.

    :param index: of the card.
    """
    return Provider(
        name='CUDAExecutionProvider',
        device='cuda',
        device_index=index,
        precisions=(Precision.FP16, Precision.FP32),
        package='onnxruntime-gpu',
        library='libonnxruntime_providers_cuda.so',
        options={
            'device_id': str(index),
            'use_tf32': '0',  # fp32 means fp32
            'cudnn_conv_algo_search': 'HEURISTIC',
            'arena_extend_strategy': 'kSameAsRequested',
        },
        replay={'enable_cuda_graph': '1'},
    )


def tensorrt(index: int, cache_folder: Path) -> Provider:
    """Return the provider that builds TensorRT engines of the graphs.

    :param index: of the card.
    :param cache_folder: where the engines are kept; the first start takes minutes.
    """
    helper = cuda(index)
    return Provider(
        name='TensorrtExecutionProvider',
        device=helper.device,
        device_index=index,
        precisions=helper.precisions,
        package='onnxruntime-gpu',
        library='libonnxruntime_providers_tensorrt.so',
        options={
            'device_id': str(index),
            # The number format stands in the graph.
            'trt_fp16_enable': '0',
            'trt_layer_norm_fp32_fallback': '1',
            'trt_engine_cache_enable': '1',
            'trt_timing_cache_enable': '1',
        },
        beside=(helper,),
        engines=cache_folder / 'engines' / 'onnxruntime',
        replay={'trt_cuda_graph_enable': '1'},
    )


def as_argument(provider: Provider, replays: bool = False) -> list[Any]:
    """Return the provider as a session takes it; nothing on another device stands beside it.

    :param replays: whether runs are captured; who asks for it binds fixed places.
    """
    options = {**provider.options, **(provider.replay if replays else {})}
    beside = [(each.name, dict(each.options)) for each in provider.beside]
    return [(provider.name, options), *beside]
