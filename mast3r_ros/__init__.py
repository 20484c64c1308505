# SPDX-License-Identifier: Apache-2.0
"""Dense 3D perception for robots with the MASt3R family of networks, or with plain geometry.

Importing this package costs nothing: every public name is loaded when it is first used.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module

__version__ = '0.1.0'

# Run from the source folder, this package is joined by the installed one, which has the messages.
__path__ += [
    folder
    for folder in dict.fromkeys(os.path.join(entry, 'mast3r_ros') for entry in sys.path)
    if folder not in __path__ and os.path.isdir(folder)
]

TYPE_CHECKING = (
    False  # the type checkers' own name; importing typing would cost more than all else
)

_HOME_OF = {
    'get_runtime': 'mast3r_ros.engines.registry',
    'MASt3RRuntimeConfig': 'mast3r_ros.config',
    'PipelineConfig': 'mast3r_ros.config',
    'ModelConfig': 'mast3r_ros.config',
    'RuntimeConfig': 'mast3r_ros.config',
    'MatchingConfig': 'mast3r_ros.config',
    'PairingConfig': 'mast3r_ros.config',
    'CloudConfig': 'mast3r_ros.config',
    'ModelVariant': 'mast3r_ros.config',
    'BackendType': 'mast3r_ros.config',
    'Precision': 'mast3r_ros.config',
    'PRESET_DRONE_FAST': 'mast3r_ros.presets',
    'PRESET_DRONE_QUALITY': 'mast3r_ros.presets',
    'PRESET_DESKTOP_PRECISION': 'mast3r_ros.presets',
    'Camera': 'mast3r_ros.core.cameras',
    'EngineInterface': 'mast3r_ros.core.engine',
    'EngineWorker': 'mast3r_ros.core.worker',
    'Grid': 'mast3r_ros.core.views',
    'InferenceResult': 'mast3r_ros.core.results',
    'MatchResult': 'mast3r_ros.core.results',
    'Output': 'mast3r_ros.core.results',
    'Pipeline': 'mast3r_ros.core.pipeline',
    'Product': 'mast3r_ros.core.products',
    'View': 'mast3r_ros.core.views',
    'Mast3rError': 'mast3r_ros.errors',
    'ConfigError': 'mast3r_ros.errors',
    'InvalidInput': 'mast3r_ros.errors',
    'EngineUnavailable': 'mast3r_ros.errors',
    'EngineFailed': 'mast3r_ros.errors',
    'EngineCancelled': 'mast3r_ros.errors',
    'ModelNotFound': 'mast3r_ros.errors',
}

__all__ = ['__version__', *sorted(_HOME_OF)]

if TYPE_CHECKING:
    from mast3r_ros.config import (
        BackendType as BackendType,
    )
    from mast3r_ros.config import (
        CloudConfig as CloudConfig,
    )
    from mast3r_ros.config import (
        MASt3RRuntimeConfig as MASt3RRuntimeConfig,
    )
    from mast3r_ros.config import (
        MatchingConfig as MatchingConfig,
    )
    from mast3r_ros.config import (
        ModelConfig as ModelConfig,
    )
    from mast3r_ros.config import (
        ModelVariant as ModelVariant,
    )
    from mast3r_ros.config import (
        PairingConfig as PairingConfig,
    )
    from mast3r_ros.config import (
        PipelineConfig as PipelineConfig,
    )
    from mast3r_ros.config import (
        Precision as Precision,
    )
    from mast3r_ros.config import (
        RuntimeConfig as RuntimeConfig,
    )
    from mast3r_ros.core.cameras import Camera as Camera
    from mast3r_ros.core.engine import EngineInterface as EngineInterface
    from mast3r_ros.core.pipeline import Pipeline as Pipeline
    from mast3r_ros.core.products import Product as Product
    from mast3r_ros.core.results import (
        InferenceResult as InferenceResult,
    )
    from mast3r_ros.core.results import (
        MatchResult as MatchResult,
    )
    from mast3r_ros.core.results import (
        Output as Output,
    )
    from mast3r_ros.core.views import Grid as Grid
    from mast3r_ros.core.views import View as View
    from mast3r_ros.core.worker import EngineWorker as EngineWorker
    from mast3r_ros.engines.registry import get_runtime as get_runtime
    from mast3r_ros.errors import (
        ConfigError as ConfigError,
    )
    from mast3r_ros.errors import (
        EngineCancelled as EngineCancelled,
    )
    from mast3r_ros.errors import (
        EngineFailed as EngineFailed,
    )
    from mast3r_ros.errors import (
        EngineUnavailable as EngineUnavailable,
    )
    from mast3r_ros.errors import (
        InvalidInput as InvalidInput,
    )
    from mast3r_ros.errors import (
        Mast3rError as Mast3rError,
    )
    from mast3r_ros.errors import (
        ModelNotFound as ModelNotFound,
    )
    from mast3r_ros.presets import (
        PRESET_DESKTOP_PRECISION as PRESET_DESKTOP_PRECISION,
    )
    from mast3r_ros.presets import (
        PRESET_DRONE_FAST as PRESET_DRONE_FAST,
    )
    from mast3r_ros.presets import (
        PRESET_DRONE_QUALITY as PRESET_DRONE_QUALITY,
    )


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f'module {__name__!r} has no attribute {name!r}')
    value = getattr(import_module(_HOME_OF[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return __all__
