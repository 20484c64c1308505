# SPDX-License-Identifier: Apache-2.0
"""What there is to say of a followed camera and of the odometry that it listens to."""

from __future__ import annotations

from collections.abc import Iterator

from mast3r_ros.choices import OdometryUse
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.ros.finding import SILENT_S, Finding, Level
from mast3r_ros.ros.odometry_facts import OdometryFacts
from mast3r_ros.sequence.follower import Following
from mast3r_ros.sequence.frames import TrackingState


def about_sequence(now: Following) -> Iterator[Finding]:
    """Say where the camera is, or why nobody knows, and in which unit."""
    if now.state is None:
        yield Finding(Level.OK, 'sequence', 'no frame was followed yet')
    elif now.state is TrackingState.LOST:
        text = (
            f'the camera is lost: {now.reason}; bring it back to a place it has seen, or call '
            '~/reset to begin a new world'
        )
        yield Finding(Level.WARN, 'sequence', text)
    else:
        text = f'{now.state.value}; {now.keyframes} keyframes, {now.loops} loop edges'
        yield Finding(Level.OK, 'sequence', text)
    if now.camera:
        level = Level.WARN if now.camera_is_guessed else Level.OK
        yield Finding(level, 'sequence', now.camera)
    if now.map_share < 1.0:
        text = f'after a loop the map is laid anew, {now.map_share:.0%} of it by now; until then '
        yield Finding(Level.OK, 'sequence', text + '~/map is the one from before')
    if now.keyframes and now.scale_source is ScaleSource.NONE:
        text = (
            'path and map have no known unit; a calibrated stereo pair or a network that knows '
            'metres gives one'
        )
        yield Finding(Level.WARN, 'sequence', text)


def about_odometry(now: OdometryFacts | None) -> Iterator[Finding]:
    """Say what is wrong with the odometry; the camera is followed by its pictures meanwhile."""
    if now is None:
        return
    meanwhile = 'the camera is followed by its pictures alone meanwhile'
    if now.incompatible:
        text = (
            f'{now.incompatible} publisher of {now.topic} offers a quality of service that cannot '
            'be heard; have it offer volatile durability'
        )
        yield Finding(Level.ERROR, 'sequence', text)
    if now.invalid_lately:
        text = f'{now.topic}: {now.invalid_lately} messages cannot be used ({now.problem}); '
        yield Finding(Level.WARN, 'sequence', text + meanwhile)
    elif not now.publishers:
        text = f'nobody publishes {now.topic}; start it, or empty sequence.odometry_topic; '
        yield Finding(Level.WARN, 'sequence', text + meanwhile)
    elif now.silent_s is None or now.silent_s > SILENT_S:
        since = 'yet' if now.silent_s is None else f'for {now.silent_s:.0f} s'
        text = f'no odometry has come on {now.topic} {since}; {meanwhile}'
        yield Finding(Level.WARN, 'sequence', text)
    elif now.missed_lately:
        text = (
            f'{now.topic}: {now.missed_lately} frames found no odometry within '
            f'{now.tolerance_s:g} s of their stamp; see that both have one clock, or raise '
            'sequence.odometry_tolerance_s'
        )
        yield Finding(Level.WARN, 'sequence', text)
    if now.child_frame and now.camera_frame and now.child_frame != now.camera_frame:
        text = (
            f'{now.topic} is of {now.child_frame} and not of {now.camera_frame}, so it is not '
            'used; set sequence.odometry_to_camera to where the camera is in it'
        )
        yield Finding(Level.WARN, 'sequence', text)
    elif now.received and now.use is OdometryUse.POSES:
        yield Finding(Level.OK, 'sequence', f'poses are those of {now.topic}')
