# SPDX-License-Identifier: Apache-2.0
"""Whether this machine can run Core ML, told without importing its library."""

from __future__ import annotations

import platform
import sys
from importlib.util import find_spec

OLDEST = (13, 0)  # what packages are converted for


def coreml_obstacle() -> str:
    """Return why Core ML cannot run here, or an empty text."""
    if sys.platform != 'darwin':
        return f'Core ML runs on Apple machines alone and this one runs {sys.platform}'
    version = platform.mac_ver()[0]
    parts = [int(part) for part in version.split('.') if part.isdigit()]
    if tuple(parts[:2]) < OLDEST:
        return f'macOS is {version} and at least {OLDEST[0]} is needed'
    if find_spec('coremltools') is None:
        return "coremltools is not installed; pip install 'mast3r_ros[coreml]'"
    return ''
