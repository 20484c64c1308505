# SPDX-License-Identifier: Apache-2.0
"""Watches the demo's node from outside: rate, age, drops, and error against the flight's truth."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import Image

from mast3r_ros.msg import MatchArray, PairStats
from mast3r_ros.ros import qos
from mast3r_ros.sim.recording import Recording
from mast3r_ros.wire.stamps import stamp_ns


@dataclass
class Tally:
    """What was seen of the node's results."""

    stamps_ns: list[int] = field(default_factory=list)
    ages_ms: list[float] = field(default_factory=list)
    depth_errors: list[float] = field(default_factory=list)  # relative, the median of each image
    matches: list[int] = field(default_factory=list)
    drops: dict[str, int] = field(default_factory=dict)
    scale_source: str = ''

    def rate_hz(self) -> float:
        """Return answered pairs a second, from first to last stamp."""
        if len(self.stamps_ns) < 2:
            return 0.0
        return (len(self.stamps_ns) - 1) * 1e9 / (self.stamps_ns[-1] - self.stamps_ns[0])

    def summary(self) -> dict[str, Any]:
        """Return the figures of the whole run; None where nothing was seen."""
        return {
            'pairs': len(self.stamps_ns),
            'rate_hz': round(self.rate_hz(), 2),
            'age_ms': {'p50': _quantile(self.ages_ms, 0.5), 'p99': _quantile(self.ages_ms, 0.99)},
            'drops': self.drops,
            'median_depth_error': _quantile(self.depth_errors, 0.5, digits=5),
            'matches': _quantile([float(count) for count in self.matches], 0.5, digits=0),
            'scale_source': self.scale_source,
        }

    def line(self) -> str:
        """Return the latest figures in one line."""
        if not self.stamps_ns:
            return 'waiting for the first pair ...'
        age_ms = statistics.median(self.ages_ms[-30:])
        errors = self.depth_errors[-30:]
        error = f'{100 * statistics.median(errors):.2f} %' if errors else 'not yet known'
        return (
            f'{len(self.stamps_ns)} pairs, {self.rate_hz():.1f} Hz, age {age_ms:.0f} ms, '
            f'{sum(self.drops.values())} dropped, depth error {error}'
        )


class DemoMonitor(Node):
    """Subscribes to the node's results and keeps a tally.

    :param recording: the flight that the simulator plays.
    :param start_ns: stamp of the flight's first frame.
    """

    def __init__(self, recording: Recording, start_ns: int, node_name: str = 'mast3r') -> None:
        super().__init__('demo_monitor')
        self.tally = Tally()
        self._recording = recording
        self._start_ns = start_ns
        for kind, topic, callback in (
            (PairStats, 'stats', self._on_stats),
            (Image, 'depth/image', self._on_depth),
            (MatchArray, 'matches', self._on_matches),
        ):
            self.create_subscription(kind, f'/{node_name}/{topic}', callback, qos.output())

    def _on_stats(self, message: PairStats) -> None:
        self.tally.stamps_ns.append(stamp_ns(message.header.stamp))
        self.tally.ages_ms.append(message.age_ms)
        self.tally.drops = dict(
            zip(message.drop_reasons, map(int, message.drop_counts), strict=True)
        )
        self.tally.scale_source = message.scale_source

    def _on_matches(self, message: MatchArray) -> None:
        self.tally.matches.append(len(message.u_1))

    def _on_depth(self, message: Image) -> None:
        flown_s = (stamp_ns(message.header.stamp) - self._start_ns) / 1e9
        frame = self._recording.frame(round(flown_s * self._recording.config.rate_hz))
        depth = np.frombuffer(message.data, np.float32).reshape(message.height, message.width)
        error = np.abs(depth - frame.depth) / frame.depth
        known = error[np.isfinite(error)]
        if known.size:
            self.tally.depth_errors.append(float(np.median(known)))


def _quantile(values: list[float], share: float, digits: int = 2) -> float | None:
    return round(float(np.quantile(values, share)), digits) if values else None
