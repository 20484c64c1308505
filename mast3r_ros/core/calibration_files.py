# SPDX-License-Identifier: Apache-2.0
"""Camera calibrations from the YAML files that ROS calibration tools write."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import yaml

from mast3r_ros.core.cameras import Camera
from mast3r_ros.errors import InvalidInput


def load_camera(path: str | Path, *, rectified: bool = False) -> Camera:
    """Read one camera from a ``camera_info`` YAML file.

    :param rectified: the images are rectified already: its projection matrix holds.
    """
    values = _read(path)
    try:
        info = SimpleNamespace(
            width=values['image_width'],
            height=values['image_height'],
            distortion_model=values.get('distortion_model', 'plumb_bob'),
            d=values['distortion_coefficients']['data'],
            k=values['camera_matrix']['data'],
            r=values['rectification_matrix']['data'],
            p=values['projection_matrix']['data'],
        )
    except (KeyError, TypeError) as error:
        raise InvalidInput(
            f'{path} is no camera calibration: {error} is missing; give the YAML file that the '
            'ROS camera calibration wrote'
        ) from error
    try:
        return Camera.from_info(info, rectified=rectified)
    except InvalidInput as error:
        raise InvalidInput(f'{path}: {error}') from error


def _read(path: str | Path) -> dict[str, Any]:
    try:
        values = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
    except OSError as error:
        raise InvalidInput(f'the calibration {path} cannot be read: {error.strerror}') from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = ' '.join(str(error).split())
        raise InvalidInput(f'the calibration {path} is not valid YAML: {where}') from error
    if not isinstance(values, dict):
        raise InvalidInput(f'the calibration {path} holds no "key: value" lines')
    return values
