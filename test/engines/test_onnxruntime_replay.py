# SPDX-License-Identifier: Apache-2.0
"""ONNX Runtime captures a run and replays it on a card. What that needs is tested without one:
fixed places in memory, features of their own, and going on without where it cannot be had.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

import onnxruntime
from network_engines import pictures, settings
from tiny_model import quick_model

from mast3r_ros.config import BackendType
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import View
from mast3r_ros.engines.onnxruntime_engine.engine import OnnxRuntimeEngine, ProcessorEngine
from mast3r_ros.engines.onnxruntime_engine.providers import (
    Provider,
    as_argument,
    cuda,
    processor,
    tensorrt,
)
from mast3r_ros.engines.onnxruntime_engine.sessions import Sessions
from mast3r_ros.errors import EngineFailed, EngineUnavailable

REPLAY = {'capture_for_test': '1'}  # an option that only the stand-ins below look at
FIELDS = ('pts3d_1', 'pts3d_2', 'conf_1', 'conf_2', 'desc_1', 'desc_2', 'desc_conf_1')


def replaying_processor() -> Provider:
    """Return the processor, taken for a device that replays runs."""
    return replace(processor(), replay=REPLAY)


@pytest.fixture
def engine() -> Iterator[OnnxRuntimeEngine]:
    config = settings(quick_model())
    with OnnxRuntimeEngine(config, BackendType.ONNXRUNTIME, replaying_processor()) as made:
        yield made


class Library:
    """ONNX Runtime, but for its sessions.

    :param refuses: an error that opening a session with captured runs raises.
    :param fails: how many runs of such sessions raise an error.
    """

    def __init__(self, refuses: str = '', fails: int = 0) -> None:
        self._refuses = refuses
        self.fails = fails
        self.opened: list[bool] = []  # whether each captures

    def __getattr__(self, name: str) -> Any:
        return getattr(onnxruntime, name)

    def InferenceSession(self, *arguments: Any, providers: Any, **options: Any) -> Any:
        captures = any(REPLAY.items() <= each.items() for _, each in providers)
        self.opened.append(captures)
        if captures and self._refuses:
            raise RuntimeError(self._refuses)
        session = onnxruntime.InferenceSession(*arguments, providers=providers, **options)
        return Session(session, self) if captures else session


class Session:
    """A session that captures its runs, or fails to."""

    def __init__(self, session: Any, library: Library) -> None:
        self._session = session
        self._library = library

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def run_with_iobinding(self, *arguments: Any) -> None:
        if self._library.fails:
            self._library.fails -= 1
            raise RuntimeError(
                'CUDA failure 900: operation not permitted when stream is capturing'
            )
        self._session.run_with_iobinding(*arguments)


def run_encoder(library: Any) -> Any:
    """Encode a picture with the quick model's encoder; return the session and its tokens."""
    path = quick_model() / '84x112_encoder.onnx'
    session = Sessions(library, replaying_processor(), 1).load('encoder', path)
    image = np.full((1, 84, 112, 3), 99, np.uint8)
    values = {'image': onnxruntime.OrtValue.ortvalue_from_numpy(image)}
    return session, session.run(values, onnxruntime.RunOptions())['tokens'].numpy()


def answers(engine: Any, pairs: list[tuple[int, int]]) -> list[InferenceResult]:
    """Encode three views, then answer pairs of them, in turn."""
    one, two = pictures()
    views = [View(one), View(two), View(np.ascontiguousarray(one[:, ::-1]))]
    features = engine.encode([engine.prepare(view) for view in views])
    return [
        engine.decode([(features[first], features[second], None)], Output.ALL)[0]
        for first, second in pairs
    ]


def test_replayed_pairs_answer_the_same_and_encoding_leaves_earlier_features_alone(
    engine: OnnxRuntimeEngine,
) -> None:
    pairs = [(0, 1), (1, 2), (0, 1), (2, 0)]
    with ProcessorEngine(settings(quick_model())) as usual:
        wanted = answers(usual, pairs)
    for found, right in zip(answers(engine, pairs), wanted, strict=True):
        for field in FIELDS:
            np.testing.assert_array_equal(getattr(found, field), getattr(right, field))
    loaded = [session for sizes in engine._sessions._loaded.values() for session in sizes.values()]
    assert len(loaded) == 6
    assert all(session.replays for session in loaded)
    assert engine.replays_pairs  # so the check at load asks more than once


