# SPDX-License-Identifier: Apache-2.0
"""What the page says in words: how the node is, and what is wrong. HTML, all input escaped."""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass

from mast3r_ros.viewer.colours import css_gradient
from mast3r_ros.viewer.parts import NO_UNIT, Sentence, StatsPart

MOST_SENTENCES = 5
_LONGEST = 320  # characters of one sentence

# A sign beside every colour: nobody needs to tell colours apart to read them.
_SIGNS = {0: ('&#10003;', '#56b4e9'), 1: ('&#9650;', '#e69f00'), 2: ('&#10006;', '#ff7a5c')}
_STATES = {
    'live': ('&#9679; LIVE', '#56b4e9'),
    'paused': ('&#10074;&#10074; PAUSED', '#e69f00'),
    'waiting': ('&#8230; WAITING', '#e69f00'),
    'ended': ('&#9632; ENDED', '#bbbbbb'),
}


@dataclass(frozen=True)
class Situation:
    """What the headline is made of."""

    state: str  # live, paused, waiting, ended
    source: str  # the node's or the bag's name
    rate_hz: float = 0.0
    age_ms: float = math.nan
    stats: StatsPart | None = None
    shown: int = 0  # points
    kept: int = 0  # of so many that pass the limits
    in_map: int = 0


def headline(now: Situation) -> str:
    """Return the state, the figures of now and what they are figures of."""
    label, colour = _STATES[now.state]
    badge = (
        f'<span style="background:{colour};color:#111;border-radius:4px;padding:2px 8px;'
        f'font-weight:700">{label}</span>'
    )
    lines = [f'{badge} <b>{html.escape(now.source)}</b>']
    figures = [f'<b>{now.rate_hz:.1f}</b> pairs/s']
    if math.isfinite(now.age_ms):
        figures.append(f'<b>{now.age_ms:.0f}</b> ms old')
    if now.stats is not None:
        if now.stats.drops:
            figures.append(f'<b>{sum(now.stats.drops.values())}</b> dropped')
        lines.append(' &middot; '.join(figures))
        lines.append(_made_by(now.stats))
    if now.kept:
        points = f'{_count(now.shown)} of {_count(now.kept)} points'
        lines.append(points + (f', {_count(now.in_map)} in the map' if now.in_map else ''))
    body = '<br>'.join(lines)
    return f'<div style="padding:4px 12px;font-size:13px;line-height:1.65">{body}</div>'


def sentences(found: Sequence[Sentence]) -> str:
    """Return what is wrong, the worst first."""
    rows = []
    for item in sorted(found, key=lambda sentence: -sentence.level)[:MOST_SENTENCES]:
        sign, colour = _SIGNS[min(max(item.level, 0), 2)]
        text = item.text if len(item.text) <= _LONGEST else item.text[: _LONGEST - 3] + '...'
        rows.append(
            f'<div style="border-left:3px solid {colour};padding:1px 0 1px 8px;margin:5px 0">'
            f'<span style="color:{colour}">{sign}</span> {html.escape(text)}</div>'
        )
    return f'<div style="padding:0 12px;font-size:12px;line-height:1.35">{"".join(rows)}</div>'


def caption(text: str) -> str:
    """Return a line above a picture."""
    return f'<div style="padding:2px 12px 0;font-size:12px">{html.escape(text)}</div>'


def scales(left: str, right: str) -> str:
    """Return two scales side by side, under two pictures that stand side by side."""
    cell = 'flex:1;min-width:0'
    return (
        f'<div style="display:flex;gap:12px;padding:0 12px 2px;font-size:11px">'
        f'<div style="{cell}">{left}</div><div style="{cell}">{right}</div></div>'
    )


def scale(title: str, low: float, high: float, unit: str, colour_map: int) -> str:
    """Return a scale with its ends and its middle in figures.

    :param title: what is measured; it may hold HTML.
    """
    ends = [_figure(value) for value in (low, (low + high) / 2, high)]
    unit = html.escape(unit)
    return (
        f'<div>{title}</div>'
        f'<div style="height:8px;border-radius:2px;background:{css_gradient(colour_map)}"></div>'
        f'<div style="display:flex;justify-content:space-between"><span>{ends[0]}</span>'
        f'<span>{ends[1]}</span><span>{ends[2]}{unit}</span></div>'
    )


def unit_of(scale_source: str) -> str:
    """Return the unit of a cloud's lengths, with the space before it."""
    return ' (no unit)' if scale_source == NO_UNIT else ' m'


def _made_by(stats: StatsPart) -> str:
    device = f' on {html.escape(stats.device)}' if stats.device else ''
    named = {'model': "the network's metres", 'stereo_baseline': 'metres by the stereo baseline'}
    unit = named.get(stats.scale_source, 'lengths without a known unit')
    return f'{html.escape(stats.engine)}{device} &middot; {stats.matches} matches<br>{unit}'


def _count(value: int) -> str:
    return f'{value / 1000:.0f}k' if value >= 10_000 else str(value)


def _figure(value: float) -> str:
    if not math.isfinite(value):
        return '-'
    return f'{value:.2f}' if abs(value) < 10 else f'{value:.0f}'
