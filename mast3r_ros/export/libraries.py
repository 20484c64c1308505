# SPDX-License-Identifier: Apache-2.0
"""What an export needs beyond the package's own requirements."""

from __future__ import annotations

from importlib.util import find_spec

from mast3r_ros.errors import EngineUnavailable

_NEEDED = ('torch', 'onnx', 'onnx_ir', 'onnxscript')


def require_exporter() -> None:
    """Raise, naming what to install, unless the exporter's libraries are here."""
    missing = [name for name in _NEEDED if find_spec(name) is None]
    if missing:
        raise EngineUnavailable(
            f'an export needs {", ".join(missing)}, which this Python lacks; '
            "pip install 'mast3r_ros[export]'"
        )
