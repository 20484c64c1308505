# SPDX-License-Identifier: Apache-2.0
"""The whole way from single frames to results, without any knowledge of ROS.

The node, the replay, the viewer and the tests all drive this object: frames go in, results come
out in the engine's thread (:meth:`Pipeline.add`) or as a return value (:meth:`Pipeline.process`).
"""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from mast3r_ros.config import PairingMode, PipelineConfig
from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.engine import EngineInterface
from mast3r_ros.core.pair_processor import PairProcessor
from mast3r_ros.core.pairing import Pairing, ViewPair, make_pairing
from mast3r_ros.core.poses import as_pose, check_baseline, stereo_pose
from mast3r_ros.core.products import PairResult, Product
from mast3r_ros.core.views import Frame
from mast3r_ros.core.worker import EngineWorker
from mast3r_ros.errors import EngineFailed, EngineUnavailable, InvalidInput, ModelNotFound


class Pipeline:
    """Pairs frames, has them answered by a shared engine and hands the results on.

    :param worker: owner of the engine; several pipelines may share it.
    :param on_result: called with each result in the engine's thread.
    :param on_problem: called with each pair that failed and why, in whatever thread noticed.
    :param T_2_1: pose of the stereo pair, where the cameras' own rectification does not tell it.
    :param pairing: makes the pairs; nothing: the one that the settings name.
    :param queue_limit: 1 for newest wins; more keeps every pair and overflow is an error.
    """

    def __init__(
        self,
        worker: EngineWorker,
        config: PipelineConfig,
        *,
        on_result: Callable[[PairResult], None] | None = None,
        on_problem: Callable[[ViewPair, Exception], None] | None = None,
        T_2_1: Matrix | None = None,
        pairing: Pairing | None = None,
        queue_limit: int = 1,
    ) -> None:
        self.wanted = Product.ALL
        self._worker = worker
        self._on_result = on_result
        self._on_problem = on_problem
        self._known_T_2_1 = None if T_2_1 is None else as_pose(T_2_1)
        if self._known_T_2_1 is not None:
            check_baseline(self._known_T_2_1)
        self._is_sequence = config.pairing.mode is PairingMode.SEQUENCE
        self._pose_of: tuple[Camera, Camera, Matrix] | None = None
        self._pairing = pairing or make_pairing(config.pairing)
        self._processor = PairProcessor(config, worker.features)
        self._resets_seen = 0
        self._lock = threading.Lock()  # pairing and counters; held for microseconds only
        self._paired = 0
        self._answered = 0
        self._failed: Counter[str] = Counter()
        self._box = worker.open_mailbox(
            self._answer, self._fail, limit=queue_limit, keep_all=queue_limit > 1
        )

    @property
    def answered(self) -> int:
        """Pairs answered so far."""
        return self._answered

    @property
    def paired(self) -> int:
        """Pairs made of frames so far."""
        return self._paired

    @property
    def drops(self) -> dict[str, int]:
        """How many frames or pairs came to nothing, by reason."""
        total: Counter[str] = Counter()
        for part in (self._pairing.drops, self._box.drops, self._failed):
            total.update(dict(part))  # a copy at once: another thread may count on
        return dict(total)

    def take_closest_miss_ns(self) -> int | None:
        """Return how near two stamps came, since last asked, that were too far apart to pair."""
        with self._lock:
            miss_ns, self._pairing.closest_miss_ns = self._pairing.closest_miss_ns, None
        return miss_ns

    @property
    def scales_held(self) -> int:
        """Pairs whose baseline scale was taken over from an earlier one."""
        return self._processor.scale_keeper.held

    def configure(self, config: PipelineConfig) -> None:
        """Take over changed settings for the next pair; pairing and scale rule stay as built."""
        self._processor.config = config

    def add(self, source: str, frame: Frame) -> None:
        """Take a frame in; its pair goes to the engine without waiting, the newest first.

        :raises MailboxFull: every pair is to be kept and there is no room; each is counted.
        """
        self.submit(self.pair_up(source, frame))

    def submit(self, pairs: list[ViewPair]) -> None:
        """Have pairs answered without waiting, the newest first.

        :raises MailboxFull: every pair is to be kept and there is no room; each is counted.
        """
        self._box.put_all(pairs)

    def pair_up(self, source: str, frame: Frame) -> list[ViewPair]:
        """Take a frame in and return the pairs complete now, to be answered."""
        with self._lock:
            complete = self._pairing.add(source, frame)
            self._paired += len(complete)
        return [ViewPair(*frames, self._known_T_2_1) for frames in complete]

    def finish(self) -> list[ViewPair]:
        """Return the pairs that are complete once no frame is to come, to be answered."""
        with self._lock:
            complete = self._pairing.finish()
            self._paired += len(complete)
        return [ViewPair(*frames, self._known_T_2_1) for frames in complete]

    def process(self, pair: ViewPair, timeout_s: float | None = None) -> PairResult:
        """Have one pair answered now and return the result; for work where none may be lost."""
        try:
            result = self._worker.call(lambda engine: self._process(engine, pair), timeout_s)
        except Exception as error:
            self._count(_reason(error))
            raise
        self._answered += 1
        return result

    def posed(self, pair: ViewPair) -> ViewPair:
        """Return the pair with its pose where calibration tells it; in the engine's thread."""
        if pair.T_2_1 is not None:
            return pair
        return replace(pair, T_2_1=self._calibrated_pose(pair))

    def reset(self) -> None:
        """Forget waiting frames, earlier frames and the last scale."""
        with self._lock:
            self._pairing.reset()
        self._box.clear('reset')

    def close(self) -> None:
        """Leave the engine to its other users."""
        self._worker.close_mailbox(self._box)

    def _process(self, engine: EngineInterface, pair: ViewPair) -> PairResult:
        if self._pairing.resets != self._resets_seen:
            self._resets_seen = self._pairing.resets
            self._processor.reset()
        return self._processor.process(engine, self.posed(pair), self.wanted)

    def _calibrated_pose(self, pair: ViewPair) -> Matrix | None:
        """Return the pair's pose if calibration tells it; computed once a pair of cameras."""
        camera_1, camera_2 = pair.view_1.camera, pair.view_2.camera
        if self._is_sequence or camera_1 is None or camera_2 is None:
            return None
        if camera_1.P is None or camera_2.P is None:
            return None
        known = self._pose_of
        if known is None or known[0] is not camera_1 or known[1] is not camera_2:
            known = (camera_1, camera_2, stereo_pose(camera_1, camera_2))
            self._pose_of = known
        return known[2]

    def _answer(self, engine: EngineInterface, pair: ViewPair, waited_ms: float) -> None:
        result = self._process(engine, pair)
        result.timing_ms['wait'] = waited_ms
        if self._on_result is not None:
            self._on_result(result)
        self._answered += 1

    def _fail(self, pair: ViewPair, error: Exception) -> None:
        self._count(_reason(error))
        if self._on_problem is not None:
            self._on_problem(pair, error)

    def _count(self, reason: str) -> None:
        with self._lock:
            self._failed[reason] += 1


def _reason(error: Exception) -> str:
    if isinstance(error, InvalidInput):
        return 'invalid_input'
    if isinstance(error, (EngineUnavailable, ModelNotFound)):
        return 'no_engine'
    return 'engine_failed' if isinstance(error, EngineFailed) else 'failed'
