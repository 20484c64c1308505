# SPDX-License-Identifier: Apache-2.0
"""The node's health on /diagnostics: findings in words, rates, ages and drops."""

from __future__ import annotations

import statistics
import time
import weakref
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.lifecycle import LifecycleNode

from mast3r_ros.config import SyncRule
from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.ros import qos
from mast3r_ros.ros.camera_input import CameraInput
from mast3r_ros.ros.findings import Finding, InputFacts, Level, Snapshot, findings
from mast3r_ros.ros.odometry_facts import OdometryFacts
from mast3r_ros.ros.session import Session
from mast3r_ros.sequence.follower import Following

PERIOD_S = 1.0


class Health:
    """Publishes what is wrong, and how fast the node works, once a second.

    :param node: publishes the reports.
    """

    def __init__(self, node: LifecycleNode) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, '/diagnostics', qos.output())
        # That the counts below are of; weak, so that a session ends when the node ends it.
        self._session: Callable[[], Session | None] = _nothing
        self._before: dict[str, Counter[str]] = {}  # counts at the last look
        self._looked_at = time.monotonic()
        self._state = WorkerState.NEW
        self._state_since = time.monotonic()

    def publish(self, session: Session | None, failure: str | None = None) -> None:
        """Publish one report.

        :param session: nothing while the node is not configured.
        :param failure: why the last transition failed, if it did.
        """
        now_s = time.monotonic()
        if session is not self._session():
            self._session = _nothing if session is None else weakref.ref(session)
            self._before = {}
        snapshot = self._snapshot(session, failure)
        rate_hz = snapshot.answered_lately / max(now_s - self._looked_at, 1e-3)
        self._looked_at = now_s
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        message.status = self._statuses(snapshot, session, rate_hz)
        self._publisher.publish(message)

    def _statuses(
        self, snapshot: Snapshot, session: Session | None, rate_hz: float
    ) -> list[DiagnosticStatus]:
        by_part: dict[str, list[Finding]] = {'engine': [], 'inputs': [], 'pairs': []}
        if snapshot.following is not None:
            by_part['sequence'] = []
        for finding in findings(snapshot):
            by_part[finding.about].append(finding)
        values = {} if session is None else _values(session, snapshot, rate_hz)
        return [self._status(part, found, values.get(part, {})) for part, found in by_part.items()]

    def _status(self, part: str, found: list[Finding], values: dict[str, str]) -> DiagnosticStatus:
        level = max((finding.level for finding in found), default=Level.OK)
        name = self._node.get_fully_qualified_name()
        return DiagnosticStatus(
            level=bytes([int(level)]),
            name=f'{name}: {part}',
            message='; '.join(finding.text for finding in found) or 'ok',
            hardware_id=name,
            values=[KeyValue(key=key, value=value) for key, value in values.items()],
        )

    def _snapshot(self, session: Session | None, failure: str | None) -> Snapshot:
        if session is None:
            return Snapshot(failure=failure)
        state, result = session.worker.state, session.last_result
        miss_ns = session.pipeline.take_closest_miss_ns()
        made = {'paired': session.pipeline.paired, 'answered': session.pipeline.answered}
        lately = self._lately('pairs', made)
        return Snapshot(
            engine_state=state,
            engine_error=None if session.worker.error is None else str(session.worker.error),
            instead_of=session.worker.instead_of,
            state_s=self._seconds_in(state),
            failure=failure,
            active=session.active,
            listened_to=session.listens,
            inputs=tuple(self._input_facts(item) for item in session.inputs),
            paired_lately=lately['paired'],
            answered=made['answered'],
            answered_lately=lately['answered'],
            drops_lately=self._lately('drops', session.pipeline.drops),
            closest_miss_ms=None if miss_ns is None else miss_ns / 1e6,
            tolerance_ms=session.config.pairing.tolerance_s * 1e3,
            only_equal_stamps=session.config.pairing.sync is SyncRule.EXACT,
            last_problem=session.last_problem,
            median_age_ms=statistics.median(session.ages_ms) if session.ages_ms else None,
            following=None if session.following is None else session.following.now,
            odometry=self._odometry_facts(session),
            notes=result.notes if result is not None and lately['answered'] else (),
        )

    def _input_facts(self, item: CameraInput) -> InputFacts:
        last = item.last_arrival_s
        return InputFacts(
            source=item.source,
            image_topic=item.image_topic,
            info_topic=item.calibration.topic,
            mask_topic=item.mask_topic,
            publishers=item.publishers(),
            received=item.received,
            silent_s=None if last is None else time.monotonic() - last,
            incompatible=item.incompatible,
            has_calibration=item.calibration.camera is not None,
            calibration_problem=item.calibration.problem,
            drops_lately=self._lately(item.source, item.drops),
        )

    def _odometry_facts(self, session: Session) -> OdometryFacts | None:
        following = session.following
        if following is None or following.odometry is None or not following.needed:
            return None  # while nobody wants to know where the camera is, nothing is subscribed to
        facts = following.odometry.facts()
        lately = self._lately('odometry', {'invalid': facts.invalid, 'missed': facts.missed})
        return replace(facts, invalid_lately=lately['invalid'], missed_lately=lately['missed'])

    def _lately(self, of_what: str, counts: Mapping[str, int]) -> Counter[str]:
        """Return how much was counted since the last look; what was not is left out."""
        before = self._before.get(of_what, Counter())
        self._before[of_what] = Counter(counts)
        return self._before[of_what] - before

    def _seconds_in(self, state: WorkerState) -> float:
        if state is not self._state:
            self._state, self._state_since = state, time.monotonic()
        return time.monotonic() - self._state_since


