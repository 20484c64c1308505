# SPDX-License-Identifier: Apache-2.0
"""A rendered loop on disk: whole or not there at all, and played back as it was rendered."""

from __future__ import annotations

import os
import shutil
import threading
import time
from functools import cache
from types import SimpleNamespace

import numpy as np
import pytest

from mast3r_ros.errors import Mast3rError
from mast3r_ros.sim import rendering
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.recording import Recording
from mast3r_ros.sim.rendering import PairRenderer
from mast3r_ros.sim.scene import Scene

SMALL = SimConfig(width=64, height=48, rate_hz=2.5, duration_s=2.4)  # 6 pairs


@cache
def small_scene(seed: int, period_s: float) -> Scene:
    return Scene.make(seed, period_s, texture_pixels=64)


@pytest.fixture(autouse=True)
def _coarse_textures(monkeypatch):
    monkeypatch.setattr(rendering, 'Scene', SimpleNamespace(make=small_scene))


def never(done, total):
    pytest.fail('rendered again')


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def only_loop(folder):
    (loop,) = folder.iterdir()
    return loop


def test_playing_equals_rendering(tmp_path):
    recording = Recording.open_or_render(tmp_path, SMALL)
    pairs = PairRenderer(SMALL, small_scene(SMALL.seed, SMALL.period_s))
    assert len(recording) == 6
    for index in range(6):
        frame, pair = recording.frame(index), pairs.render(index)
        left, right = pair.sides
        np.testing.assert_array_equal(frame.left, left.image)
        np.testing.assert_array_equal(frame.right, right.image)
        np.testing.assert_array_equal(frame.depth, left.depth)
        np.testing.assert_array_equal(frame.mask_left, left.mask)
        np.testing.assert_array_equal(frame.mask_right, right.mask)
        np.testing.assert_array_equal(frame.T_world_left, pair.T_world_left)


def test_frames_have_the_forms_that_messages_need(tmp_path):
    recording = Recording.open_or_render(tmp_path, SMALL)
    frame = recording.frame(0)
    for image in (frame.left, frame.right):
        assert type(image) is np.ndarray
        assert image.flags.c_contiguous
        assert not image.flags.writeable
        assert (image.dtype, image.shape) == (np.uint8, (48, 64, 3))
    assert (frame.depth.dtype, frame.depth.shape) == (np.float32, (48, 64))
    assert (frame.mask_left.dtype, frame.mask_right.shape) == (np.uint8, (48, 64))
    assert [camera.width for camera in recording.cameras] == [64, 64]


def test_loops_join_and_stamps_count_on(tmp_path):
    recording = Recording.open_or_render(tmp_path, SMALL)
    first, later = recording.frame(2), recording.frame(2 + 3 * 6)
    np.testing.assert_array_equal(first.left, later.left)
    np.testing.assert_array_equal(first.T_world_left, later.T_world_left)
    stamps = [recording.frame(index).stamp_ns for index in range(20)]
    assert stamps == [400_000_000 * index for index in range(20)]


def test_stamps_do_not_drift_at_rates_that_divide_badly():
    config = SimConfig(rate_hz=30.0)
    assert config.stamp_ns(30 * 3600) == 3600 * 10**9
    assert config.stamp_ns(1) == 33_333_333


def test_the_default_loop_fits_into_half_a_gigabyte():
    config = SimConfig()
    images = 2 * 3 * config.width * config.height * config.frames
    assert images + rendering._TRUTH_BYTES_PER_PAIR * config.frames < 500e6


def test_truth_takes_less_room_than_is_set_aside_for_it(tmp_path):
    config = SimConfig(rate_hz=1.0, duration_s=2.0)
    Recording.open_or_render(tmp_path, config)
    sizes = {path.stem: path.stat().st_size for path in only_loop(tmp_path).iterdir()}
    truth = sum(size for name, size in sizes.items() if name not in ('left', 'right'))
    assert truth < rendering._TRUTH_BYTES_PER_PAIR * config.frames


def test_a_whole_recording_is_not_rendered_again(tmp_path):
    Recording.open_or_render(tmp_path, SMALL)
    Recording.open_or_render(tmp_path, SMALL, never)


def test_progress_tells_every_pair(tmp_path):
    told = []
    Recording.open_or_render(tmp_path, SMALL, lambda done, total: told.append((done, total)))
    assert told == [(done, 6) for done in range(7)]


