# SPDX-License-Identifier: Apache-2.0
"""Eight-bit graphs whose ranges are settled beforehand, from pictures.

They are faster than those that find ranges anew for every picture, and as good as the pictures
are like those that come later. NNCF moves what sticks out of the activations into the weights and
finds the ranges; the result has the plain operators QuantizeLinear and DequantizeLinear, which
every runtime knows. Weights depend on the pictures then, so each size keeps its own.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Collection, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.export.bias_correction import correct_biases
from mast3r_ros.export.weights_aside import LightGraph, weights_aside

if TYPE_CHECKING:
    import onnx_ir as ir

_STORED_BYTES = 1024  # smaller constants stay in the graph


def require_quantiser() -> None:
    """Raise, naming what to install, unless NNCF is here."""
    if find_spec('nncf') is None:
        raise EngineUnavailable(
            'a calibrated int8 export needs nncf, which this Python lacks; '
            "pip install 'mast3r_ros[export]', or leave out --calibrate"
        )


def quantise_statically(
    model: ir.Model,
    samples: Sequence[Mapping[str, NDArray[Any]]],
    parameters: Collection[str],
    keep: Collection[str],
    own_names: str,
    scratch: Path,
) -> tuple[ir.Model, list[str]]:
    """Return the graph in eight bits, and the names of its initializers for the weights file.

    :param samples: what the stage gets for some pictures.
    :param parameters: names of the network's own weights, which every size has alike.
    :param keep: names of weights that stay as they are.
    :param own_names: goes before the names of weights that no other graph shares.
    :param scratch: a folder with room for the weights meanwhile.
    """
    import onnx_ir as ir

    before = {
        name: value.const_value.numpy()
        for name, value in model.graph.initializers.items()
        if name in parameters and value.const_value is not None
    }
    with weights_aside(model, scratch) as exact:
        proto = _with_nncf(exact.copy(), samples, _nodes_of(model, keep))
        correct_biases(exact, proto, samples)
    quantised = ir.from_proto(proto)
    return quantised, _name_weights(quantised, before, own_names)


def _with_nncf(graph: LightGraph, samples: Sequence[Mapping[str, Any]], ignored: list[str]) -> Any:
    """Return the model in eight bits, with its weights in it."""
    require_quantiser()
    import nncf

    levels = {name: logging.getLogger(name).level for name in ('nncf', 'openvino')}
    nncf.set_log_level(logging.ERROR)
    advanced = nncf.AdvancedQuantizationParameters(
        disable_bias_correction=True, backend_params={'external_data_dir': str(graph.folder)}
    )
    try:
        with contextlib.redirect_stdout(io.StringIO()):  # it draws progress there
            return nncf.quantize(
                graph.proto,
                nncf.Dataset(list(samples)),
                preset=nncf.QuantizationPreset.MIXED,
                model_type=nncf.ModelType.TRANSFORMER,
                subset_size=len(samples),
                ignored_scope=nncf.IgnoredScope(names=ignored),
                advanced_parameters=advanced,
            )
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)


def _nodes_of(model: ir.Model, weights: Collection[str]) -> list[str]:
    """Return the names of the nodes that use some weights."""
    return [
        use.node.name
        for name, value in model.graph.initializers.items()
        if name in weights
        for use in value.uses()
        if use.node.name
    ]


def _name_weights(
    model: ir.Model, before: Mapping[str, NDArray[Any]], own_names: str
) -> list[str]:
    """Return the large initializers; those that are not as they were get names of their own."""
    names = []
    for name, value in list(model.graph.initializers.items()):
        if value.const_value is None:
            continue
        values = value.const_value.numpy()
        if name in before and np.array_equal(values, before[name]):
            names.append(name)
        elif values.nbytes >= _STORED_BYTES:
            value.name = f'{own_names}.{name}'
            names.append(value.name)
    return names
