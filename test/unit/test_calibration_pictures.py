# SPDX-License-Identifier: Apache-2.0
"""What int8 is calibrated with: pictures two by two, bags, the simulator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

pytest.importorskip('rosbags', reason='needs rosbags')

from support.bag_files import BagPlan, image_fields, pictures, stamp_of, stereo_plan

from mast3r_ros.cli.calibration_pictures import SIMULATOR, calibration_pairs
from mast3r_ros.errors import InvalidInput


def silent(text: str) -> None:
    raise AssertionError(text)


def test_pictures_go_two_by_two(tmp_path: Path) -> None:
    paths = []
    for number, image in enumerate(pictures(0) + pictures(1)):
        paths.append(str(tmp_path / f'{number}.png'))
        Image.fromarray(image).save(paths[-1])
    first, second = calibration_pairs(paths, silent)
    np.testing.assert_array_equal(first[1], pictures(0)[1])
    np.testing.assert_array_equal(second[0], pictures(1)[0])
    with pytest.raises(InvalidInput, match='--calibrate has 3 pictures, which are no pairs'):
        calibration_pairs(paths[:3], silent)


def test_of_a_stereo_bag_pairs_are_taken_from_begin_to_end(tmp_path: Path) -> None:
    path = stereo_plan(20).write(tmp_path / 'flight')
    pairs = calibration_pairs([str(path)], silent)
    assert len(pairs) == 8
    np.testing.assert_array_equal(pairs[0][0], pictures(0)[0])
    last = [number for number in range(20) if np.array_equal(pairs[-1][1], pictures(number)[1])]
    assert last[0] >= 15


def test_of_one_camera_two_frames_are_a_pair(tmp_path: Path) -> None:
    plan = BagPlan()
    for number in range(4):
        fields = image_fields(pictures(number)[0], stamp_of(number))
        plan.add('/camera/image_raw', stamp_of(number), fields)
    pairs = calibration_pairs([str(plan.write(tmp_path / 'walk'))], silent)
    assert 1 <= len(pairs) <= 3
    assert not np.array_equal(*pairs[0])


def test_the_simulator_gives_a_flight_s_pairs() -> None:
    pairs = calibration_pairs([SIMULATOR], silent)
    assert len(pairs) == 8
    assert {image.shape for pair in pairs for image in pair} == {(480, 640, 3)}
    assert not np.array_equal(pairs[0][0], pairs[4][0])
