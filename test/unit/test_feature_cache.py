# SPDX-License-Identifier: Apache-2.0
"""Features are kept while they can be of use and there is room, and are never another view's."""

from __future__ import annotations

import gc

import numpy as np
from oracle_engine import OracleEngine

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.engine import EngineInterface, Features
from mast3r_ros.core.feature_cache import FeatureCache
from mast3r_ros.core.views import Grid, View

ENGINE: EngineInterface = OracleEngine()


class Marked(Features):
    """Ten bytes of nothing."""

    def __init__(self, grid: Grid) -> None:
        super().__init__(grid, 'marked')
        self.released = False

    @property
    def nbytes(self) -> int:
        return 0 if self.released else 10

    def global_descriptor(self) -> np.ndarray:
        raise NotImplementedError

    def release(self) -> None:
        self.released = True


class Owner:
    """Somebody who holds a view."""


def view() -> View:
    return View(np.zeros((2, 2, 3), np.uint8))


def made_of(one: View) -> Marked:
    return Marked(Grid(one.image, camera=one.camera))


def kept(cache: FeatureCache, *views: View, **options: bool) -> list[Marked]:
    features = [made_of(one) for one in views]
    cache.keep(ENGINE, views, features, **options)
    return features


def test_features_are_found_by_the_view_itself_and_not_by_what_it_shows():
    cache = FeatureCache(100)
    one, alike = view(), view()
    (features,) = kept(cache, one)
    assert cache.get(ENGINE, one) is features
    assert cache.get(ENGINE, alike) is None
    assert cache.get(ENGINE, one.with_camera(Camera.pinhole(2, 2, 1, 1, 0, 0))) is None


def test_those_used_longest_ago_make_room():
    cache = FeatureCache(20)
    views = [view() for _ in range(3)]
    first, second = kept(cache, *views[:2])
    cache.keep(ENGINE, [views[0]], [first])  # used again
    (third,) = kept(cache, views[2])
    assert [item.released for item in (first, second, third)] == [False, True, False]
    assert cache.held_bytes == 20


def test_the_view_that_somebody_holds_stays_at_both_sizes_until_another_one_is_held():
    cache, owner = FeatureCache(20), Owner()
    held, others = view(), [view() for _ in range(6)]
    cache.hold(owner, held)
    large, small = kept(cache, held)[0], kept(cache, held, for_tracking=True)[0]
    kept(cache, *others[:3])
    assert (large.released, small.released) == (False, False)
    cache.hold(owner, others[-1])
    kept(cache, *others[3:5])
    assert (large.released, small.released) == (True, True)


def test_each_owner_holds_a_view_of_its_own():
    cache, one, two = FeatureCache(10), Owner(), Owner()
    views = [view() for _ in range(4)]
    cache.hold(one, views[0])
    cache.hold(two, views[1])
    held = kept(cache, *views[:2])
    kept(cache, *views[2:])
    assert not any(item.released for item in held)
    del one
    gc.collect()
    kept(cache, view())
    assert [item.released for item in held] == [True, False]


def test_two_sizes_of_a_view_are_two_things():
    cache, one = FeatureCache(100), view()
    (large,), (small,) = kept(cache, one), kept(cache, one, for_tracking=True)
    assert cache.get(ENGINE, one) is large
    assert cache.get(ENGINE, one, for_tracking=True) is small


def test_features_go_with_the_last_view_of_their_picture():
    cache, one = FeatureCache(100), view()
    calibrated = one.with_camera(Camera.pinhole(2, 2, 1, 1, 0, 0))
    (large,), (small,) = kept(cache, one), kept(cache, one, for_tracking=True)
    del one
    gc.collect()
    assert not large.released
    del calibrated
    gc.collect()
    assert (large.released, small.released, cache.held_bytes) == (True, True, 0)


def test_another_engine_finds_nothing():
    cache, one = FeatureCache(100), view()
    (features,) = kept(cache, one)
    assert cache.get(OracleEngine(), one) is None
    assert features.released


def test_without_room_not_even_what_is_held_is_kept():
    cache, owner, one = FeatureCache(0), Owner(), view()
    cache.hold(owner, one)
    (features,) = kept(cache, one)
    assert features.released
    assert cache.get(ENGINE, one) is None


def test_clearing_releases_everything():
    cache, one = FeatureCache(100), view()
    (features,) = kept(cache, one)
    cache.clear()
    assert features.released
    assert cache.get(ENGINE, one) is None
