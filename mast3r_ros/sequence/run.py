# SPDX-License-Identifier: Apache-2.0
"""A whole sequence through the tracker into a run folder; memory does not grow with its length
beyond one pose a frame and the keyframes.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, nullcontext
from dataclasses import asdict, dataclass, replace
from typing import Any, Protocol

import cv2
import numpy as np

from mast3r_ros import __version__
from mast3r_ros.config import NodeConfig
from mast3r_ros.core.results import EngineInfo, ScaleSource
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.core.worker_state import GONE
from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.checkpoint import Checkpoint, Resumed
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.picture_sources import FrameSource
from mast3r_ros.sequence.run_folder import RunFolder
from mast3r_ros.sequence.sequence_map import SequenceMap
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.trajectory import Trajectory

_FRAMES_AT_RISK = 50  # between two checkpoints


class Interruptible(Protocol):
    """Lets Ctrl-C in between steps only."""

    def whole_step(self) -> AbstractContextManager[None]:
        """Let nothing interrupt what is inside."""

    def ignore(self) -> None:
        """Interrupt nothing from here on."""


@dataclass(frozen=True)
class RunReport:
    """What became of a run."""

    frames: int
    states: dict[str, int]
    keyframes: int
    loops: int
    map_points: int
    path_length: float
    scale_source: str
    seconds: float
    stopped: bool  # on request, before its end
    engine: str
    device: str

    @property
    def placed(self) -> int:
        """Frames whose pose is known."""
        return self.frames - self.states.get(TrackingState.LOST.value, 0)


class SequenceRun:
    """Follows all frames of a source.

    :param tell: is told of frames that fail; the rest is done all the same.
    """

    def __init__(
        self,
        worker: EngineWorker,
        config: NodeConfig,
        tell: Callable[[str], None] = lambda sentence: None,
    ) -> None:
        self.done = 0
        self._worker = worker
        self._config = config
        self._tell = tell
        self._answers = EngineAnswers(worker, config)
        self._tracker = Tracker(self._answers, config.sequence)
        self._placed: list[TrackedFrame] = []
        self._states: Counter[str] = Counter()
        self._source = ScaleSource.NONE
        self._last_stamp_ns: int | None = None
        self._info: EngineInfo | None = None  # asked early: in the end it may be dead

    def restore(self, resumed: Resumed) -> None:
        """Go on where an interrupted run was."""
        keyframes = self._tracker.keyframes
        keyframes.restore(resumed.keyframes, resumed.edges, resumed.current)
        if resumed.unknown_camera is not None:
            keyframes.unknown.restore(resumed.told_of_camera, resumed.unknown_camera)
        self.done, self._placed = resumed.done, resumed.placed
        self._last_stamp_ns = resumed.last_stamp_ns
        self._states.update(item.state.value for item in self._placed)
        lost = self.done - len(self._placed)
        if lost:
            self._states[TrackingState.LOST.value] = lost
        self._source = self._placed[-1].scale_source

    def run(
        self,
        source: FrameSource,
        folder: RunFolder,
        inputs: str,
        on_frame: Callable[[SequenceRun], None] = lambda run: None,
        interruption: Interruptible | None = None,
        settings: str = '',
    ) -> RunReport:
        """Follow every frame and write the folder; Ctrl-C ends it early, with all files whole.

        :param inputs: where the frames come from, in words.
        :param settings: what must be the same for a run to go on later, as text.
        """
        start, stopped = time.monotonic(), False
        trouble: Mast3rError | None = None
        checkpoint = Checkpoint(folder.path, settings)
        with closing(folder):
            try:
                for frame in self._frames(source):
                    with nullcontext() if interruption is None else interruption.whole_step():
                        self._take(frame, folder)
                        if self.done % _FRAMES_AT_RISK == 0:
                            self._keep(checkpoint)
                    on_frame(self)
            except KeyboardInterrupt:
                stopped = True
            except Mast3rError as error:
                trouble = error  # what was done until now is worth keeping
            if interruption is not None:
                interruption.ignore()
            if self.done == 0:
                folder.discard()
                if stopped:
                    raise KeyboardInterrupt
                raise trouble or InvalidInput(f'{inputs} holds no frame that could be followed')
            if stopped or trouble is not None:
                self._keep(checkpoint)
            report = self._finish(folder, inputs, time.monotonic() - start, stopped)
        if trouble is not None:
            raise trouble
        if not stopped:
            checkpoint.remove()
        return report

    def _frames(self, source: FrameSource) -> Iterator[SequenceFrame]:
        done_ns = self._last_stamp_ns
        for frame in source.frames():
            if done_ns is None or frame.view.stamp_ns > done_ns:
                yield frame

    def _keep(self, checkpoint: Checkpoint) -> None:
        """Make it possible to go on from here."""
        if self._placed and self._last_stamp_ns is not None:
            keyframes = self._tracker.keyframes
            checkpoint.write(keyframes, self._placed, self.done, self._last_stamp_ns)

    def _take(self, frame: SequenceFrame, folder: RunFolder) -> None:
        try:
            found = self._tracker.track(frame)
        except Mast3rError as error:
            if self._worker.state in GONE:
                raise
            self._tell(f'frame {self.done} failed: {error}')
            reason = str(error)
            found = TrackedFrame(frame.view.stamp_ns, TrackingState.LOST, reason=reason)
        if self._info is None:
            self._info = self._worker.call(lambda engine: engine.describe())
        folder.write(found, frame.view)
        self.done += 1
        self._last_stamp_ns = frame.view.stamp_ns
        self._states[found.state.value] += 1
        if found.keyframe is not None:
            self._source = found.scale_source
            # Only the pose is kept: points of all frames would fill the memory.
            self._placed.append(replace(found, cloud=None, dynamic=None))

    def _finish(self, folder: RunFolder, inputs: str, seconds: float, stopped: bool) -> RunReport:
        trajectory = self._trajectory()
        keyframes = self._tracker.keyframes
        if keyframes.unknown.in_words:
            self._tell(keyframes.unknown.in_words)
        scene = SequenceMap(keyframes, self._config.sequence).cloud(final=True)
        info = self._info or EngineInfo('none', 'none', '', {})
        report = RunReport(
            frames=self.done,
            states=dict(self._states),
            keyframes=len(keyframes),
            loops=keyframes.loops,
            map_points=len(scene),
            path_length=trajectory.length,
            scale_source=self._source.value,
            seconds=round(seconds, 3),
            stopped=stopped,
            engine=info.name,
            device=info.device,
        )
        folder.finish(trajectory, list(keyframes), scene, self._described(report, inputs, info))
        return report

    def _trajectory(self) -> Trajectory:
        """Return all poses as they are known now; of equal stamps the last counts."""
        poses = {frame.stamp_ns: frame.T_world_camera for frame in self._placed}
        return Trajectory.of(poses, [pose for pose in poses.values() if pose is not None])

    def _described(self, report: RunReport, inputs: str, info: EngineInfo) -> dict[str, Any]:
        versions = {'mast3r_ros': __version__, 'numpy': np.__version__, 'opencv': cv2.__version__}
        return {
            'input': inputs,
            'unit': 'unknown' if self._source is ScaleSource.NONE else 'metre',
            **asdict(report),
            'camera': self._tracker.keyframes.unknown.in_words or 'calibrated',
            'versions': {**versions, **info.versions},
            'settings': self._config.to_dict(),
        }
