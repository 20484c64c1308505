# SPDX-License-Identifier: Apache-2.0
"""What is wrong with a running node, in sentences that name the dead link and the cure.

Knows no ROS: the node takes a snapshot of itself, this module reads it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from mast3r_ros.core.worker_state import WorkerState
from mast3r_ros.ros.finding import SILENT_S, Finding, Level
from mast3r_ros.ros.odometry_facts import OdometryFacts
from mast3r_ros.ros.sequence_findings import about_odometry, about_sequence
from mast3r_ros.sequence.follower import Following

PLAUSIBLE_AGE_MS = (-1e3, 60e3)
"""Results older or younger than that when published come from clocks that disagree."""


@dataclass(frozen=True)
class InputFacts:
    """What is known of one camera's topics."""

    source: str
    image_topic: str
    info_topic: str
    mask_topic: str
    publishers: int = 0
    received: int = 0
    silent_s: float | None = None  # since the last image; None before the first
    incompatible: Mapping[str, int] | None = None  # publishers that cannot be heard, by topic
    has_calibration: bool = False
    calibration_problem: str | None = None
    drops_lately: Mapping[str, int] | None = None

    @property
    def is_sending(self) -> bool:
        """Whether images come in."""
        return self.silent_s is not None and self.silent_s <= SILENT_S


@dataclass(frozen=True)
class Snapshot:
    """What is known of the node at one moment; lately is since the snapshot before."""

    engine_state: WorkerState = WorkerState.NEW
    engine_error: str | None = None
    instead_of: str | None = None  # why the engine replaces the one that was asked for
    state_s: float = 0.0  # for how long the engine is in that state
    failure: str | None = None  # why the last transition failed
    active: bool = False
    listened_to: bool = False
    inputs: tuple[InputFacts, ...] = ()
    paired_lately: int = 0
    answered: int = 0
    answered_lately: int = 0
    drops_lately: Mapping[str, int] | None = None  # of pairs
    closest_miss_ms: float | None = None
    tolerance_ms: float = 0.0
    only_equal_stamps: bool = False  # by pairing.sync: exact
    last_problem: str | None = None
    median_age_ms: float | None = None
    notes: tuple[str, ...] = ()
    following: Following | None = None  # None: the camera is not followed
    odometry: OdometryFacts | None = None  # None: there is to be none


def findings(now: Snapshot) -> list[Finding]:
    """Return everything worth saying, the worst first."""
    found = [*_about_engine(now)]
    if now.active and now.listened_to:
        for item in now.inputs:
            found += _about_images(item)
            found += _about_calibration(item)
            found += _about_masks(item)
        found += _about_pairing(now)
        found += _about_results(now)
        if now.following is not None:
            found += about_sequence(now.following)
            found += about_odometry(now.odometry)
    return sorted(found, key=lambda item: -item.level)


def no_engine(error: object) -> str:
    """Say that the engine could not be had, and what to do."""
    return (
        f'there is no engine: {error}; once that is mended, configure the node anew (deactivate, '
        'cleanup, configure, activate) or restart it; with runtime.fallback: geometric stereo '
        'geometry runs meanwhile'
    )


def _about_engine(now: Snapshot) -> Iterator[Finding]:
    state = now.engine_state
    if now.failure is not None:
        yield Finding(Level.ERROR, 'engine', now.failure)
    elif state is WorkerState.LOADING:
        text = f'the engine is loading, for {now.state_s:.0f} s now; results follow'
        yield Finding(Level.WARN, 'engine', text)
    elif state is WorkerState.FAILED:
        yield Finding(Level.ERROR, 'engine', no_engine(now.engine_error))
    elif state is WorkerState.DEAD:
        yield Finding(Level.ERROR, 'engine', f'the engine is dead: {now.engine_error}')
    elif state is WorkerState.CLOSED:
        text = 'the engine is closed; configure the node anew (deactivate, cleanup, configure, '
        yield Finding(Level.ERROR, 'engine', text + 'activate) or restart it')
    elif not now.active:
        yield Finding(Level.OK, 'engine', 'the node is not active')
    elif not now.listened_to:
        yield Finding(Level.OK, 'engine', 'nobody listens to any output, so nothing is computed')
    elif state is WorkerState.READY:
        yield Finding(Level.OK, 'engine', 'the engine is ready')
    if state is WorkerState.READY and now.instead_of is not None:
        text = f'geometry runs instead, as runtime.fallback asks: {now.instead_of}'
        yield Finding(Level.WARN, 'engine', text)


def _about_images(item: InputFacts) -> Iterator[Finding]:
    for topic, count in (item.incompatible or {}).items():
        text = (
            f'{count} publisher of {topic} offers a quality of service that cannot be heard; set '
            f'qos_overrides.{topic}.subscription.reliability to best_effort'
        )
        yield Finding(Level.ERROR, 'inputs', text)
    if item.publishers == 0:
        text = (
            f'{item.source}: nobody publishes {item.image_topic}; start the camera or remap the '
            'topic'
        )
        yield Finding(Level.ERROR, 'inputs', text)
    elif not item.is_sending:
        since = 'yet' if item.silent_s is None else f'for {item.silent_s:.0f} s'
        text = f'{item.source}: no image has come on {item.image_topic} {since}'
        yield Finding(Level.WARN, 'inputs', text)


