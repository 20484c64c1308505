# SPDX-License-Identifier: Apache-2.0
"""The masks of one camera: which image gets which, and what is counted."""

from __future__ import annotations

import numpy as np
import pytest

from mast3r_ros.config import MaskPolicy
from mast3r_ros.core.mask_store import KEPT, MaskStore
from mast3r_ros.errors import InvalidInput

WIDTH, HEIGHT = 4, 3


def mask(number=0):
    made = np.ones((HEIGHT, WIDTH), bool)
    made.flat[number] = False
    return made


def filled(policy, *stamps, **keywords):
    store = MaskStore(policy, **keywords)
    for stamp in stamps:
        store.put(stamp, lambda stamp=stamp: mask(stamp))
    return store


def ask(store, stamp):
    return store.mask_for(stamp, WIDTH, HEIGHT)


@pytest.mark.parametrize('policy', [MaskPolicy.EXACT, MaskPolicy.REQUIRED])
def test_an_image_gets_the_mask_of_its_stamp(policy):
    store = filled(policy, 1, 2, 3)
    np.testing.assert_array_equal(ask(store, 2), mask(2))
    assert store.counted == {}


def test_exact_counts_images_whose_mask_is_not_there_once_any_came():
    store = MaskStore(MaskPolicy.EXACT)
    assert ask(store, 1) is None
    assert store.counted == {}
    store.put(1, mask)
    assert ask(store, 2) is None
    assert store.counted == {'mask_late': 1}
    assert ask(store, 1) is not None


def test_latest_gives_the_last_that_came_again_and_again():
    store = filled(MaskPolicy.LATEST, 5, 2)
    for stamp in (7, 8, 5):
        np.testing.assert_array_equal(ask(store, stamp), mask(2))
    assert store.counted == {}


def test_latest_takes_a_mask_that_comes_again_for_the_last():
    store = filled(MaskPolicy.LATEST, 5, 2, 5)
    np.testing.assert_array_equal(ask(store, 9), mask(5))


def test_latest_does_without_until_the_first_comes():
    assert ask(MaskStore(MaskPolicy.LATEST), 1) is None


def test_required_never_does_without():
    store = MaskStore(MaskPolicy.REQUIRED)
    assert store.waits
    with pytest.raises(InvalidInput, match='mask_policy is required'):
        ask(store, 1)
    assert store.counted == {'mask_missing': 1}


def test_a_mask_is_decoded_only_for_the_image_that_takes_it():
    decoded = []
    store = MaskStore(MaskPolicy.EXACT)
    for stamp in (1, 2, 3):
        store.put(stamp, lambda stamp=stamp: (decoded.append(stamp), mask())[1])
    ask(store, 2)
    assert decoded == [2]


def test_a_mask_that_cannot_be_decoded_is_counted_and_said():
    def broken():
        raise InvalidInput('no mask at all')

    store = MaskStore(MaskPolicy.EXACT)
    store.put(1, broken)
    with pytest.raises(InvalidInput, match='no mask at all'):
        ask(store, 1)
    assert store.counted == {'mask_invalid': 1}


def test_a_mask_of_another_size_is_counted_and_said():
    store = filled(MaskPolicy.EXACT, 1)
    with pytest.raises(InvalidInput, match=r'\(3, 4\).*5x6'):
        store.mask_for(1, 6, 5)
    assert store.counted == {'mask_invalid': 1}


def test_a_fixed_mask_serves_every_image_and_nothing_else_is_taken():
    store = filled(MaskPolicy.REQUIRED, 1, fixed=mask(7))
    assert store.is_fixed
    assert not store.waits
    for stamp in (1, 2):
        np.testing.assert_array_equal(ask(store, stamp), mask(7))


@pytest.mark.parametrize('kept', [KEPT, 40])
def test_so_many_masks_are_kept_and_the_oldest_goes_first(kept):
    store = MaskStore(MaskPolicy.EXACT, kept=kept)
    for stamp in range(kept + 3):
        store.put(stamp, mask)
    assert [store.has(stamp) for stamp in (2, 3, kept + 2)] == [False, True, True]


def test_after_clearing_nothing_is_remembered():
    store = filled(MaskPolicy.EXACT, 1, 2)
    store.clear()
    assert not store.has(1)
    assert ask(store, 1) is None
    assert store.counted == {}
