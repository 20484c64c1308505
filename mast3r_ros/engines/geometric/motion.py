# SPDX-License-Identifier: Apache-2.0
"""Two views of a moving camera: dense matches, the motion between them, depth from both.

It also serves calibrated pairs that cannot be rectified, one camera standing before the other.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.poses import rotation_pose
from mast3r_ros.core.results import InferenceResult, Output
from mast3r_ros.core.views import Grid
from mast3r_ros.engines.geometric.answers import (
    MIN_FOUND_SHARE,
    MIN_SIDE_PX,
    NOTHING_FOUND,
    TOO_SMALL,
    Stages,
)
from mast3r_ros.engines.geometric.features import GeometricFeatures
from mast3r_ros.engines.geometric.flow import Flow, find_flow
from mast3r_ros.engines.geometric.flow_depth import cloud_from_flow, focal_px
from mast3r_ros.engines.geometric.pose import find_relative_pose

_CELL_PX = 12  # the best match of each cell counts for the motion
_MIN_INLIER_SHARE = 0.5  # of the matches that one motion must explain
_MOVED_PX = 0.4  # median parallax of a camera that really moved
_GUESSED_FOCAL = 1.0  # of the longer side, where there is no calibration

_NO_MOTION_FITS = 'no single motion of the camera explains the matches: there is no depth'
_NOT_MOVED = (
    'the camera turned at most, it did not move: there is no parallax to measure depth by, and '
    'the translation is zero'
)


def solve_motion(
    one: GeometricFeatures,
    two: GeometricFeatures,
    empty: InferenceResult,
    outputs: Output,
    stages: Stages,
) -> InferenceResult:
    """Return ``empty`` filled with what the pair shows; its T_2_1 is found unless it is known."""
    if min(*one.gray.shape, *two.gray.shape) < MIN_SIDE_PX:
        return replace(empty, notes=(TOO_SMALL,))
    with stages('flow'):
        flows = find_flow(one.gray, two.gray)
    if min(flow.share for flow in flows) < MIN_FOUND_SHARE:
        return replace(empty, notes=(NOTHING_FOUND,))
    result = _with_warps(empty, flows) if Output.WARP in outputs else empty
    camera_1, camera_2, notes = _cameras(one.grid, two.grid)
    if result.T_2_1 is None:
        with stages('motion'):
            T_2_1, trouble = _find_motion(flows[0], camera_1, camera_2)
        result = replace(result, T_2_1=T_2_1, notes=(*notes, *trouble))
        if trouble:
            return result
    with stages('lift'):
        return _with_clouds(result, flows, (camera_1, camera_2), outputs)


def _with_warps(result: InferenceResult, flows: tuple[Flow, Flow]) -> InferenceResult:
    flow_1, flow_2 = flows
    return replace(result, warp_1_2=flow_1.warp, warp_2_1=flow_2.warp, warp_conf_1=flow_1.quality)


def _with_clouds(
    result: InferenceResult,
    flows: tuple[Flow, Flow],
    cameras: tuple[Camera, Camera],
    outputs: Output,
) -> InferenceResult:
    (flow_1, flow_2), (camera_1, camera_2), T_2_1 = flows, cameras, result.T_2_1
    assert T_2_1 is not None  # for the type checker
    if Output.CLOUD_1 in outputs:
        points, conf = cloud_from_flow(flow_1, camera_1, camera_2, T_2_1)
        result = replace(result, pts3d_1=points, conf_1=conf)
    if Output.CLOUD_2 in outputs:
        T_1_2 = np.asarray(np.linalg.inv(T_2_1), np.float64)
        points, conf = cloud_from_flow(flow_2, camera_2, camera_1, T_1_2)
        in_1 = transform(T_1_2, points).astype(np.float32)
        result = replace(result, pts3d_2=in_1, conf_2=conf)
    return result


def _cameras(grid_1: Grid, grid_2: Grid) -> tuple[Camera, Camera, tuple[str, ...]]:
    """Return both calibrations, guessed where there is none, and what to say about that."""
    guessed = [number for number, grid in ((1, grid_1), (2, grid_2)) if grid.camera is None]
    camera_1, camera_2 = (grid.camera or _guess(grid) for grid in (grid_1, grid_2))
    if not guessed:
        return camera_1, camera_2, ()
    guess_px = focal_px(camera_1 if 1 in guessed else camera_2)
    which = ' and '.join(f'view {number}' for number in guessed)
    note = (
        f'{which} without calibration: the focal length is taken as the longer side '
        f'({guess_px:.0f} px), so angles and shapes are rough'
    )
    return camera_1, camera_2, (note,)


def _guess(grid: Grid) -> Camera:
    guess_px = _GUESSED_FOCAL * max(grid.width, grid.height)
    center = 0.5 * (grid.width - 1), 0.5 * (grid.height - 1)
    return Camera.pinhole(grid.width, grid.height, guess_px, guess_px, *center)


def _find_motion(
    flow: Flow, camera_1: Camera, camera_2: Camera
) -> tuple[Matrix | None, tuple[str, ...]]:
    """Return ``T_2_1`` with a translation of length 1, and why there is no depth if so."""
    pixels = _best_of_cells(flow)
    rays_1 = camera_1.unproject(pixels)
    rays_2 = camera_2.unproject(flow.warp[pixels[:, 1], pixels[:, 0]])
    known = np.isfinite(rays_1).all(axis=1) & np.isfinite(rays_2).all(axis=1)
    pose = find_relative_pose(rays_1[known], rays_2[known], focal_px(camera_2))
    if pose is None or pose.inliers.mean() < _MIN_INLIER_SHARE:
        return None, (_NO_MOTION_FITS,)
    if pose.parallax_px < _MOVED_PX:
        return rotation_pose(pose.R), (_NOT_MOVED,)
    return pose.T_2_1, ()


def _best_of_cells(flow: Flow) -> Matrix:
    """Return the pixel (N, 2) of the surest match in each cell that has one."""
    rows, columns = (side // _CELL_PX for side in flow.quality.shape)
    cells = flow.quality[: rows * _CELL_PX, : columns * _CELL_PX]
    cells = cells.reshape(rows, _CELL_PX, columns, _CELL_PX).swapaxes(1, 2)
    best = cells.reshape(rows, columns, -1).argmax(axis=2)
    row, column = np.mgrid[:rows, :columns] * _CELL_PX
    pixels = np.stack([column + best % _CELL_PX, row + best // _CELL_PX], axis=-1).reshape(-1, 2)
    return np.asarray(pixels[flow.quality[pixels[:, 1], pixels[:, 0]] > 0.0])
