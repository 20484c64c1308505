# SPDX-License-Identifier: Apache-2.0
"""Follows a camera while its pairs come in: what a node needs around a tracker."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace

from mast3r_ros.choices import OdometryUse
from mast3r_ros.config import PairingMode, PipelineConfig
from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import View
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import InvalidInput, Mast3rError
from mast3r_ros.sequence.answers import EngineAnswers
from mast3r_ros.sequence.frames import SequenceFrame, TrackedFrame, TrackingState
from mast3r_ros.sequence.sequence_map import SequenceMap
from mast3r_ros.sequence.tracker import Tracker
from mast3r_ros.sequence.way import Way
from mast3r_ros.sequence_config import SequenceConfig


@dataclass(frozen=True)
class Following:
    """How it goes, at one moment.

    :param state: of the latest frame; None before the first.
    :param reason: why that one is lost.
    :param focal_px: focal length that a camera without calibration is believed to have.
    :param focal_is_settled: whether it counts as its calibration by now.
    :param camera: what is believed of such a camera, in words; empty for one with calibration.
    :param map_share: how much of the map is laid anew after a loop; 1 where it is whole.
    """

    state: TrackingState | None = None
    reason: str = ''
    frames: int = 0
    lost: int = 0
    keyframes: int = 0
    loops: int = 0
    scale_source: ScaleSource = ScaleSource.NONE
    focal_px: float | None = None
    focal_is_settled: bool = False
    map_share: float = 1.0
    camera: str = ''
    camera_is_guessed: bool = False


class Follower:
    """Follows the camera of view 1, from pair to pair.

    A stamp that goes back begins a new world.

    :param worker: owner of the engine; others may share it.
    :param posed: returns a pair with its pose; called in the engine's thread.
    :param odometry: returns where a view's camera is as somebody else tells it, None where nobody
        does; called in the engine's thread.
    :param on_frame: called with each frame and its view, in the engine's thread.
    :param on_problem: called with what a frame failed of.
    :param queue_limit: 1 for newest wins; more keeps every pair and overflow is an error.
    """

    def __init__(
        self,
        worker: EngineWorker,
        config: PipelineConfig,
        sequence: SequenceConfig,
        *,
        posed: Callable[[ViewPair], ViewPair],
        on_frame: Callable[[TrackedFrame, View], None],
        on_problem: Callable[[ViewPair, Exception], None],
        odometry: Callable[[View], Matrix | None] = lambda view: None,
        queue_limit: int = 1,
    ) -> None:
        self.now = Following()
        self._worker = worker
        self._config = sequence
        self._is_stereo = config.pairing.mode is PairingMode.STEREO
        self._posed = posed
        self._odometry = odometry
        self._on_frame = on_frame
        self._on_problem = on_problem
        self._answers = EngineAnswers(worker, config)
        self._failed: Counter[str] = Counter()
        self._begin()
        self._box = worker.open_mailbox(
            self._follow, self._fail, limit=queue_limit, keep_all=queue_limit > 1
        )

    @property
    def drops(self) -> dict[str, int]:
        """How many pairs were not followed, by reason."""
        # Copies at once: another thread may count on.
        return dict(Counter(dict(self._box.drops)) + Counter(dict(self._failed)))

    def add(self, pairs: list[ViewPair]) -> None:
        """Have pairs followed without waiting, the newest first.

        :raises MailboxFull: every pair is to be kept and there is no room.
        """
        self._box.put_all(pairs)

    def reset(self) -> None:
        """Begin a new world with the next frame."""
        self._box.clear('reset')
        self._fresh = True

    def close(self) -> None:
        """Leave the engine to its other users."""
        self._worker.close_mailbox(self._box)

    def _begin(self) -> None:
        self.tracker = Tracker(self._answers, self._config)
        self.map = SequenceMap(self.tracker.keyframes, self._config)
        self.way = Way()
        self._counts: Counter[TrackingState] = Counter()
        self._last_ns: int | None = None
        self._has_own_world = True  # not that of poses which are given
        self._fresh = False

    def _follow(self, _: EngineInterface, pair: ViewPair, _waited_ms: float) -> None:
        stamp_ns = pair.frame_1.stamp_ns
        if self._fresh or (self._last_ns is not None and stamp_ns < self._last_ns):
            self._begin()
        self._last_ns = stamp_ns
        frame = self._told(self._frame(pair))
        found = self.tracker.track(frame)
        if found.state is not TrackingState.LOST:
            self.way.add(found)
        self._counts[found.state] += 1
        self.now = self._described(found)
        self._on_frame(found, frame.view)

    def _frame(self, pair: ViewPair) -> SequenceFrame:
        """Return the pair as the tracker takes it."""
        if not self._is_stereo:
            return SequenceFrame(pair.view_1)
        posed = self._posed(pair)
        if posed.T_2_1 is None:
            raise InvalidInput(
                'a stereo camera can be followed only with its calibration; publish both '
                'camera_info topics, or set pairing.mode: sequence to follow one camera'
            )
        return SequenceFrame(posed.view_1, posed.view_2, posed.T_2_1)

    def _told(self, frame: SequenceFrame) -> SequenceFrame:
        """Return a frame with what the odometry tells of it."""
        T = self._odometry(frame.view)
        if T is None:
            return frame
        if self._config.odometry_use is OdometryUse.MOTION:
            return replace(frame, T_odometry_camera=T)
        if self._has_own_world:  # which lies elsewhere than that of the poses
            self._begin()
            self._has_own_world, self._last_ns = False, frame.view.stamp_ns
        return replace(frame, T_world_camera=T)

    def _described(self, found: TrackedFrame) -> Following:
        keyframes = self.tracker.keyframes
        source = found.scale_source if found.keyframe is not None else self.now.scale_source
        return Following(
            found.state,
            found.reason,
            sum(self._counts.values()),
            self._counts[TrackingState.LOST],
            len(keyframes),
            keyframes.loops,
            source,
            keyframes.unknown.focal_px,
            keyframes.unknown.is_settled,
            self.map.share_laid,
            keyframes.unknown.in_words,
            keyframes.unknown.is_guessed,
        )

    def _fail(self, pair: ViewPair, error: Exception) -> None:
        self._failed['failed'] += 1
        reason = str(error) if isinstance(error, Mast3rError) else type(error).__name__
        self.now = replace(self.now, state=TrackingState.LOST, reason=reason)
        self._on_problem(pair, error)
