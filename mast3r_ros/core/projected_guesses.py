# SPDX-License-Identifier: Apache-2.0
"""Where a pixel likely lies in the other view, by the points that a network gave both views.

The points of view 2 lie in the frame of camera 1, so their rays tell where they appear in view 1.
The way from view 1 to view 2 is the same one backwards.

Places are (2, pixels): x and y, NaN where there is none. Slopes are x/z and y/z in the same form.
"""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.results import FloatArray, InferenceResult
from mast3r_ros.core.views import Grid
from mast3r_ros.errors import InvalidInput

Places = NDArray[np.float32]
Array = NDArray[np.float64]
Lens = NDArray[np.float32]  # (2, 3), takes (x/z, y/z, 1) to pixels of a view

_MIN_SAMPLES = 50
_MAX_SAMPLES = 10_000
_FITS = 3  # each without what was far off before
_WORST_FIT = 0.1  # median error in widths of the view: beyond, the points tell nothing
_STEEPEST = 10.0  # x/z and y/z of a point that can be in a picture
_FLATTEST = 1e-6  # smallest eigenvalue over the largest of rays that tell a lens
_CORRECTIONS = 3
_DEPTH_STEPS = 65_535


@dataclass(frozen=True, eq=False)
class ProjectedGuesses:
    """A likely place in the other view for each pixel of both, row-major."""

    to_2: Places  # for each pixel of view 1
    to_1: Places  # for each pixel of view 2


def projected_guesses(result: InferenceResult, gap_px: float) -> ProjectedGuesses | None:
    """Return the guesses that a result's points make, None where they make none.

    :param gap_px: how far a pixel without a point may be from one whose guess it shares.
    """
    if result.pts3d_2 is None:
        return None
    _check_size('pts3d_1', result.pts3d_1, result.grid_1)
    _check_size('pts3d_2', result.pts3d_2, result.grid_2)
    to_1 = _in_view_1(result, result.pts3d_2)
    if to_1 is None:
        return None
    to_2 = _backwards(to_1, result.pts3d_2[..., 2], result.grid_1)
    return ProjectedGuesses(
        _filled(to_2, result.grid_1.width, gap_px), _filled(to_1, result.grid_2.width, gap_px)
    )


def _check_size(name: str, points: FloatArray | None, grid: Grid) -> None:
    if points is not None and points.shape != (grid.height, grid.width, 3):
        raise InvalidInput(
            f'{name} has shape {points.shape}; allowed is ({grid.height}, {grid.width}, 3), '
            'the size of its view'
        )


def _in_view_1(result: InferenceResult, points_2: FloatArray) -> Places | None:
    """Return where points appear in view 1.

    The rays of view 1's own points count, as the network's camera is not quite the calibrated one.
    """
    slopes_2 = _slopes(points_2)
    if result.pts3d_1 is not None:
        slopes_1 = _slopes(result.pts3d_1)
        lens = _fitted_lens(slopes_1, result.grid_1)
        if lens is not None:
            return _where_rays_agree(slopes_1, slopes_2, lens, result.grid_1)
    if result.grid_1.camera is None:
        return None
    rays = np.stack([*slopes_2, np.ones_like(slopes_2[0])], axis=1)
    return np.ascontiguousarray(result.grid_1.camera.project(rays).T, np.float32)


def _slopes(points: FloatArray) -> Places:
    """Return x/z and y/z of points (H, W, 3), NaN where they are not well in front."""
    x, y, z = points.reshape(-1, 3).T
    slopes = np.empty((2, len(z)), np.float32)
    with np.errstate(invalid='ignore', divide='ignore', over='ignore'):
        np.divide(x, z, out=slopes[0])
        np.divide(y, z, out=slopes[1])
        seen = (z > 0.0) & (z < np.inf)
        seen &= (np.abs(slopes[0]) < _STEEPEST) & (np.abs(slopes[1]) < _STEEPEST)
    slopes[:, ~seen] = np.nan
    return slopes


def _fitted_lens(slopes: Places, grid: Grid) -> Lens | None:
    """Return the lens by which a view's own points lie on their pixels, if there is one."""
    every = max(1, int(np.sqrt(grid.width * grid.height / _MAX_SAMPLES)))
    rows, columns = np.mgrid[0 : grid.height : every, 0 : grid.width : every].reshape(2, -1)
    sampled = slopes[:, rows * grid.width + columns].astype(np.float64)
    known = np.isfinite(sampled[0])
    rays = np.stack([*sampled[:, known], np.ones(np.count_nonzero(known))])
    pixels = np.stack([columns[known], rows[known]]).astype(np.float64)
    if rays.shape[1] < _MIN_SAMPLES:
        return None
    lens = _centred_lens(rays, pixels, grid)
    for turn in range(_FITS):
        # No products: the BLAS library would wake its threads for them.
        off_px = np.hypot(*(np.einsum('ij,jn->in', lens, rays) - pixels))
        error_px = float(np.median(off_px))
        if turn == _FITS - 1:
            break
        fits = off_px <= 3.0 * error_px + 1e-3
        near, at = rays[:, fits], pixels[:, fits]
        spread = np.einsum('in,jn->ij', near, near)
        eigenvalues = np.linalg.eigvalsh(spread)
        if eigenvalues[0] < _FLATTEST * eigenvalues[-1]:
            return None
        lens = np.linalg.solve(spread, np.einsum('in,jn->ij', near, at)).T
    return lens.astype(np.float32) if error_px <= _WORST_FIT * grid.width else None


