# SPDX-License-Identifier: Apache-2.0
"""One simulated stereo pair as the files that the commands take: pictures, calibration, truth."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import yaml
from PIL import Image

from mast3r_ros.core.cameras import Camera
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.rendering import PairRenderer
from mast3r_ros.sim.scene import Scene

PAIR_FILES = ('left.png', 'right.png', 'left.yaml', 'right.yaml', 'depth.npy')
"""Rectified pictures, their calibrations, and the true depth Z of the left one in metres."""


def write_pair(folder: Path, config: SimConfig, index: int) -> None:
    """Render the pair number ``index`` of a flight and write :data:`PAIR_FILES`."""
    renderer = PairRenderer(config, Scene.make(config.seed, config.period_s))
    sides = renderer.render(index).sides
    for name, side, camera in zip(('left', 'right'), sides, config.cameras(), strict=True):
        Image.fromarray(side.image).save(folder / f'{name}.png')
        (folder / f'{name}.yaml').write_text(_calibration(name, camera), encoding='utf-8')
    np.save(folder / 'depth.npy', sides[0].depth)


def _calibration(name: str, camera: Camera) -> str:
    """Return a rectified camera as the ROS calibration tools write it."""
    matrices = {
        'camera_matrix': camera.K,
        'distortion_coefficients': np.zeros((1, 5)),
        'rectification_matrix': camera.R,
        'projection_matrix': camera.P,
    }
    values: dict[str, Any] = {
        'image_width': camera.width,
        'image_height': camera.height,
        'camera_name': name,
        'distortion_model': 'plumb_bob',
    }
    for key, matrix in matrices.items():
        rows, columns = np.shape(matrix)
        values[key] = {'rows': rows, 'cols': columns, 'data': np.ravel(matrix).tolist()}
    return yaml.safe_dump(values, sort_keys=False, default_flow_style=None)
