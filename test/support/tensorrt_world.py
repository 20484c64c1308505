# SPDX-License-Identifier: Apache-2.0
"""A machine with a simulated card and TensorRT on it, and settings that run a model there."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cuda_python_double import cuda_python
from network_engines import settings
from pycuda_double import pycuda
from simulated_card import SimulatedCard
from tensorrt_double import Double

from mast3r_ros.config import MASt3RRuntimeConfig

ACCESSES = {'cuda_python': cuda_python, 'pycuda': pycuda}
"""The libraries that give access to the card, by their names."""


@dataclass
class World:
    """What the machine has.

    :param cache: its cache folder.
    """

    card: SimulatedCard
    tensorrt: Double
    cache: Path

    def settings(self, folder: Path, **model: Any) -> MASt3RRuntimeConfig:
        """Return the settings that run a model folder on this machine."""
        return settings(folder, **model).replace(cache_dir=self.cache)

    def engine_files(self) -> list[Path]:
        """Return the built engines that are kept."""
        return sorted(self.cache.glob('engines/tensorrt/*/*/*.engine'))


@contextmanager
def simulated_world(
    cache: Path, version: str = '10.3', access: str = 'cuda_python', **card: Any
) -> Iterator[World]:
    """Give a machine with a card."""
    simulated = SimulatedCard(**card)
    double = Double(version, simulated)
    with ACCESSES[access](simulated), double.installed():
        yield World(simulated, double, cache)
