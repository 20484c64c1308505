# SPDX-License-Identifier: Apache-2.0
"""What each stage of a network computes and how fast: work over time, and over what can be had."""

from __future__ import annotations

import statistics
from dataclasses import dataclass

from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.product_peak import measured_peak
from mast3r_ros.core.results import Output, Timing
from mast3r_ros.core.views import View
from mast3r_ros.engines.network_engine import NetworkEngine
from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.work import pair_work


@dataclass(frozen=True)
class StageProfile:
    """One stage of a pair, both views together.

    :param flops: operations of matrix products and convolutions.
    :param share: of the stage's speed in the peak; above 1 where fewer bits than 32 are faster.
    """

    name: str
    flops: int
    time_ms: float
    share: float

    @property
    def flops_per_s(self) -> float:
        """Return the speed."""
        return self.flops / (self.time_ms * 1e-3)


@dataclass(frozen=True)
class Profile:
    """All stages and the whole.

    :param peak_flops_per_s: of a matrix product in float32, measured on this machine.
    """

    stages: tuple[StageProfile, ...]
    whole: StageProfile
    peak_flops_per_s: float


def profile_pair(
    engine: EngineInterface, views: tuple[View, View], timing: Timing, outputs: Output
) -> Profile:
    """Return the profile of what was timed.

    :param views: of the size that was timed.
    :raises InvalidInput: the engine runs no network.
    """
    if not isinstance(engine, NetworkEngine):
        raise InvalidInput(
            f'{engine.describe().name} runs no network, so it has no count of operations; leave '
            'out --profile'
        )
    grids = [engine.prepare(view) for view in views]
    shape_1, shape_2 = ((grid.height, grid.width) for grid in grids)
    architecture = Architecture.from_dict(engine.folder.description.architecture)
    work = pair_work(architecture, shape_1, shape_2)
    if not outputs & Output.CLOUD_2:
        work['points'] = pair_work(architecture, shape_1, shape_1)['points'] // 2
    peak = measured_peak()
    times = {name: statistics.median(values) for name, values in timing.stages_ms.items()}
    stages = tuple(
        _stage(name, flops, times[name], peak) for name, flops in work.items() if name in times
    )
    total = _stage('total', sum(stage.flops for stage in stages), times['total'], peak)
    return Profile(stages, total, peak)


def _stage(name: str, flops: int, time_ms: float, peak: float) -> StageProfile:
    return StageProfile(name, flops, time_ms, flops / (time_ms * 1e-3) / peak)
