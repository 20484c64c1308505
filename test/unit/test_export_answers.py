# SPDX-License-Identifier: Apache-2.0
"""The check that travels with a model: small, exact, and read back with care."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from mast3r_ros.errors import ModelError
from mast3r_ros.export.answers import Check, built_in_pair, middle_errors, relative_errors


def made_up_check() -> Check:
    image_1, image_2 = built_in_pair((96, 128), (96, 128))
    values = np.random.default_rng(0).random((96, 128, 3), np.float32)
    return Check.of(image_1, image_2, {'pts3d_1': values})


def test_a_check_comes_back_as_it_was_saved(tmp_path: Path) -> None:
    check = made_up_check()
    check.save(tmp_path / 'check.npz')
    loaded = Check.load(tmp_path / 'check.npz')
    assert np.array_equal(loaded.image_2, check.image_2)
    assert loaded.answers.keys() == {'pts3d_1'}
    assert loaded.answers['pts3d_1'].dtype == np.float32
    assert np.array_equal(loaded.answers['pts3d_1'], check.answers['pts3d_1'])


def test_the_kept_answers_are_those_of_the_named_pixels() -> None:
    check = made_up_check()
    everywhere = np.random.default_rng(0).random((96, 128, 3), np.float32)
    rows, columns = check.rows, check.columns
    assert len(rows) > 40
    assert len(columns) > 40
    assert np.array_equal(check.answers['pts3d_1'][3, 7], everywhere[rows[3], columns[7]])


@pytest.mark.parametrize('damage', ['missing', 'empty', 'cut', 'text', 'lacks'])
def test_a_damaged_check_is_an_error_in_words(damage: str, tmp_path: Path) -> None:
    path = tmp_path / 'check.npz'
    made_up_check().save(path)
    content = path.read_bytes()
    if damage == 'missing':
        path.unlink()
    elif damage == 'lacks':
        np.savez(path, image_1=np.zeros(3))
    else:
        path.write_bytes({'empty': b'', 'cut': content[: len(content) // 2], 'text': b'x'}[damage])
    with pytest.raises(ModelError, match=r'check\.npz'):
        Check.load(path)


def test_the_built_in_pair_is_textured_and_the_same_every_time() -> None:
    image_1, image_2 = built_in_pair((64, 96), (96, 64))
    assert image_1.shape == (64, 96, 3)
    assert image_2.shape == (96, 64, 3)
    assert image_1.std() > 20
    assert np.array_equal(image_1, built_in_pair((64, 96), (96, 64))[0])


def test_answers_that_are_not_finite_are_infinitely_wrong() -> None:
    good = {'conf_1': np.ones((4, 4), np.float32)}
    bad = {'conf_1': np.full((4, 4), np.nan, np.float32)}
    assert relative_errors(bad, good) == {'conf_1': float('inf')}
    with pytest.raises(ModelError, match='conf_1'):
        relative_errors({}, good)


def test_a_few_far_points_count_in_the_norm_and_not_in_the_middle_pixel() -> None:
    near = np.random.default_rng(0).uniform(1.0, 2.0, (10, 10, 3)).astype(np.float32)
    near[0, 0] = 1e6
    found = near * np.float32(1.01)
    found[0, 0] = 3e6
    assert relative_errors({'pts3d_1': found}, {'pts3d_1': near})['pts3d_1'] > 1.0
    middle = middle_errors({'pts3d_1': found}, {'pts3d_1': near})['pts3d_1']
    assert middle == pytest.approx(0.01, rel=1e-3)
    found[5, 5, 1] = np.nan
    assert middle_errors({'pts3d_1': found}, {'pts3d_1': near})['pts3d_1'] == float('inf')
