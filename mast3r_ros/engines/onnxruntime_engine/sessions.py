# SPDX-License-Identifier: Apache-2.0
"""Sessions of ONNX Runtime: made when first needed, told what may run."""

from __future__ import annotations

import logging
from collections import OrderedDict
from functools import cache
from pathlib import Path
from typing import Any

from mast3r_ros.engines.library_errors import first_line
from mast3r_ros.engines.onnxruntime_engine.providers import Provider
from mast3r_ros.engines.onnxruntime_engine.stage_session import StageSession
from mast3r_ros.models.description import DECODER, ENCODER

_log = logging.getLogger(__name__)

_ERRORS_ONLY = 3  # of ONNX Runtime's log


class Sessions:
    """The sessions of a model that are loaded.

    Each has its own threads, which sleep while it does not run. (The pool that ONNX Runtime can
    share between sessions keeps its threads busy waiting, and cannot be told not to from Python.)
    On the processor they share one arena for what lies between layers: they never run at once.

    :param kept_sizes: of each stage; each session holds its weights.
    """

    def __init__(
        self, library: Any, provider: Provider, num_threads: int, kept_sizes: int = 2
    ) -> None:
        self._library = library
        self._provider = provider
        self._num_threads = num_threads
        self._kept_sizes = kept_sizes
        self._loaded: dict[str, OrderedDict[Path, StageSession]] = {}
        self._loading: Any = None
        self._shares_arena = provider.is_processor and _has_shared_arena(library)

    def get(self, stage: str, path: Path) -> StageSession | None:
        """Return the session of a stage's graph if it is loaded."""
        sizes = self._loaded.get(stage, OrderedDict())
        session = sizes.get(path)
        if session is not None:
            sizes.move_to_end(path)
        return session

    def load(self, stage: str, path: Path) -> StageSession:
        """Load a stage's graph; the size of it that was used longest ago makes room."""
        sizes = self._loaded.setdefault(stage, OrderedDict())
        while len(sizes) >= self._kept_sizes:
            old, _ = sizes.popitem(last=False)
            _log.info('%s makes room for %s', old.name, path.name)
        self._loading = self._options()
        try:
            sizes[path] = StageSession(
                self._library, path, self._loading, self._provider, keeps=stage == ENCODER
            )
        finally:
            self._loading = None
        return sizes[path]

    def cancel_loading(self) -> None:
        """Make a load that runs in another thread end soon."""
        options = self._loading
        stop = getattr(options, 'set_load_cancellation_flag', None)  # since ONNX Runtime 1.21
        if stop is not None:
            stop(True)

    def drop_heads(self) -> None:
        """Free every stage but encoders and decoders."""
        for stage in [name for name in self._loaded if name not in (ENCODER, DECODER)]:
            del self._loaded[stage]

    def close(self) -> None:
        """Free them all."""
        self._loaded.clear()

    def _options(self) -> Any:
        options = self._library.SessionOptions()
        options.log_severity_level = _ERRORS_ONLY
        options.intra_op_num_threads = self._num_threads
        options.inter_op_num_threads = 1
        options.add_session_config_entry('session.intra_op.allow_spinning', '0')
        if self._shares_arena:
            options.add_session_config_entry('session.use_env_allocators', '1')
        if not self._provider.is_processor:
            # A part that the device cannot run is an error, not slow in silence.
            options.add_session_config_entry('session.disable_cpu_ep_fallback', '1')
        return options


@cache
def _has_shared_arena(library: Any) -> bool:
    """Make the process's arena, once; False where this ONNX Runtime cannot."""
    try:
        memory = library.OrtMemoryInfo(
            'Cpu',
            library.OrtAllocatorType.ORT_ARENA_ALLOCATOR,
            0,
            library.OrtMemType.DEFAULT,
        )
        # No limit, grown by just what is asked for; the other two stay at their defaults.
        library.create_and_register_allocator(memory, library.OrtArenaCfg(0, 1, -1, -1))
    except Exception as error:  # too old, or there is somebody's, of which nothing is known
        _log.info('ONNX Runtime keeps an arena for each session: %s', first_line(error))
        return False
    return True
