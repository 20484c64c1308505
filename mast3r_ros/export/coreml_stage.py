# SPDX-License-Identifier: Apache-2.0
"""One stage of a network as a Core ML package, written on any machine.

The number formats are those of the network in PyTorch: the converter may not choose. Between
stages values are float32, which holds every float16 as it is.
"""

from __future__ import annotations

import contextlib
import importlib
import io
import logging
import warnings
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from mast3r_ros.engines.library_errors import first_line
from mast3r_ros.errors import EngineUnavailable, ModelError
from mast3r_ros.export.preprocess_graph import FRAME
from mast3r_ros.export.stage_ports import IMAGE, Ports

_PICTURES = (IMAGE, FRAME)  # go in as images
_KNOWN = 'coremltools 9.0 with PyTorch 2.13'  # seen to work
_aten = torch.ops.aten


class OfPlanes(nn.Module):
    """An encoder of pictures as Core ML gives them: colours 0 to 255, one plane each.

    The encoder's own normalisation follows, so a picture's bytes go in unchanged.
    """

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, planes: Tensor) -> Tensor:
        """Return tokens of (1, 3, H, W)."""
        tokens: Tensor = self.encoder(planes.permute(0, 2, 3, 1))
        return tokens


def require_coreml_tools() -> Any:
    """Import the converter.

    :raises EngineUnavailable: it is not installed.
    """
    if find_spec('coremltools') is None:
        raise EngineUnavailable(
            'a conversion for Core ML needs coremltools, which this Python lacks; '
            "pip install 'mast3r_ros[coreml]'"
        )
    with _quietly():
        return importlib.import_module('coremltools')


def write_package(
    module: nn.Module, ports: Ports, path: Path, made: type[np.generic] = np.float32
) -> None:
    """Convert a stage, at the precision that it was brought to, into a new package.

    :param made: type of the outputs.
    :raises ModelError: these versions of the libraries cannot; the sentence names some that can.
    """
    tools = require_coreml_tools()
    if any(name in _PICTURES for name in ports.inputs):
        module = OfPlanes(module)
    try:
        with _quietly():
            package = _convert(tools, module.eval(), ports, made)
            package.save(str(path))
    except Exception as error:  # of many kinds
        raise ModelError(
            f'coremltools {tools.__version__} cannot convert {path.stem} with PyTorch '
            f'{torch.__version__}: {first_line(error)}; install {_KNOWN}'
        ) from error
    _check(package.get_spec(), ports, path)


def _convert(tools: Any, module: nn.Module, ports: Ports, made: type[np.generic]) -> Any:
    inputs, examples = [], []
    for name, shape in ports.inputs.items():
        if name in _PICTURES:
            shape = (1, 3, *shape[1:3])
            inputs.append(tools.ImageType(name, shape, color_layout=tools.colorlayout.RGB))
        else:
            inputs.append(tools.TensorType(name, shape, dtype=np.float32))
        examples.append(torch.zeros(shape))
    program = torch.export.export(module, tuple(examples)).run_decompositions({})
    _make_plain(program.graph_module)
    return tools.convert(
        program,
        convert_to='mlprogram',
        inputs=inputs,
        outputs=[tools.TensorType(name, dtype=made) for name in ports.outputs],
        minimum_deployment_target=tools.target.macOS13,
        compute_precision=tools.precision.FLOAT32,  # keeps the types that are there
        skip_model_load=True,
    )


def _make_plain(program: torch.fx.GraphModule) -> None:
    """Take out what the converter does not know, and what it would compute in another type."""
    graph = program.graph
    for node in list(graph.nodes):
        if node.target is _aten.alias.default:
            node.replace_all_uses_with(node.args[0])
            graph.erase_node(node)
        elif _is_half_times_number(node):
            # It makes the number float32, and with it all that follows, up to the next cast.
            with graph.inserting_after(node):
                half = graph.call_function(
                    _aten._to_copy.default, (node,), {'dtype': torch.float16}
                )
            half.meta = dict(node.meta)
            node.replace_all_uses_with(half, delete_user_cb=lambda user, made=half: user != made)
    program.recompile()


def _is_half_times_number(node: torch.fx.Node) -> bool:
    value = node.meta.get('val')
    if node.target is not _aten.mul.Tensor or not isinstance(value, Tensor):
        return False
    return value.dtype is torch.float16 and any(isinstance(item, float) for item in node.args)


def _check(spec: Any, ports: Ports, path: Path) -> None:
    """Raise unless the package takes and makes what the stage does."""
    asked = {item.name for item in spec.description.input}
    made = {item.name for item in spec.description.output}
    if asked != set(ports.inputs) or made != set(ports.outputs):
        raise ModelError(
            f'{path.name} turns {", ".join(sorted(asked))} into {", ".join(sorted(made))} instead '
            f'of {", ".join(ports.inputs)} into {", ".join(ports.outputs)}; install {_KNOWN}'
        )


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the converter's bars and remarks out of what the user sees."""
    logger = logging.getLogger('coremltools')
    level = logger.level
    logger.setLevel(logging.ERROR)
    nowhere = io.StringIO()
    try:
        with (
            warnings.catch_warnings(),
            contextlib.redirect_stdout(nowhere),
            contextlib.redirect_stderr(nowhere),
        ):
            warnings.simplefilter('ignore')
            yield
    finally:
        logger.setLevel(level)
