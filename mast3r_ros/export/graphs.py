# SPDX-License-Identifier: Apache-2.0
"""From a stage of the network to an ONNX graph: traced, folded, every name and shape settled."""

from __future__ import annotations

import contextlib
import functools
import importlib
import io
import logging
import warnings
from collections.abc import Callable, Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from mast3r_ros.errors import EngineUnavailable
from mast3r_ros.export.libraries import require_exporter

if TYPE_CHECKING:
    import onnx_ir as ir

OPSET = 18
_EXPORTER = 'torch.onnx._internal.exporter._registration'
_ROUNDS = 2  # of folding and rewriting: the second finds what the first laid open


def trace(
    stage: nn.Module, inputs: Sequence[Tensor], names_in: Sequence[str], names_out: Sequence[str]
) -> ir.Model:
    """Return the graph of a stage; its initializers share the memory of the parameters.

    :param inputs: tensors of the right shape and type; their values do not matter.
    """
    require_exporter()
    with _quietly(), _operators_read_once():
        program = torch.onnx.export(
            stage,
            tuple(inputs),
            dynamo=True,
            opset_version=OPSET,
            input_names=list(names_in),
            output_names=list(names_out),
            optimize=False,  # see _tidy
            verbose=False,
        )
    if program is None:
        raise EngineUnavailable('this PyTorch has no ONNX exporter; install torch>=2.9')
    model = program.model
    named = (*stage.named_parameters(), *stage.named_buffers())
    _tidy(model, {name for name, _ in named})
    return model


def _tidy(model: ir.Model, named: Collection[str]) -> None:
    """Fold shapes, drop what is unused and keep every parameter under its own name.

    The exporter's own optimisation merges equal tensors, so that a parameter could go by another's
    name; everything but that is done here.
    """
    from onnx_ir.passes import common
    from onnxscript import optimizer, rewriter

    common.InlinePass()(model)
    rules = _rules()
    for _ in range(_ROUNDS):
        optimizer.fold_constants(model)
        rewriter.rewrite(model, rules)
    for tidying in (
        common.RemoveUnusedNodesPass(),
        common.LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0),
        common.CommonSubexpressionEliminationPass(),
        common.IdentityEliminationPass(),
        common.RemoveUnusedNodesPass(),
        common.RemoveUnusedFunctionsPass(),  # type: ignore[no-untyped-call]
        common.RemoveUnusedOpsetsPass(),
        common.OutputFixPass(),
        common.NameFixPass(),
        common.ClearMetadataAndDocStringPass(),
    ):
        tidying(model)
    _merge_constants(model, named)
    _halve_gelu_last(model)
    _forbid_zero_sides(model)


def _rules() -> Any:
    """Return the rewritings that these networks need; trying all known ones takes far longer."""
    try:
        from onnxscript.rewriter.rules.common import reshape_reshape_rule, transpose_transpose_rule
    except ImportError:  # they lie elsewhere in other versions: try all
        return None
    return [transpose_transpose_rule, reshape_reshape_rule]


def _merge_constants(model: ir.Model, named: Collection[str]) -> None:
    """Let equal constants be one: shapes, and the slices of baked tables that folding made.

    :param named: what keeps its name, for others look for it: parameters and baked tables.
    """
    kept: dict[tuple[object, ...], ir.Value] = {}
    for name, value in list(model.graph.initializers.items()):
        tensor = value.const_value
        if tensor is None or name in named:
            continue
        key = (tensor.dtype, tuple(tensor.shape.numpy()), tensor.tobytes())
        if key not in kept:
            kept[key] = value
        elif not value.is_graph_output():
            value.replace_all_uses_with(kept[key])
            del model.graph.initializers[name]


def _halve_gelu_last(model: ir.Model) -> None:
    """Turn x * (0.5 * (1 + erf)) into (x * (1 + erf)) * 0.5: equal bit by bit, for 0.5 is a power
    of two, and the order in which runtimes look for a GELU to run at once.
    """
    for erf in [node for node in model.graph if node.op_type == 'Erf']:
        plus_one = _only_user(erf, 'Add')
        halved = plus_one and _only_user(plus_one, 'Mul')
        product = halved and _only_user(halved, 'Mul')
        if not plus_one or not halved or not product:
            continue
        half = _other_input(halved, plus_one)
        factor = _other_input(product, halved)
        if half.const_value is None or float(half.const_value.numpy()) != 0.5:
            continue
        halved.replace_input_with(0, factor)
        halved.replace_input_with(1, plus_one.outputs[0])
        product.replace_input_with(0, halved.outputs[0])
        product.replace_input_with(1, half)


def _only_user(node: ir.Node, op_type: str) -> ir.Node | None:
    users = [use.node for use in node.outputs[0].uses()]
    return users[0] if [user.op_type for user in users] == [op_type] else None


def _other_input(node: ir.Node, maker: ir.Node) -> ir.Value:
    first, second = node.inputs
    other = second if first is maker.outputs[0] else first
    assert other is not None
    return other


def _forbid_zero_sides(model: ir.Model) -> None:
    """Drop ``allowzero``: no static shape here has a side of 0, and not every engine knows it."""
    for node in model.graph:
        if node.op_type == 'Reshape' and 'allowzero' in node.attributes:
            del node.attributes['allowzero']


@contextlib.contextmanager
def _operators_read_once() -> Iterator[None]:
    """Let the exporter use its table of operators again: it reads it anew for every graph, which
    takes longer than many a stage does.
    """
    registry = getattr(importlib.import_module(_EXPORTER), 'ONNXRegistry', None)
    own = vars(registry).get('from_torchlib') if registry else None
    if registry is None or own is None:  # another PyTorch keeps it elsewhere
        yield
        return
    registry.from_torchlib = functools.partial(_operators, registry.from_torchlib)
    try:
        yield
    finally:
        registry.from_torchlib = own


@functools.cache
def _operators(read: Callable[..., Any], **arguments: Any) -> Any:
    return read(**arguments)


@contextlib.contextmanager
def _quietly() -> Iterator[None]:
    """Keep the exporter's remarks on itself out of what the user sees."""
    loggers = [logging.getLogger(name) for name in ('torch.onnx', 'onnxscript', 'onnx_ir')]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter('ignore')
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
