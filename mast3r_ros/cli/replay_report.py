# SPDX-License-Identifier: Apache-2.0
"""What mast3r-replay says at the end: how many pairs, how fast, what was dropped, and where."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mast3r_ros.bags.camera_topics import CameraTopics
    from mast3r_ros.bags.run import Outcome


def facts_of(
    outcome: Outcome, cameras: Sequence[CameraTopics], notices: Sequence[str]
) -> dict[str, Any]:
    """Return what there is to say of a replay; with ``--json`` it is printed as it is."""
    engine = outcome.engine
    return {
        'cameras': [vars(camera) for camera in cameras],
        'engine': engine.name if engine else None,
        'device': engine.device if engine else None,
        'pairs': outcome.pairs,
        'failed': outcome.failed,
        'seconds': round(outcome.seconds, 3),
        'dropped': outcome.drops,
        'notices': list(notices),
        'output': str(outcome.path) if outcome.path else None,
        'messages': outcome.messages,
    }


def as_text(report: dict[str, Any]) -> str:
    """Return the same in lines for people."""
    rate = report['pairs'] / max(report['seconds'], 1e-3)
    by = f' by {report["engine"]} ({report["device"]})' if report['engine'] else ''
    lines = [f'{report["pairs"]} pairs answered in {report["seconds"]:.1f} s, {rate:.1f}/s{by}']
    if report['failed']:
        lines.append(f'{report["failed"]} pairs failed')
    if report['dropped']:
        lines.append(f'dropped: {_counts(report["dropped"])}')
    if report['output']:
        lines.append(f'written to {report["output"]}')
        lines += [f'  {count:6d}  {topic}' for topic, count in report['messages'].items()]
    return '\n'.join(lines)


def why_nothing(outcome: Outcome) -> str:
    """Return why no pair was answered, and what to do."""
    if outcome.failed:
        return f'none of the {outcome.failed} pairs could be answered, see above'
    if outcome.closest_miss_ns is not None:
        return (
            f'no two images belong together: the nearest stamps are '
            f'{outcome.closest_miss_ns / 1e6:.3f} ms apart; raise pairing.tolerance_s'
        )
    seen = f' (dropped: {_counts(outcome.drops)})' if outcome.drops else ''
    return f'no pair was found in this part of the bag{seen}; check the topics and the stamps'


def _counts(drops: dict[str, int]) -> str:
    return ', '.join(f'{reason} {count}' for reason, count in sorted(drops.items()))
