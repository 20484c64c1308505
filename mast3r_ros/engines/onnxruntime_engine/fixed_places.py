# SPDX-License-Identifier: Apache-2.0
"""Memory that a session reads and writes in every run, as a graph captured of one must have it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from mast3r_ros.engines.onnxruntime_engine.providers import Provider
from mast3r_ros.errors import ModelError

_KINDS = {'tensor(float)': np.float32, 'tensor(float16)': np.float16, 'tensor(uint8)': np.uint8}


class FixedPlaces:
    """A session's inputs and outputs at places on its device that never change.

    :param library: the module ``onnxruntime``.
    :param session: its inputs and outputs have fixed shapes.
    """

    def __init__(self, library: Any, session: Any, provider: Provider) -> None:
        self._library = library
        self._provider = provider
        self._inputs = {item.name: self._place(item) for item in session.get_inputs()}
        self._outputs = {item.name: self._place(item) for item in session.get_outputs()}
        self.binding = session.io_binding()
        for name, place in self._inputs.items():
            self.binding.bind_ortvalue_input(name, place)
        for name, place in self._outputs.items():
            self.binding.bind_ortvalue_output(name, place)

    @staticmethod
    def are_possible(library: Any) -> bool:
        """Return whether this ONNX Runtime copies from one OrtValue to another (since 1.26)."""
        source, target = (library.OrtValue.ortvalue_from_numpy(np.zeros(1)) for _ in range(2))
        try:
            target.update_inplace(source)
        except Exception:  # it takes arrays alone, and says so in one way or another
            return False
        return True

    def put(self, values: Mapping[str, Any]) -> None:
        """Copy OrtValues of any device to the inputs."""
        for name, place in self._inputs.items():
            place.update_inplace(values[name])

    def made(self) -> dict[str, Any]:
        """Return the outputs at their places: the next run overwrites them."""
        return dict(self._outputs)

    def copies(self) -> dict[str, Any]:
        """Return the outputs at places of their own."""
        own = {name: self._like(place) for name, place in self._outputs.items()}
        for name, place in self._outputs.items():
            own[name].update_inplace(place)
        return own

    def _place(self, item: Any) -> Any:
        kind = _KINDS.get(item.type)
        if kind is None:
            raise ModelError(
                f'{item.name} is {item.type}, and the stages of a model pass {", ".join(_KINDS)} '
                'only; export the model anew'
            )
        return self._empty(item.shape, kind)

    def _like(self, value: Any) -> Any:
        return self._empty(value.shape(), _KINDS[value.data_type()])

    def _empty(self, shape: Any, kind: Any) -> Any:
        return self._library.OrtValue.ortvalue_from_shape_and_type(
            list(shape), kind, self._provider.device, self._provider.device_index
        )
