# SPDX-License-Identifier: Apache-2.0
"""What a simulated flight is made of: picture size, rate, length, seed and the two cameras."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.errors import ConfigError

RAW_DISTORTION = (-0.24, 0.07, 0.0006, -0.0004, -0.008)
RAW_TILT_DEG = ((0.4, -0.7, 0.5), (-0.3, 0.6, -0.4))  # of the left and right raw camera
RAW_FOCAL = (1.012, 0.994)  # raw focal length over the rectified one, left and right

RANGES: dict[str, tuple[float, float]] = {
    'width': (32, 4096),
    'height': (24, 4096),
    'rate_hz': (0.5, 240.0),
    'duration_s': (0.1, 600.0),
    'seed': (0, 2**31 - 1),
    'baseline_m': (0.01, 1.0),
    'horizontal_fov_deg': (20.0, 120.0),
    'noise': (0.0, 20.0),
}


@dataclass(frozen=True)
class SimConfig:
    """A simulated flight; equal ones give equal pictures.

    :param duration_s: time of one loop over the scene; rounded to whole frames.
    :param seed: decides scene, textures and noise.
    :param horizontal_fov_deg: field of view of the rectified cameras.
    :param noise: standard deviation of the sensors' noise in grey levels.
    :param raw: the pictures come from two slightly tilted lenses with distortion, as before
        rectification; otherwise they are rectified.
    """

    width: int = 640
    height: int = 480
    rate_hz: float = 15.0
    duration_s: float = 16.0
    seed: int = 0
    baseline_m: float = 0.12
    horizontal_fov_deg: float = 75.0
    noise: float = 1.5
    raw: bool = False

    def __post_init__(self) -> None:
        problems = []
        for name, (low, high) in RANGES.items():
            value = getattr(self, name)
            if not low <= value <= high:
                sentence = f'{name} is {value}; allowed is {low:g} to {high:g}'
                problems.append((f'sim.{name}', sentence))
        if problems:
            raise ConfigError(problems)

    @property
    def frames(self) -> int:
        """Number of stereo pairs in one loop."""
        return max(1, round(self.duration_s * self.rate_hz))

    @property
    def period_s(self) -> float:
        """Exact time of one loop."""
        return self.frames / self.rate_hz

    def stamp_ns(self, index: int) -> int:
        """Return the time of frame ``index`` since the first take-off, counting on over loops."""
        return round(index * 1e9 / self.rate_hz)

    def cameras(self) -> tuple[Camera, Camera]:
        """Return the left and the right camera as their calibration messages would say."""
        return self._camera(0), self._camera(1)

    def as_json(self) -> str:
        """Return every setting as one line that is equal for equal flights."""
        return json.dumps(asdict(self), sort_keys=True)

    def _camera(self, side: int) -> Camera:
        focal = 0.5 * self.width / np.tan(np.radians(0.5 * self.horizontal_fov_deg))
        P = np.zeros((3, 4))
        P[:, :3] = _intrinsics(focal, 0.5 * (self.width - 1), 0.5 * (self.height - 1))
        P[0, 3] = -focal * self.baseline_m * side
        if not self.raw:
            return Camera(self.width, self.height, P[:, :3], R=np.eye(3), P=P)
        off_centre = 0.004 * self.width * (1 - 2 * side)
        K = _intrinsics(focal * RAW_FOCAL[side], P[0, 2] + off_centre, P[1, 2] - 0.5 * off_centre)
        R = np.asarray(cv2.Rodrigues(np.radians(RAW_TILT_DEG[side]))[0], np.float64)
        return Camera(self.width, self.height, K, RAW_DISTORTION, R=R, P=P)


def _intrinsics(focal: float, cx: float, cy: float) -> Matrix:
    return np.array([[focal, 0.0, cx], [0.0, focal, cy], [0.0, 0.0, 1.0]])
