# SPDX-License-Identifier: Apache-2.0
"""Parts to feed a view with: walls of one colour, and pairs of pictures."""

from __future__ import annotations

import numpy as np

from mast3r_ros.viewer.parts import CloudPart, MatchPart, StatsPart

HEIGHT, WIDTH, FOCAL = 120, 160, 120.0


def wall(number, color, depth=4.0, far_color=None, far_depth=20.0):
    """Return the cloud of a wall; its right half may be of another colour and farther away."""
    v, u = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    z = np.full((HEIGHT, WIDTH), depth, np.float32)
    colors = np.full((HEIGHT, WIDTH, 3), color, np.uint8)
    if far_color is not None:
        z[:, WIDTH // 2 :] = far_depth
        colors[:, WIDTH // 2 :] = far_color
    x, y = (u - (WIDTH - 1) / 2) / FOCAL * z, (v - (HEIGHT - 1) / 2) / FOCAL * z
    points = np.stack([x, y, z], axis=-1)
    return CloudPart(number, points, colors, np.full((HEIGHT, WIDTH), 3.0, np.float32))


def matches(number, count=50):
    """Return matches along the diagonal."""
    uv = np.stack([np.linspace(0, WIDTH - 1, count), np.linspace(0, HEIGHT - 1, count)], axis=-1)
    uv = uv.astype(np.float32)
    size = (WIDTH, HEIGHT)
    return MatchPart(number, number, size, size, uv, uv, np.ones(count, np.float32))


def stats(number, drops=0):
    """Return plausible statistics."""
    stages = {'wait': 2.0, 'decode': 40.0}
    counts = {'superseded': drops}
    return StatsPart(number, 'geometric', 'cpu', 55.0, stages, counts, 50, 'stereo_baseline')


def feed(scene, number, color, **changes):
    """Feed one pair."""
    scene.offer_cloud(lambda: wall(number, color, **changes))
    scene.offer_matches(lambda: matches(number))
    scene.add_stats(stats(number))
