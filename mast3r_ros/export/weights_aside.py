# SPDX-License-Identifier: Apache-2.0
"""A graph whose weights lie in a file meanwhile, for tools that copy a graph again and again."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.export.landing import UNFINISHED

if TYPE_CHECKING:
    import onnx_ir as ir

_WEIGHTS = 'weights'
_LEAST_BYTES = 1024  # smaller constants stay in the graph


@dataclass(frozen=True)
class LightGraph:
    """An ONNX model without its weights, and the folder where they are."""

    proto: Any
    folder: Path

    def copy(self) -> LightGraph:
        """Return one whose graph may be changed."""
        proto = type(self.proto)()
        proto.CopyFrom(self.proto)
        return LightGraph(proto, self.folder)

    def value(self, initializer: Any) -> NDArray[Any]:
        """Return the values of one of its constants."""
        import onnx

        return np.asarray(onnx.numpy_helper.to_array(initializer, str(self.folder)))

    def save(self, name: str) -> Path:
        """Write the graph beside its weights, so that a runtime can open it."""
        path = self.folder / f'{name}.onnx'
        path.write_bytes(self.proto.SerializeToString())
        return path


@contextmanager
def weights_aside(model: ir.Model, parent: Path) -> Iterator[LightGraph]:
    """Give a copy of a graph whose weights are in a folder that is gone afterwards.

    :param parent: where that folder is made; it needs room for the weights.
    """
    import onnx
    import onnx_ir as ir

    proto = ir.to_proto(model)
    with tempfile.TemporaryDirectory(prefix='.weights_', suffix=UNFINISHED, dir=parent) as name:
        folder = Path(name).resolve()
        onnx.external_data_helper.convert_model_to_external_data(
            proto, location=_WEIGHTS, size_threshold=_LEAST_BYTES
        )
        onnx.external_data_helper.write_external_data_tensors(proto, str(folder))
        yield LightGraph(proto, folder)
