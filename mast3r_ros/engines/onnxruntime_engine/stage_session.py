# SPDX-License-Identifier: Apache-2.0
"""One stage of one size in ONNX Runtime: opened, run, its errors in words."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mast3r_ros.engines.library_errors import first_line
from mast3r_ros.engines.onnxruntime_engine.fixed_places import FixedPlaces
from mast3r_ros.engines.onnxruntime_engine.providers import Provider, as_argument
from mast3r_ros.errors import EngineCancelled, EngineFailed, EngineUnavailable, ModelError

_log = logging.getLogger(__name__)

_PROVIDER_ERRORS = ('RuntimeError', 'ValueError', 'EPFail')


class StageSession:
    """One stage of one size.

    Where the provider can, a run is captured as a graph of the card, and every later run replays
    it; values are copied to places on the card that stay the same for that.

    :param library: the module ``onnxruntime``.
    :param keeps: whether what it makes is needed after its next run.
    """

    def __init__(
        self, library: Any, path: Path, options: Any, provider: Provider, keeps: bool = False
    ) -> None:
        self._library = library
        self._provider = provider
        self._path = path
        self._options = options
        self._keeps = keeps
        self._has_run = False
        self._places: FixedPlaces | None = None
        if provider.replay and FixedPlaces.are_possible(library):
            try:
                self._open(replays=True)
                self._places = FixedPlaces(library, self._session, provider)
            except EngineCancelled:
                raise
            except Exception as error:
                self._go_without_graphs(error)
        else:
            self._open(replays=False)
        self._inputs = {item.name: tuple(item.shape) for item in self._session.get_inputs()}
        self._outputs = [item.name for item in self._session.get_outputs()]

    @property
    def replays(self) -> bool:
        """Whether a run is captured and replayed."""
        return self._places is not None

    def run(self, values: Mapping[str, Any], options: Any) -> dict[str, Any]:
        """Return the outputs; both sides are OrtValues, the outputs on the provider's device.

        Where runs are replayed, the next one overwrites them, unless the session keeps them.
        """
        self._check(values)
        try:
            if self._places is not None and not self._has_run:
                made = self._run_first(values, options)
            else:
                made = self._run(values, options)
        except Exception as error:
            if options.terminate:
                raise EngineCancelled('ONNX Runtime was cancelled while it ran') from None
            raise EngineFailed(
                f'ONNX Runtime failed in {self._path.name}: {first_line(error)}'
            ) from error
        self._has_run = True
        return made

    def _run(self, values: Mapping[str, Any], options: Any) -> dict[str, Any]:
        if self._places is not None:
            self._places.put(values)
            self._session.run_with_iobinding(self._places.binding, options)
            return self._places.copies() if self._keeps else self._places.made()
        binding = self._session.io_binding()
        for name in self._inputs:
            binding.bind_ortvalue_input(name, values[name])
        for name in self._outputs:
            binding.bind_output(name, self._provider.device, self._provider.device_index)
        self._session.run_with_iobinding(binding, options)
        return dict(zip(self._outputs, binding.get_outputs(), strict=True))

    def _run_first(self, values: Mapping[str, Any], options: Any) -> dict[str, Any]:
        """Run so that the run is captured; where that fails, run and go on without."""
        try:
            return self._run(values, options)
        except Exception as error:
            if options.terminate:
                raise
            self._go_without_graphs(error)
            return self._run(values, options)

    def _open(self, *, replays: bool) -> None:
        try:
            # Without the last argument it would try again with other providers, by itself.
            self._session = self._library.InferenceSession(
                str(self._path),
                self._options,
                providers=as_argument(self._provider, replays),
                enable_fallback=0,
            )
        except Exception as error:
            raise _load_error(error, self._path, self._provider) from error
        self._session.disable_fallback()  # of runs, where an old library ignored the above
        self._provider.check_active(self._session.get_providers())

    def _go_without_graphs(self, error: Exception) -> None:
        self._places = None
        self._open(replays=False)  # raises where graphs were not what failed
        _log.warning(
            '%s runs %s without captured graphs: %s',
            self._provider.name,
            self._path.name,
            first_line(error),
        )

    def _check(self, values: Mapping[str, Any]) -> None:
        for name, shape in self._inputs.items():
            value = values.get(name)
            if value is None or tuple(value.shape()) != shape:
                found = 'nothing' if value is None else f'{tuple(value.shape())}'
                raise ModelError(
                    f'{self._path.name} takes {name} {shape} and gets {found}: the stages of this '
                    'model do not fit each other; export it anew'
                )


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
