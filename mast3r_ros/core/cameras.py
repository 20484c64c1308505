# SPDX-License-Identifier: Apache-2.0
"""Calibrated cameras: intrinsics, distortion, rectification.

Frames are optical: x right, y down, z forward. Pixel (u, v) is a pixel's centre.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

from mast3r_ros.errors import InvalidInput

Matrix = NDArray[np.float64]

DISTORTION_LENGTHS = {
    'plumb_bob': (0, 4, 5),
    'rational_polynomial': (0, 8, 12, 14),
    'equidistant': (0, 4),
}
_UNDISTORT_STEPS = (cv2.TERM_CRITERIA_COUNT | cv2.TERM_CRITERIA_EPS, 100, 1e-10)
_UNDISTORT_TOLERANCE_PX = 0.01


class CameraInfoLike(Protocol):
    """The fields of ``sensor_msgs/CameraInfo`` that are read; no ROS type is needed."""

    width: int
    height: int
    distortion_model: str
    d: Sequence[float]
    k: Sequence[float]
    r: Sequence[float]
    p: Sequence[float]


@dataclass(frozen=True, eq=False)
class Camera:
    """One camera at one image size.

    :param K: 3x3 intrinsics in pixels of the image as it is.
    :param distortion: coefficients in OpenCV's order, empty for none.
    :param R: 3x3 rotation of this camera into the stereo pair's rectified frame.
    :param P: 3x4 projection of the rectified image; P[0, 3] = -fx * baseline at the right camera.
    """

    width: int
    height: int
    K: Matrix
    distortion: tuple[float, ...] = ()
    distortion_model: str = 'plumb_bob'
    R: Matrix | None = None
    P: Matrix | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, 'K', as_matrix('K', self.K, (3, 3)))
        if self.R is not None:
            object.__setattr__(self, 'R', as_matrix('R', self.R, (3, 3)))
        if self.P is not None:
            object.__setattr__(self, 'P', as_matrix('P', self.P, (3, 4)))
        coefficients = tuple(float(value) for value in self.distortion)
        # All zero means a pinhole, but for a fisheye model, which then still bends straight lines.
        bends = any(coefficients) or self.distortion_model == 'equidistant'
        object.__setattr__(self, 'distortion', coefficients if bends else ())
        self._check()

    @classmethod
    def pinhole(
        cls,
        width: int,
        height: int,
        fx: float,
        fy: float,
        cx: float,
        cy: float,
        distortion: Sequence[float] = (),
    ) -> Camera:
        """Make a camera from its focal lengths and principal point in pixels.

        :param distortion: 0, 4, 5, 8, 12 or 14 coefficients in OpenCV's order.
        """
        model = 'rational_polynomial' if len(distortion) > 5 else 'plumb_bob'
        K = np.array([[fx, 0.0, cx], [0.0, fy, cy], [0.0, 0.0, 1.0]])
        return cls(int(width), int(height), K, tuple(distortion), model)

    @classmethod
    def from_info(cls, info: CameraInfoLike, *, rectified: bool = False) -> Camera:
        """Read a ``sensor_msgs/CameraInfo`` or anything with its fields.

        :param rectified: the images are rectified: P holds and there is no distortion; otherwise
            they are raw: K, D and R hold.
        """
        width, height = int(info.width), int(info.height)
        P = as_matrix('P', info.p, (3, 4))
        if rectified:
            camera = cls(width, height, P[:, :3], R=np.eye(3), P=P)
        else:
            model = info.distortion_model or 'plumb_bob'
            R = as_matrix('R', info.r, (3, 3))
            has_pair = bool(P[0, 0] > 0.0 and np.any(R))
            camera = cls(
                width,
                height,
                as_matrix('K', info.k, (3, 3)),
                tuple(info.d),
                model,
                R=R if has_pair else None,
                P=P if has_pair else None,
            )
        return camera._binned_and_cut(info)

    @property
    def fx(self) -> float:
        """Focal length along x in pixels."""
        return float(self.K[0, 0])

    @property
    def fy(self) -> float:
        """Focal length along y in pixels."""
        return float(self.K[1, 1])

    @property
    def cx(self) -> float:
        """Principal point's u in pixels."""
        return float(self.K[0, 2])

    @property
    def cy(self) -> float:
        """Principal point's v in pixels."""
        return float(self.K[1, 2])

    @property
    def is_distorted(self) -> bool:
        """Whether straight lines appear bent."""
        return bool(self.distortion)

    @cached_property
    def rays(self) -> NDArray[np.float32]:
        """(H, W, 3) direction of each pixel with z = 1; NaN where distortion has no inverse."""
        u, v = np.meshgrid(np.arange(self.width), np.arange(self.height))
        pixels = np.stack([u, v], axis=-1).reshape(-1, 2)
        rays = self.unproject(pixels).astype(np.float32).reshape(self.height, self.width, 3)
        rays.setflags(write=False)
        return rays

    def unproject(self, uv: ArrayLike) -> Matrix:
        """Return the rays (N, 3), z = 1, of pixels (N, 2); NaN where distortion has no inverse."""
        pixels = np.asarray(uv, np.float64).reshape(-1, 2)
        if not self.is_distorted:
            xy = (pixels - self.K[:2, 2]) / (self.fx, self.fy)
            return np.concatenate([xy, np.ones((len(xy), 1))], axis=1)
        rays = np.concatenate([self._undistort(pixels), np.ones((len(pixels), 1))], axis=1)
        miss = np.abs(self.project(rays) - pixels).max(axis=1) > _UNDISTORT_TOLERANCE_PX
        rays[miss] = np.nan
        return rays

    def project(self, points: ArrayLike) -> Matrix:
        """Return the pixels (N, 2) of points (N, 3) in this camera's frame; NaN behind it."""
        xyz = np.asarray(points, np.float64).reshape(-1, 3)
        seen = xyz[:, 2] > 0.0
        uv = np.full((len(xyz), 2), np.nan)
        if self.is_distorted:
            uv[seen] = self._distort(xyz[seen])
        else:
            uv[seen] = xyz[seen, :2] / xyz[seen, 2:] * (self.fx, self.fy) + self.K[:2, 2]
        return uv

    def check_size(self, width: int, height: int) -> None:
        """Raise :class:`InvalidInput` unless this calibration is for images of that size."""
        if (self.width, self.height) != (width, height):
            raise InvalidInput(
                f'the camera calibration is for {self.width}x{self.height} but the image is '
                f'{width}x{height}; give the calibration of this very image'
            )

    def on_grid(
        self, scale: tuple[float, float], offset: tuple[float, float], width: int, height: int
    ) -> Camera:
        """Return this camera for its image scaled and then cut.

        :param scale: new pixels per old pixel along x and y.
        :param offset: pixels cut away at the left and top after scaling.
        """
        S = np.array(
            [
                [scale[0], 0.0, 0.5 * scale[0] - 0.5 - offset[0]],
                [0.0, scale[1], 0.5 * scale[1] - 0.5 - offset[1]],
                [0.0, 0.0, 1.0],
            ]
        )
        P = None if self.P is None else S @ self.P
        return replace(self, width=width, height=height, K=S @ self.K, P=P)

    def undistorted(self) -> Camera:
        """Return the pinhole camera of the same intrinsics without distortion."""
        return replace(self, distortion=())

    def _check(self) -> None:
        if self.width < 1 or self.height < 1:
            raise InvalidInput(f'a camera of {self.width}x{self.height} has no pixels')
        if self.fx <= 0.0 or self.fy <= 0.0:
            raise InvalidInput(
                f'the focal lengths are {self.fx:g} and {self.fy:g}; they must be above 0, '
                'calibrate the camera'
            )
        lengths = DISTORTION_LENGTHS.get(self.distortion_model)
        if self.distortion and lengths is None:
            raise InvalidInput(
                f'distortion model {self.distortion_model!r} is unknown; allowed are '
                + ', '.join(DISTORTION_LENGTHS)
            )
        if self.distortion and len(self.distortion) not in (lengths or ()):
            raise InvalidInput(
                f'{self.distortion_model} has {len(self.distortion)} coefficients; allowed are '
                + ', '.join(str(length) for length in (lengths or ()))
            )
        if not np.all(np.isfinite(self.distortion)):
            raise InvalidInput('the distortion holds a value that is no number; calibrate anew')

    def _binned_and_cut(self, info: Any) -> Camera:
        """Apply the binning and region of interest that a CameraInfo may carry."""
        bin_x = max(1, int(getattr(info, 'binning_x', 0)))
        bin_y = max(1, int(getattr(info, 'binning_y', 0)))
        roi = getattr(info, 'roi', None)
        x, y = int(getattr(roi, 'x_offset', 0)), int(getattr(roi, 'y_offset', 0))
        width = int(getattr(roi, 'width', 0)) or self.width
        height = int(getattr(roi, 'height', 0)) or self.height
        if (bin_x, bin_y, x, y, width, height) == (1, 1, 0, 0, self.width, self.height):
            return self
        scale = (1.0 / bin_x, 1.0 / bin_y)
        return self.on_grid(scale, (x / bin_x, y / bin_y), width // bin_x, height // bin_y)

    def _distort(self, xyz: Matrix) -> Matrix:
        if len(xyz) == 0:
            return np.empty((0, 2))
        D, zero = np.array(self.distortion), np.zeros(3)
        if self.distortion_model == 'equidistant':
            uv, _ = cv2.fisheye.projectPoints(xyz[:, None], zero, zero, self.K, D)
        else:
            uv, _ = cv2.projectPoints(xyz[:, None], zero, zero, self.K, D)
        return np.asarray(uv, np.float64).reshape(-1, 2)

    def _undistort(self, pixels: Matrix) -> Matrix:
        if len(pixels) == 0:
            return np.empty((0, 2))
        D = np.array(self.distortion)
        if self.distortion_model == 'equidistant':
            xy = cv2.fisheye.undistortPoints(pixels[:, None], self.K, D)
        elif hasattr(cv2, 'undistortPointsIter'):  # OpenCV 4
            xy = cv2.undistortPointsIter(pixels[:, None], self.K, D, None, None, _UNDISTORT_STEPS)
        else:
            xy = cv2.undistortPoints(pixels[:, None], self.K, D, criteria=_UNDISTORT_STEPS)
        return np.asarray(xy, np.float64).reshape(-1, 2)


def as_matrix(name: str, values: ArrayLike, shape: tuple[int, int]) -> Matrix:
    """Return the numbers as a finite float64 matrix of that shape, checked."""
    array = np.array(values, np.float64)
    if array.size != shape[0] * shape[1]:
        raise InvalidInput(f'{name} has {array.size} numbers; it needs {shape[0]}x{shape[1]}')
    if not np.all(np.isfinite(array)):
        raise InvalidInput(f'{name} holds a value that is no finite number; calibrate anew')
    return array.reshape(shape)