def _centred_lens(rays: Array, pixels: Array, grid: Grid) -> Array:
    """Return the lens with the middle of the picture straight ahead; many points may be wrong."""
    centre = np.array([[(grid.width - 1) / 2], [(grid.height - 1) / 2]])
    squares = np.maximum((rays[:2] ** 2).sum(axis=0), 1e-12)
    focal_px = float(np.median(((pixels - centre) * rays[:2]).sum(axis=0) / squares))
    return np.hstack([focal_px * np.eye(2), centre])


def _where_rays_agree(slopes_1: Places, slopes_2: Places, lens: Lens, grid_1: Grid) -> Places:
    """Return the place in view 1 whose ray is that of each pixel of view 2.

    The lens leads near it. How far it leads the ray of the pixel there away from that pixel is
    made up for: so a distorted image is followed, and points that are on no camera's rays.
    """
    width, height = grid_1.width, grid_1.height
    rows, columns = np.mgrid[0:height, 0:width].astype(np.float32).reshape(2, -1)
    off = np.stack([columns, rows]) - _times(lens, slopes_1)
    off[:, ~(np.abs(off).max(axis=0) < _WORST_FIT * width)] = 0.0
    straight = _times(lens, slopes_2)
    known = np.isfinite(straight[0])
    last = np.array([[width - 1], [height - 1]], np.float32)
    place = straight
    for _ in range(_CORRECTIONS):
        # Beyond the border the border's pixels count.
        x, y = np.rint(np.clip(np.where(known, place, 0.0), 0.0, last)).astype(np.int32)
        place = straight + off[:, y * width + x]
    return place


def _times(lens: Lens, slopes: Places) -> Places:
    """Return where the lens puts slopes, in pixels."""
    ahead = lens[:, :1] * slopes[0] + lens[:, 1:2] * slopes[1] + lens[:, 2:]
    return np.asarray(ahead, np.float32)


def _whole_pixels(places: Places, grid: Grid) -> tuple[NDArray[np.int32], NDArray[np.bool_]]:
    """Return the nearest pixel (2, n) of each place, and whether it is inside the view at all."""
    x, y = places
    with np.errstate(invalid='ignore'):
        inside = (x > -0.5) & (x < grid.width - 0.5) & (y > -0.5) & (y < grid.height - 0.5)
    whole = np.zeros(places.shape, np.int32)
    np.copyto(whole, np.rint(places), where=inside, casting='unsafe')
    return whole, inside


def _backwards(to_1: Places, depth_2: FloatArray, grid_1: Grid) -> Places:
    """Return where pixels of view 1 lie in view 2: where the point that appears there is from."""
    width, width_2 = grid_1.width, depth_2.shape[1]
    (x, y), inside = _whole_pixels(to_1, grid_1)
    from_2 = np.flatnonzero(inside)
    from_2 = from_2[_far_to_near(depth_2.reshape(-1)[from_2])]
    source = np.full(grid_1.height * width, -1, np.intp)
    source[(y * width + x)[from_2]] = from_2  # the one nearest to the camera comes last
    seen = np.flatnonzero(source >= 0)
    origin = source[seen]
    to_2 = np.full((2, len(source)), np.nan, np.float32)
    to_2[0, seen] = origin % width_2 + (seen % width - to_1[0, origin])
    to_2[1, seen] = origin // width_2 + (seen // width - to_1[1, origin])
    return to_2


def _filled(places: Places, width: int, gap_px: float) -> Places:
    """Give each pixel without a place that of the nearest pixel that has one, moved along."""
    missing = ~np.isfinite(places[0])
    known = np.flatnonzero(~missing)
    if len(known) in (0, len(missing)):
        return places
    distance, labels = cv2.distanceTransformWithLabels(
        missing.reshape(-1, width).astype(np.uint8),
        cv2.DIST_L2,
        cv2.DIST_MASK_5,
        labelType=cv2.DIST_LABEL_PIXEL,
    )
    label = labels.reshape(-1)
    pixel_of = np.zeros(label.max() + 1, np.intp)
    pixel_of[label[known]] = known
    near = np.flatnonzero(missing & (distance.reshape(-1) <= gap_px))
    origin = pixel_of[label[near]]
    filled: Places = places.copy()
    filled[0, near] = places[0, origin] + (near % width - origin % width)
    filled[1, near] = places[1, origin] + (near // width - origin // width)
    return filled


def _far_to_near(depth: NDArray[np.float32]) -> NDArray[np.intp]:
    """Return an order by falling depth, in even steps of its inverse."""
    nearness = (depth.min(initial=np.inf) / depth * _DEPTH_STEPS).astype(np.uint16)
    return np.argsort(nearness, kind='stable')