def _nothing() -> None:
    """Stand for a weak reference to no session."""


def _values(session: Session, now: Snapshot, rate_hz: float) -> dict[str, dict[str, str]]:
    result = session.last_result
    engine = {'state': now.engine_state.value}
    pairs = {'answered': str(now.answered), 'rate_hz': f'{rate_hz:.2f}'}
    if result is not None:
        info = result.engine
        engine.update(name=info.name, device=info.device, precision=info.precision)
        pairs['scale_source'] = result.scale.source.value
        pairs['scale'] = f'{result.scale.factor:.4f}'
    ages = sorted(session.ages_ms)
    if ages:
        pairs['age_ms_p50'] = f'{statistics.median(ages):.1f}'
        pairs['age_ms_p99'] = f'{ages[int(0.99 * (len(ages) - 1))]:.1f}'
    pairs.update({f'dropped_{reason}': str(count) for reason, count in session.drops.items()})
    inputs = {f'{item.source}_received': str(item.received) for item in now.inputs}
    values = {'engine': engine, 'inputs': inputs, 'pairs': pairs}
    if now.following is not None:
        values['sequence'] = {**_following_values(now.following), **_odometry_values(now.odometry)}
    return values


def _odometry_values(now: OdometryFacts | None) -> dict[str, str]:
    if now is None:
        return {}
    return {
        'odometry_received': str(now.received),
        'odometry_invalid': str(now.invalid),
        'odometry_missed': str(now.missed),
    }


def _following_values(now: Following) -> dict[str, str]:
    return {
        'state': 'waiting' if now.state is None else now.state.value,
        'frames': str(now.frames),
        'lost': str(now.lost),
        'keyframes': str(now.keyframes),
        'loops': str(now.loops),
        'scale_source': now.scale_source.value,
        'focal': _focal_in_words(now),
        'map_laid': f'{now.map_share:.0%}',
    }


def _focal_in_words(now: Following) -> str:
    if now.focal_px is None:
        return 'calibrated'
    return f'{now.focal_px:.1f} px, ' + ('settled' if now.focal_is_settled else 'not settled')
