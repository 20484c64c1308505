# SPDX-License-Identifier: Apache-2.0
"""The TensorRT engine calls nothing that TensorRT 10.3, 11.4 or CUDA lack; so do the stand-ins."""

from __future__ import annotations

import ast
import json
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from cuda_python_double import FACTS
from network_engines import pictures
from simulated_card import Mark, SimulatedCard, Violation
from tensorrt_double import VERSIONS, Double
from tensorrt_world import simulated_world
from tiny_model import quick_model

import mast3r_ros.engines.tensorrt_engine as engine_folder
from mast3r_ros.engines.tensorrt_engine.engine import TensorRtEngine


def test_it_uses_nothing_that_one_of_the_versions_lacks(tmp_path: Path) -> None:
    """The same calls, of the same classes, with both; each was held against its signature."""
    used = []
    for version in VERSIONS:
        with simulated_world(tmp_path / version, version) as world:
            with TensorRtEngine(world.settings(quick_model())) as engine:
                engine.infer(*pictures())
            used.append(world.tensorrt.used)
    assert used[0] == used[1]
    assert len(used[0]) > 30
    for version in VERSIONS:
        facts = json.loads((FACTS / f'tensorrt_{version}.json').read_text(encoding='utf-8'))
        assert all(member in facts[owner] for owner, member in used[0])


@pytest.mark.parametrize('version', VERSIONS)
def test_every_name_of_tensorrt_in_the_sources_is_part_of_its_interface(version: str) -> None:
    """Also on ways that no test goes."""
    facts = json.loads((FACTS / f'tensorrt_{version}.json').read_text(encoding='utf-8'))
    names = set()
    for path in Path(engine_folder.__path__[0]).glob('*.py'):
        for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
            if isinstance(node, ast.Attribute):
                words = ast.unparse(node).removeprefix('self._').split('.')
                if words[0] == 'library' and len(words) > 1 and not words[1].startswith('_'):
                    names.add('.'.join(words[1:]))
    assert {'Runtime', 'BuilderFlag.TF32', 'TensorIOMode.INPUT'} <= names
    for name in names:
        owner, _, rest = name.partition('.')
        assert owner in facts, name
        member = rest.partition('.')[0]
        assert not member or member in facts[owner], name


def test_the_stand_in_refuses_what_the_interface_lacks() -> None:
    """Or none of the tests here would say anything."""
    double = Double('11.4', SimulatedCard())
    with pytest.raises(Violation, match='BuilderFlag has no FP16'):
        _ = double.module.BuilderFlag.FP16
    with pytest.raises(Violation, match='fits none of'):
        double.check('IExecutionContext', 'execute_async_v3', (1, 2), {})
    with pytest.raises(Violation, match='fits none of'):
        double.check('IExecutionContext', 'set_tensor_address', ('image', 'there'), {})
    with pytest.raises(Violation, match='is no method'):
        double.check('IExecutionContext', 'execute_v2_fast', (), {})
    config = double.hold('IBuilderConfig', object())
    with pytest.raises(Violation, match='cannot be set'):
        config.num_optimization_profiles = 2


def test_the_functions_of_cuda_are_those_of_the_installed_cuda_python() -> None:
    runtime = pytest.importorskip('cuda.bindings.runtime', reason='needs an NVIDIA GPU machine')
    facts = json.loads((FACTS / 'cuda_runtime.json').read_text(encoding='utf-8'))
    for name, arguments in facts.items():
        head = getattr(runtime, name).__doc__.partition('\n')[0]
        inner = head[head.index('(') + 1 : head.rindex(')')]
        found = [part.split(':')[0].split()[-1] for part in inner.split(',') if part.strip()]
        assert found == arguments, name


def test_every_call_of_cuda_in_the_sources_is_among_the_checked_ones() -> None:
    facts = json.loads((FACTS / 'cuda_runtime.json').read_text(encoding='utf-8'))
    path = Path(engine_folder.__path__[0]) / 'cuda_python.py'
    words: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding='utf-8'))):
        if isinstance(node, ast.Attribute):
            words.add(node.attr)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            words.add(node.value)
    # Flags and kinds of errors are named by attribute too; of functions none may be unknown.
    called = {word for word in words if word.startswith('cuda') and word.isidentifier()}
    others = {'cuda', 'cudaError_t', 'cudaMemcpyKind', 'cudaStreamCaptureMode'}
    others |= {word for word in called if word.startswith(('cudaMemcpy', 'cudaError'))}
    others |= {'cudaStreamNonBlocking', 'cudaEventDisableTiming', 'cudaSuccess'}
    others |= {'cudaStreamCaptureModeThreadLocal', 'cudaEventRecordExternal'}
    assert called - (others - facts.keys()) == facts.keys()


def test_the_simulated_card_refuses_in_a_graph_what_cuda_does() -> None:
    card = SimulatedCard()
    card.enter()
    card.begin_capture()
    for forbidden in (lambda: card.allocate(256), lambda: card.allocate_pinned(256), card.wait):
        with pytest.raises(Violation, match='while a graph is captured'):
            forbidden()
    with pytest.raises(Violation, match='is never reached'):
        card.record(Mark())
    mark = Mark()
    card.record_in_graph(mark)
    graph = card.end_capture()
    for _ in range(2):  # every launch sets it anew
        card.launch(graph)
        assert not mark.reached
        card.wait()
        assert mark.reached
    with pytest.raises(Violation, match='while none is captured'):
        card.record_in_graph(mark)
