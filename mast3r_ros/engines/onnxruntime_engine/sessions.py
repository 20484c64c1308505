# SPDX-License-Identifier: Apache-2.0
"""Sessions of ONNX Runtime: made when first needed, told what may run, their errors in words."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

from mast3r_ros.engines.onnxruntime_engine.providers import Provider, as_argument
from mast3r_ros.errors import EngineCancelled, EngineFailed, EngineUnavailable, ModelError
from mast3r_ros.models.description import DECODER, ENCODER

_log = logging.getLogger(__name__)

_ERRORS_ONLY = 3  # of ONNX Runtime's log
_PROVIDER_ERRORS = ('RuntimeError', 'ValueError', 'EPFail')


class StageSession:
    """One stage of one size.

    :param library: the module ``onnxruntime``.
    """

    def __init__(self, library: Any, path: Path, options: Any, provider: Provider) -> None:
        self._library = library
        self._provider = provider
        try:
            # Without the last argument it would try again with other providers, by itself.
            self._session = library.InferenceSession(
                str(path), options, providers=as_argument(provider), enable_fallback=0
            )
        except Exception as error:
            raise _load_error(error, path, provider) from error
        self._session.disable_fallback()  # of runs, where an old library ignored the above
        provider.check_active(self._session.get_providers())
        self._inputs = {item.name: tuple(item.shape) for item in self._session.get_inputs()}
        self._outputs = [item.name for item in self._session.get_outputs()]
        self._name = path.name

    def run(self, values: Mapping[str, Any], options: Any) -> dict[str, Any]:
        """Return the outputs; both sides are OrtValues, the outputs on the provider's device."""
        binding = self._session.io_binding()
        for name, shape in self._inputs.items():
            value = values.get(name)
            if value is None or tuple(value.shape()) != shape:
                found = 'nothing' if value is None else f'{tuple(value.shape())}'
                raise ModelError(
                    f'{self._name} takes {name} {shape} and gets {found}: the stages of this '
                    'model do not fit each other; export it anew'
                )
            binding.bind_ortvalue_input(name, value)
        for name in self._outputs:
            binding.bind_output(name, self._provider.device, self._provider.device_index)
        try:
            self._session.run_with_iobinding(binding, options)
        except Exception as error:
            if options.terminate:
                raise EngineCancelled('ONNX Runtime was cancelled while it ran') from None
            raise EngineFailed(
                f'ONNX Runtime failed in {self._name}: {first_line(error)}'
            ) from error
        return dict(zip(self._outputs, binding.get_outputs(), strict=True))


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
            sizes[path] = StageSession(self._library, path, self._loading, self._provider)
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


def first_line(error: BaseException) -> str:
    """Return the first line of a library's error."""
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__


def _load_error(error: Exception, path: Path, provider: Provider) -> Exception:
    """Say in words why a session could not be made."""
    kind, said = type(error).__name__, first_line(error)
    if kind == 'ModelLoadCanceled':
        return EngineCancelled(f'loading {path.name} was cancelled')
    if kind == 'NotImplemented':
        return EngineUnavailable(
            f'{provider.name} of this onnxruntime cannot run {path.name}: {said}; export another '
            'precision or update onnxruntime'
        )
    if kind in _PROVIDER_ERRORS and not provider.is_processor:
        return EngineUnavailable(
            f'ONNX Runtime cannot use {provider.name}: {said}; its libraries or the driver are '
            'missing or of another version'
        )
    if 'IR version' in said or 'opset' in said.lower():
        return EngineUnavailable(f'this onnxruntime is too old for {path.name}: {said}; update it')
    if 'fallback' in said.lower():
        return EngineUnavailable(f'{provider.name} cannot run all of {path.name}: {said}')
    return ModelError(
        f'ONNX Runtime cannot load {path}: {said}; copy the model anew or export it again'
    )