def test_other_settings_are_rendered_beside(tmp_path):
    first = Recording.open_or_render(tmp_path, SMALL)
    other = Recording.open_or_render(tmp_path, SimConfig(64, 48, 2.5, 2.4, baseline_m=0.3))
    assert np.any(first.frame(0).right != other.frame(0).right)
    assert len(names(tmp_path)) == 2
    Recording.open_or_render(tmp_path, SMALL, never)


def cut_short(loop):
    with (loop / 'right.npy').open('r+b') as file:
        file.truncate(1000)


def damage(loop):
    content = bytearray((loop / 'runs.npy').read_bytes())
    content[-1] ^= 255
    (loop / 'runs.npy').write_bytes(content)


@pytest.mark.parametrize(
    'harm',
    [
        cut_short,
        damage,
        lambda loop: (loop / 'poses.npy').unlink(),
        lambda loop: (loop / 'loop.json').write_text('{"first_moving": 3}'),
        lambda loop: (loop / 'loop.json').write_text('[1, 2'),
        lambda loop: shutil.rmtree(loop),
    ],
    ids=['cut short', 'damaged', 'file lost', 'list emptied', 'list cut', 'all lost'],
)
def test_a_broken_recording_is_rendered_anew(tmp_path, harm):
    before = Recording.open_or_render(tmp_path, SMALL).frame(3).left.copy()
    harm(only_loop(tmp_path))
    told = []
    recording = Recording.open_or_render(tmp_path, SMALL, lambda *done: told.append(done))
    assert told
    np.testing.assert_array_equal(recording.frame(3).left, before)
    Recording.open_or_render(tmp_path, SMALL, never)


@pytest.mark.parametrize('stop', [KeyboardInterrupt, RuntimeError])
def test_interrupted_rendering_leaves_nothing(tmp_path, stop):
    def interrupt(done, total):
        if done == 3:
            raise stop

    with pytest.raises(stop):
        Recording.open_or_render(tmp_path, SMALL, interrupt)
    assert names(tmp_path) == []
    assert not [one for one in threading.enumerate() if one.name.startswith('sim-render')]


def test_a_renderer_that_fails_leaves_nothing(tmp_path, monkeypatch):
    def fail(self, index):
        raise OSError('no space left on device')

    monkeypatch.setattr(PairRenderer, 'render', fail)
    with pytest.raises(OSError, match='no space left'):
        Recording.open_or_render(tmp_path, SMALL)
    assert names(tmp_path) == []


def test_too_little_room_is_said_before_rendering(tmp_path, monkeypatch):
    usage = SimpleNamespace(total=0, used=0, free=1 << 15)
    monkeypatch.setattr(shutil, 'disk_usage', lambda folder: usage)
    with pytest.raises(Mast3rError, match=r'only 0 MiB are free .*; make room'):
        Recording.open_or_render(tmp_path, SMALL, never)
    assert names(tmp_path) == []


def test_two_that_render_the_same_at_once_end_with_one_recording(tmp_path):
    def other_one_first(done, total):
        if done == total:
            Recording.open_or_render(tmp_path, SMALL)

    recording = Recording.open_or_render(tmp_path, SMALL, other_one_first)
    assert recording.frame(0).left.shape == (48, 64, 3)
    assert len(names(tmp_path)) == 1


def test_what_can_never_be_used_again_is_removed_and_nothing_else(tmp_path):
    outdated = tmp_path / f'{"a" * 12}-{"b" * 12}'
    abandoned, at_work = tmp_path / '.unfinished-1', tmp_path / '.unfinished-2'
    for folder in (outdated, abandoned, at_work, tmp_path / 'mine'):
        folder.mkdir()
        (folder / 'file').write_text('x')
    long_ago = time.time() - 7200.0
    for path in (abandoned, abandoned / 'file'):
        os.utime(path, (long_ago, long_ago))
    Recording.open_or_render(tmp_path, SMALL)
    assert '.unfinished-2' in names(tmp_path)
    assert 'mine' in names(tmp_path)
    assert len(names(tmp_path)) == 3


def test_files_are_read_without_running_what_they_hold(tmp_path):
    Recording.open_or_render(tmp_path, SMALL)
    for path in only_loop(tmp_path).glob('*.npy'):
        np.load(path, allow_pickle=False)
