# SPDX-License-Identifier: Apache-2.0
"""One view of a calibrated pair: the ways between its raw and its rectified pixels."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import MaskArray
from mast3r_ros.engines.geometric.pixels import GrayArray, pixel_grid, sample

# OpenCV's codes to turn a picture by quarter turns, and to turn it back.
_TURN = (None, cv2.ROTATE_90_COUNTERCLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_CLOCKWISE)
_TURN_BACK = (None, cv2.ROTATE_90_CLOCKWISE, cv2.ROTATE_180, cv2.ROTATE_90_COUNTERCLOCKWISE)

_FOLD_TOLERANCE = 0.02  # of a ray (z = 1) sent through the lens model and back
_OUTSIDE_PX = -1e4  # stands for pixels that are nowhere in the picture
_AFFINE_STRIDE_PX = 16


@dataclass(frozen=True, eq=False)
class RectifiedView:
    """Where the pixels of one view go when it is rectified, and back.

    :param raw_size: width and height of the picture as it came.
    :param size: width and height of the rectified picture.
    :param turns: quarter turns that rectify it; None where it must be resampled.
    :param affine: (2, 3) raw pixel of a rectified pixel, but for the residual.
    :param residual: (h, w, 2) what lens and perspective add to the affine part; None: nothing.
    :param on_rectified: (H, W, 2) rectified pixel of each raw pixel.
    :param rays: (H, W, 3) for a rectified depth of 1, along the axes of camera 1.
    :param center: the camera in the frame of camera 1, in metres.
    :param seen: (h, w) which rectified pixels the raw picture shows; None: all.
    """

    raw_size: tuple[int, int]
    size: tuple[int, int]
    turns: int | None
    affine: Matrix
    residual: FloatArray | None
    on_rectified: FloatArray
    rays: FloatArray
    center: Matrix
    seen: MaskArray | None

    def rectify(self, image: GrayArray) -> GrayArray:
        """Return the rectified picture of a raw one."""
        if self.turns is None:
            # Around the picture its mean: the edge of a darker frame would match.
            level = float(image.mean())
            pixels = self._raw_pixels
            return np.asarray(
                cv2.remap(image, pixels, None, cv2.INTER_LINEAR, borderValue=level), np.uint8
            )
        return np.asarray(_rotate(image, _TURN[self.turns]))

    def to_raw_grid(self, values: FloatArray) -> FloatArray:
        """Bring a map of rectified pixels onto the raw pixels, NaN where there is none.

        Neighbours within 1 of each other are blended; across an edge the nearest counts.
        """
        if self.turns is not None:
            return np.asarray(_rotate(values, _TURN_BACK[self.turns]))
        nearest = sample(values, self.on_rectified, cv2.INTER_NEAREST)
        blended = sample(values, self.on_rectified, cv2.INTER_LINEAR)
        return np.where(np.abs(blended - nearest) < 1.0, blended, nearest)

    def to_raw_pixels(self, x: FloatArray, y: FloatArray) -> FloatArray:
        """Return the raw pixels (..., 2) of rectified ones; NaN outside the raw picture."""
        raw = np.asarray(cv2.transform(cv2.merge([x, y]), self.affine), np.float32)
        if self.residual is not None:
            raw += cv2.remap(
                self.residual, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
            )
        raw[_is_outside(raw, self.raw_size)] = np.nan
        return raw

    @cached_property
    def _raw_pixels(self) -> FloatArray:
        """(h, w, 2) raw pixel of each rectified pixel."""
        raw = _apply(self.affine, pixel_grid(*self.size))
        return np.asarray(raw if self.residual is None else raw + self.residual, np.float32)


def turned_view(
    camera: Camera, turns: int, axes: Matrix, center: Matrix, raw_to_turned: Matrix
) -> RectifiedView:
    """Return a view that quarter turns rectify.

    :param axes: rotation of this camera's frame into that of camera 1.
    :param raw_to_turned: 3x3 map of raw pixels onto those of the turned picture.
    """
    raw_size = camera.width, camera.height
    return RectifiedView(
        raw_size=raw_size,
        size=raw_size if turns % 2 == 0 else raw_size[::-1],
        turns=turns,
        affine=np.asarray(np.linalg.inv(raw_to_turned)[:2], np.float64),
        residual=None,
        on_rectified=_apply(raw_to_turned[:2], pixel_grid(*raw_size)),
        rays=np.asarray(camera.rays @ axes.T.astype(np.float32)),
        center=center,
        seen=None,
    )


def resampled_view(
    camera: Camera, R: Matrix, axes: Matrix, center: Matrix, K: Matrix, size: tuple[int, int]
) -> RectifiedView:
    """Return a view that must be resampled.

    :param R: rotation of this camera's frame into the rectified frame.
    :param axes: rotation of this camera's frame into that of camera 1.
    :param K: 3x3 intrinsics of the rectified picture.
    """
    rays = camera.rays.reshape(-1, 3).astype(np.float64)
    rectified_rays = rays @ R.T
    depth = np.where(rectified_rays[:, 2:] > 0.0, rectified_rays[:, 2:], np.nan)
    shape = camera.height, camera.width
    on_rectified = ((rectified_rays / depth) @ K.T)[:, :2].reshape(*shape, 2)
    raw_pixels, seen = _raw_pixels_of(camera, R, K, size)
    affine = _fit_affine(raw_pixels, seen)
    residual = raw_pixels - _apply(affine, pixel_grid(*size))
    return RectifiedView(
        raw_size=(camera.width, camera.height),
        size=size,
        turns=None,
        affine=affine,
        residual=residual,
        on_rectified=np.nan_to_num(on_rectified, nan=_OUTSIDE_PX).astype(np.float32),
        rays=(rays @ axes.T / depth).reshape(*shape, 3).astype(np.float32),
        center=center,
        seen=seen,
    )


def _raw_pixels_of(
    camera: Camera, R: Matrix, K: Matrix, size: tuple[int, int]
) -> tuple[FloatArray, MaskArray]:
    """Return the raw pixel of each rectified pixel, and whether the raw picture shows it."""
    pixels = pixel_grid(*size).reshape(-1, 2)
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    rays = homogeneous @ np.linalg.inv(K).T @ R
    projected = np.nan_to_num(camera.project(rays), nan=_OUTSIDE_PX)
    projected = np.clip(projected, _OUTSIDE_PX, -_OUTSIDE_PX)
    raw = projected.astype(np.float32).reshape(size[1], size[0], 2)
    rays = (rays / np.where(rays[:, 2:] > 0.0, rays[:, 2:], np.nan)).reshape(size[1], size[0], 3)
    # Far off the axis a lens model may fold back into the picture: the way back shows it.
    miss = np.abs(sample(camera.rays, raw, cv2.INTER_LINEAR) - rays).max(axis=-1)
    return raw, np.asarray(miss < _FOLD_TOLERANCE)


def _fit_affine(raw_pixels: FloatArray, seen: MaskArray) -> Matrix:
    """Return the (2, 3) affine map from rectified to raw pixels that fits best."""
    height, width = seen.shape
    coarse = (slice(None, None, _AFFINE_STRIDE_PX),) * 2
    rows = seen[coarse].ravel()
    if rows.sum() < 3:
        return np.zeros((2, 3))
    pixels = pixel_grid(width, height)[coarse].reshape(-1, 2)[rows]
    homogeneous = np.concatenate([pixels, np.ones((len(pixels), 1))], axis=1)
    solution, *_ = np.linalg.lstsq(
        homogeneous, raw_pixels[coarse].reshape(-1, 2)[rows], rcond=None
    )
    return np.asarray(solution.T)


def _apply(affine: Matrix, pixels: FloatArray) -> FloatArray:
    return np.asarray(pixels @ affine[:, :2].T + affine[:, 2], np.float32)


def _is_outside(pixels: FloatArray, size: tuple[int, int]) -> MaskArray:
    right, bottom = np.subtract(size, 0.5)
    return np.asarray(cv2.inRange(pixels, (-0.5, -0.5), (right, bottom)) == 0)


def _rotate(image: NDArray[Any], code: int | None) -> NDArray[Any]:
    return image if code is None else np.asarray(cv2.rotate(image, code))
