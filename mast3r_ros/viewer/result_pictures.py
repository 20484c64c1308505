# SPDX-License-Identifier: Apache-2.0
"""Pictures of one answered pair: its depth, its confidence, and its error where truth is known."""

from __future__ import annotations

import numpy as np

from mast3r_ros.core.depth_error import DepthError
from mast3r_ros.core.products import Cloud, PairResult
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import ImageArray
from mast3r_ros.viewer.value_maps import draw_confidence, draw_depth, draw_error

METRES, BASELINES, UNKNOWN = 'metres', 'x baseline', 'unit unknown'


def depth_picture(result: PairResult, cloud: Cloud) -> ImageArray:
    """Return the depth of view 1 as a picture, in metres or in distances of the two cameras."""
    unit, length = depth_unit(result)
    return draw_depth(cloud.depth / np.float32(length), unit)


def confidence_picture(cloud: Cloud) -> ImageArray:
    """Return the confidence of the points of view 1 as a picture."""
    return draw_confidence(np.where(np.isfinite(cloud.depth), cloud.confidence, np.nan))


def error_picture(found: DepthError) -> ImageArray:
    """Return the error of the depth of view 1 as a picture."""
    title = f'error of the depth, metres; median {found.quantile(0.5):.3g}'
    return draw_error(found.error, title)


def depth_unit(result: PairResult) -> tuple[str, float]:
    """Return the unit in which a pair's depth is told, and how long that is in the cloud's own."""
    if result.scale.source is not ScaleSource.NONE:
        return METRES, 1.0
    if result.pair.T_2_1 is None and result.T_2_1 is not None:  # the engine found it
        baseline = float(np.linalg.norm(result.T_2_1[:3, 3]))
        if baseline > 0.0:
            return BASELINES, baseline
    return UNKNOWN, 1.0