def _about_calibration(item: InputFacts) -> Iterator[Finding]:
    if item.calibration_problem is not None:
        yield Finding(Level.ERROR, 'inputs', item.calibration_problem)
    elif item.received and not item.has_calibration:
        text = (
            f'no calibration has come on {item.info_topic}; without it the cloud has no known '
            'scale and its focal length is estimated: publish a CameraInfo there or remap it'
        )
        yield Finding(Level.WARN, 'inputs', text)


_MASK_WORDS = {
    'mask_late': 'found no mask of their own stamp in time and were answered without; publish '
    'masks with the stamp of their image, or set mask_policy to required',
    'mask_missing': 'were dropped because no mask of their stamp came (mask_policy: required)',
    'mask_invalid': 'had a mask that cannot be used; it must be mono8 and as large as its image',
    'overflow': 'did not fit into the queue of those that wait for their mask and are lost; '
    'publish masks sooner, slow the input down or raise input.queue_limit',
}


def _about_masks(item: InputFacts) -> Iterator[Finding]:
    drops = item.drops_lately or {}
    for reason, words in _MASK_WORDS.items():
        if reason in drops:
            text = f'{item.mask_topic}: {drops[reason]} images {words}'
            level = Level.ERROR if reason == 'overflow' else Level.WARN
            yield Finding(level, 'inputs', text)
    if 'invalid_stamp' in drops:
        text = (
            f'{item.image_topic}: {drops["invalid_stamp"]} messages had a stamp that is no time; '
            'have their publisher set header.stamp'
        )
        yield Finding(Level.WARN, 'inputs', text)


def _about_pairing(now: Snapshot) -> Iterator[Finding]:
    all_sending = all(item.is_sending for item in now.inputs)
    if all_sending and not now.paired_lately and now.closest_miss_ms is not None:
        rule, cure = (
            ('pairing.sync exact asks for equal ones', 'set pairing.sync to nearest')
            if now.only_equal_stamps
            else (f'the tolerance is {now.tolerance_ms:g} ms', 'raise pairing.tolerance_s')
        )
        text = (
            f'left and right stamps are {now.closest_miss_ms:.1f} ms apart at best and {rule}; '
            f'synchronise the cameras or {cure}'
        )
        yield Finding(Level.ERROR, 'pairs', text)


_FAILURES = ('invalid_input', 'engine_failed', 'no_engine', 'failed')

_DROP_WORDS = {
    'duplicate_stamp': 'images had the stamp of the one before; have the camera set header.stamp '
    'to the time of each exposure',
    'no_partner': 'images came without one of the other camera near enough in time; see that both '
    'cameras run, at the same rate and with stamps of the same clock',
    'time_jump': 'images were waiting when stamps went back; that is well where a bag starts '
    'again, else see that one clock alone stamps the images',
    'out_of_order': 'images made a pair older than the one before; set pairing.sync to nearest',
    'superseded': 'pairs gave way to newer ones while the engine was at work on an earlier one',
    'reset': 'images and pairs were waiting when the node was told to forget them',
}


def _about_results(now: Snapshot) -> Iterator[Finding]:
    drops = now.drops_lately or {}
    if 'overflow' in drops:
        text = (
            f'{drops["overflow"]} pairs did not fit into the queue and are lost; slow the input '
            'down or raise input.queue_limit'
        )
        yield Finding(Level.ERROR, 'pairs', text)
    failed = sum(drops.get(reason, 0) for reason in _FAILURES)
    if failed:
        level = Level.WARN if now.answered_lately else Level.ERROR
        yield Finding(level, 'pairs', f'{failed} pairs failed: {now.last_problem}')
    if not now.answered_lately:
        yield from _about_drops(now, drops)
    age_ms = now.median_age_ms
    if age_ms is not None and not PLAUSIBLE_AGE_MS[0] <= age_ms <= PLAUSIBLE_AGE_MS[1]:
        text = (
            f'results are {age_ms / 1e3:.0f} s old when published; the stamps and this clock '
            'disagree: set use_sim_time for a bag, or synchronise the clocks'
        )
        yield Finding(Level.WARN, 'pairs', text)
    for note in now.notes:
        yield Finding(Level.WARN, 'pairs', note)
    if now.answered_lately:
        dropped = ', '.join(f'{count} {reason}' for reason, count in drops.items())
        suffix = f'; dropped: {dropped}' if dropped else ''
        yield Finding(Level.OK, 'pairs', f'{now.answered_lately} pairs answered lately{suffix}')


def _about_drops(now: Snapshot, drops: Mapping[str, int]) -> Iterator[Finding]:
    """Say what became of the images while nothing was answered, as far as nothing above does."""
    said = {*_FAILURES, 'overflow'}
    if now.closest_miss_ms is not None:
        said.add('no_partner')
    # Where pairs come about, the engine is just at work for longer than from report to report.
    level = Level.OK if now.paired_lately else Level.WARN
    for reason, count in drops.items():
        if reason not in said:
            words = _DROP_WORDS.get(reason, f'images or pairs were dropped: {reason}')
            yield Finding(level, 'pairs', f'{count} {words}')