def test_every_run_reads_and_writes_the_same_places(monkeypatch: pytest.MonkeyPatch) -> None:
    session, first = run_encoder(onnxruntime)
    bindings = []
    inner = session._session

    class Watched:
        def run_with_iobinding(self, binding: Any, options: Any) -> None:
            bindings.append(binding)
            inner.run_with_iobinding(binding, options)

    monkeypatch.setattr(session, '_session', Watched())
    for grey in (0, 99):
        image = onnxruntime.OrtValue.ortvalue_from_numpy(np.full((1, 84, 112, 3), grey, np.uint8))
        again = session.run({'image': image}, onnxruntime.RunOptions())['tokens'].numpy()
    assert bindings[0] is bindings[1]
    np.testing.assert_array_equal(first, again)


def test_only_cards_are_asked_to_capture_and_only_where_places_are_fixed(tmp_path: Path) -> None:
    (_, with_graphs), *_ = as_argument(cuda(0), replays=True)
    assert with_graphs['enable_cuda_graph'] == '1'
    (_, own), (_, helper) = as_argument(tensorrt(0, tmp_path), replays=True)
    assert own['trt_cuda_graph_enable'] == '1'
    assert 'enable_cuda_graph' not in helper  # it runs nothing of a graph that is captured
    assert 'enable_cuda_graph' not in as_argument(cuda(0))[0][1]
    assert not processor().replay


def test_a_session_that_cannot_capture_runs_without_and_says_so(
    caplog: pytest.LogCaptureFixture,
) -> None:
    _, wanted = run_encoder(onnxruntime)
    library = Library(refuses='all compute graph nodes have not been partitioned')
    with caplog.at_level(logging.WARNING):
        session, tokens = run_encoder(library)
    assert library.opened == [True, False]
    assert not session.replays
    assert 'without captured graphs' in caplog.text
    assert 'have not been partitioned' in caplog.text
    np.testing.assert_array_equal(tokens, wanted)


def test_a_capture_that_fails_costs_no_answer(caplog: pytest.LogCaptureFixture) -> None:
    _, wanted = run_encoder(onnxruntime)
    library = Library(fails=1)
    with caplog.at_level(logging.WARNING):
        session, tokens = run_encoder(library)
    assert library.opened == [True, False]
    assert not session.replays
    assert 'when stream is capturing' in caplog.text
    np.testing.assert_array_equal(tokens, wanted)


def test_a_replay_that_fails_later_is_an_engine_s_failure() -> None:
    library = Library()
    session, _ = run_encoder(library)
    library.fails = 1
    image = onnxruntime.OrtValue.ortvalue_from_numpy(np.zeros((1, 84, 112, 3), np.uint8))
    with pytest.raises(EngineFailed, match=r'ONNX Runtime failed in 84x112_encoder\.onnx: CUDA'):
        session.run({'image': image}, onnxruntime.RunOptions())
    assert session.replays  # one failure is no reason to go without


@pytest.mark.filterwarnings('ignore:Specified provider')
def test_a_provider_that_fails_anyhow_is_refused_as_ever() -> None:
    broken = replace(replaying_processor(), name='NoSuchExecutionProvider')
    with pytest.raises(EngineUnavailable, match='Unknown Provider Type'):
        Sessions(onnxruntime, replace(broken, device='cuda'), 1).load(
            'encoder', quick_model() / '84x112_encoder.onnx'
        )


def test_an_onnxruntime_that_cannot_copy_on_the_device_runs_without() -> None:
    class OldValue:
        @staticmethod
        def ortvalue_from_numpy(_array: Any) -> Any:
            return OldValue()

        def update_inplace(self, data: Any) -> None:
            raise TypeError(f'incompatible function arguments: {type(data)}')

    library = Library()
    library.OrtValue = OldValue  # type: ignore[attr-defined]
    session, _ = run_encoder(library)
    assert library.opened == [False]
    assert not session.replays
