# SPDX-License-Identifier: Apache-2.0
"""What the commands share that follow a moving camera: the run itself, and what is said of it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.cli.command import EXIT_FAILED, EXIT_INTERRUPTED
from mast3r_ros.cli.progress import Progress

if TYPE_CHECKING:
    from mast3r_ros.config import NodeConfig
    from mast3r_ros.sequence.picture_sources import FrameSource
    from mast3r_ros.sequence.run import RunReport, SequenceRun
    from mast3r_ros.sequence.run_folder import RunFolder


def follow(
    source: FrameSource,
    config: NodeConfig,
    make_folder: Callable[[SequenceRun], RunFolder],
    inputs: str,
    progress: Progress,
    settings: str = '',
) -> RunReport:
    """Follow all frames of a source into a run folder, with the engine of the settings.

    :param make_folder: returns the folder once the engine is there.
    :param inputs: where the frames come from, in words.
    :param settings: what must be the same for a run to go on later, as text.
    """
    from mast3r_ros.bags.interruption import Interruption
    from mast3r_ros.core.worker import EngineWorker
    from mast3r_ros.engines.registry import get_runtime
    from mast3r_ros.sequence.run import SequenceRun

    with (
        EngineWorker(
            lambda: get_runtime(config),
            call_timeout_s=config.runtime.call_timeout_s,
            features_memory_mb=config.runtime.features_memory_mb,
        ) as worker,
        Interruption() as interruption,
    ):
        worker.wait_ready()
        run = SequenceRun(worker, config, progress.say)
        return run.run(
            source,
            make_folder(run),
            inputs,
            lambda run: progress.show(run.done / (source.total or 1e9), f'{run.done} frames'),
            interruption,
            settings,
        )


def tell(report: RunReport, path: Path, progress: Progress, *, as_json: bool) -> int:
    """Print what became of a run and return the command's exit code."""
    progress.close()
    about = {**asdict(report), 'output': str(path)}
    print(json.dumps(about, indent=2) if as_json else _as_text(report, path))
    if report.stopped:
        progress.say(f'stopped after {report.frames} frames; {path} is whole up to there')
        return EXIT_INTERRUPTED
    return 0 if report.placed else EXIT_FAILED


def _as_text(report: RunReport, path: Path) -> str:
    unit = 'of no known unit' if report.scale_source == 'none' else 'm'
    rate = report.frames / max(report.seconds, 1e-3)
    return '\n'.join(
        [
            f'{report.placed} of {report.frames} frames placed in {report.seconds:.1f} s, '
            f'{rate:.1f}/s by {report.engine} ({report.device})',
            f'path of {report.path_length:.3f} {unit}, {report.keyframes} keyframes, '
            f'{report.loops} loop edges, {report.map_points} points',
            f'written to {path}',
        ]
    )
