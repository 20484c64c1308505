# SPDX-License-Identifier: Apache-2.0
"""Runs exported graphs one at a time with ONNX Runtime on the processor, to check them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from mast3r_ros.errors import EngineFailed
from mast3r_ros.export.answers import RunStage, Tensors

_ERRORS_ONLY = 3  # of ONNX Runtime's log


class CannotRun(EngineFailed):
    """ONNX Runtime has no implementation of something in a graph on this machine."""


def can_run_graphs() -> bool:
    """Return whether ONNX Runtime is installed."""
    return find_spec('onnxruntime') is not None


def graph_runner(path_of: Callable[[str, int], Path]) -> RunStage:
    """Return what runs stages from their files; each is loaded for one call and freed again.

    :param path_of: gives the file of a stage for view 1 or 2.
    """

    def run(stage: str, view: int, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
        return run_graph(path_of(stage, view), inputs)

    return run


def run_graph(path: Path, inputs: Mapping[str, NDArray[Any]]) -> Tensors:
    """Load a graph, run it once and return its outputs by name."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as states

    options = onnxruntime.SessionOptions()
    options.log_severity_level = _ERRORS_ONLY
    options.inter_op_num_threads = 1
    try:
        session = onnxruntime.InferenceSession(path, options, providers=['CPUExecutionProvider'])
        values = session.run(None, dict(inputs))
    except (states.NotImplemented, states.InvalidGraph) as error:
        raise CannotRun(f'ONNX Runtime cannot run {path.name} here: {error}') from error
    except (states.Fail, states.InvalidArgument, states.RuntimeException) as error:
        raise EngineFailed(f'ONNX Runtime failed on {path.name}: {error}') from error
    return dict(zip([output.name for output in session.get_outputs()], values, strict=True))
