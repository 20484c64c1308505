# SPDX-License-Identifier: Apache-2.0
"""Masks: which one belongs to which image, and what happens when it does not come."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from raw_images import smooth_image
from ros_cameras import mask_image
from ros_engines import ScriptedEngine
from ros_world import persist, until

IMAGE = smooth_image(96, 64)
S = 10**9


def half(number):
    """Return a mask that lets the pixels right of column ``number`` take part."""
    mask = np.zeros((64, 96), bool)
    mask[:, number:] = True
    return mask


class Masked:
    """A node with two cameras whose masks are heard."""

    def __init__(self, world, policy, settings=None):
        self.world = world
        self.engine = ScriptedEngine()
        settings = {'input.mask_policy': policy, **(settings or {})}
        self.node = world.start(settings, engine=self.engine)
        self.stats, self.points, self.matches = world.listen('stats', 'points', 'matches')
        self.cameras = world.stereo()
        world.ready(*self.cameras)
        until(lambda: all(camera.hears_masks() for camera in self.cameras), 'masks are heard')

    def send_masks(self, stamp_s, mask):
        """Publish masks and see them taken in."""
        for camera, item in zip(self.cameras, self.node.session.inputs, strict=True):
            answered = len(self.engine.pairs)
            persist(
                lambda camera=camera: camera.send_mask(mask, stamp_s * S),
                # an image that waits takes its mask away at once
                lambda item=item, answered=answered: (
                    item.masks.has(stamp_s * S) or len(self.engine.pairs) > answered
                ),
                f'a mask arrives beside {camera.topic}',
            )

    def show(self, stamp_s):
        self.world.show(self.cameras, IMAGE, stamp_s * S)

    def masks_of(self, stamp_s):
        """Return the masks that the engine was handed with that pair."""
        self.stats.of_stamp(stamp_s * S)
        return next(
            tuple(view.mask for view in pair)
            for pair in self.engine.pairs
            if pair[0].stamp_ns == stamp_s * S
        )


def test_a_masked_pixel_has_neither_point_nor_match(world):
    masked = Masked(world, 'required')
    masked.show(1)
    masked.send_masks(1, half(40))
    cloud = masked.points.of_stamp(1 * S)
    values = np.frombuffer(bytes(cloud.data), np.float32).reshape(64, 96, -1)
    np.testing.assert_array_equal(np.isfinite(values[..., 2]), half(40))
    matches = masked.matches.of_stamp(1 * S)
    assert len(matches.u_1) > 20
    assert min(matches.u_1) >= 40.0
    assert min(matches.u_2) >= 40.0


def test_exact_takes_the_mask_of_the_same_stamp_and_no_other(world):
    masked = Masked(world, 'exact')
    masked.send_masks(1, half(10))
    masked.send_masks(2, half(20))
    masked.show(2)
    for mask in masked.masks_of(2):
        np.testing.assert_array_equal(mask, half(20))
    masked.show(3)  # whose masks come too late
    assert masked.masks_of(3) == (None, None)
    assert masked.node.session.drops == {'mask_late': 2}
    told = world.told('inputs', '/left/mask: 1 images found no mask of their own stamp in time')
    assert told.level == b'\x01'


def test_without_any_masks_images_are_answered_without_a_word(world):
    masked = Masked(world, 'exact')
    masked.show(1)
    assert masked.masks_of(1) == (None, None)
    assert masked.node.session.drops == {}


def test_latest_takes_the_last_that_came(world):
    masked = Masked(world, 'latest')
    masked.send_masks(1, half(10))
    masked.send_masks(2, half(20))
    for stamp_s in (7, 8):
        masked.show(stamp_s)
        for mask in masked.masks_of(stamp_s):
            np.testing.assert_array_equal(mask, half(20))


def test_required_waits_for_the_mask_whichever_comes_first(world):
    masked = Masked(world, 'required')
    masked.show(1)
    masked.send_masks(2, half(20))  # image 1 is passed over
    masked.show(2)
    np.testing.assert_array_equal(masked.masks_of(2)[0], half(20))
    assert masked.node.session.drops == {'mask_missing': 2}
    masked.show(3)
    masked.send_masks(3, half(30))
    np.testing.assert_array_equal(masked.masks_of(3)[1], half(30))
    assert len(masked.engine.pairs) == 2


def test_required_images_whose_masks_never_come_are_dropped_counted_and_said(world):
    masked = Masked(world, 'required')
    for stamp_s in range(1, 11):
        masked.show(stamp_s)
    assert masked.engine.pairs == []
    assert masked.node.session.drops == {'mask_missing': 12}  # four may wait a side
    told = world.told('inputs', '/left/mask', 'were dropped because no mask of their stamp came')
    assert told.level == b'\x01'


def test_a_long_queue_holds_images_until_their_masks_come(world):
    """The masks come all at once, long after the images."""
    settings = {'input.queue': 'all', 'input.queue_limit': 16}
    masked = Masked(world, 'required', settings)
    waits = [item._waiting for item in masked.node.session.inputs]
    for stamp_s in range(1, 21):
        masked.show(stamp_s)
    until(lambda: [len(item) for item in waits] == [20, 20], 'all images wait')
    assert masked.node.session.drops == {}
    masked.show(21)
    told = world.told('inputs', '/left/mask: 1 images did not fit into the queue')
    assert told.level == b'\x02'
    assert masked.node.session.drops == {'overflow': 2}
    for stamp_s in range(2, 22):
        for camera in masked.cameras:
            camera.send_mask(half(stamp_s), stamp_s * S)
        np.testing.assert_array_equal(masked.masks_of(stamp_s)[0], half(stamp_s))
    assert masked.node.session.drops == {'overflow': 2}


def test_a_long_queue_keeps_the_mask_of_every_image(world):
    """The engine is slow and the masks of forty pairs must be kept until it takes their images."""
    settings = {'input.queue': 'all', 'input.queue_limit': 64}
    masked = Masked(world, 'required', settings)
    masked.engine.script = lambda number, engine: engine.sleep(0.5 if number == 0 else 0.0)
    for stamp_s in range(1, 41):
        masked.show(stamp_s)
        for camera in masked.cameras:
            camera.send_mask(half(stamp_s), stamp_s * S)
        waits = [item._waiting for item in masked.node.session.inputs]
        until(lambda waits=waits: not any(waits), 'the masks are taken in')
    for stamp_s in (1, 20, 40):
        np.testing.assert_array_equal(masked.masks_of(stamp_s)[0], half(stamp_s))
    assert len(masked.engine.pairs) == 40
    assert masked.node.session.drops == {}


@pytest.mark.parametrize(
    ('message', 'words'),
    [
        (mask_image(np.ones((32, 48), bool), 1 * S), 'shape (32, 48)'),
        (None, 'allowed are mono8'),
    ],
    ids=['of another size', 'of another encoding'],
)
def test_a_mask_that_cannot_be_used_fails_its_pair_and_is_said(world, message, words):
    masked = Masked(world, 'required')
    if message is None:
        message = mask_image(np.ones((64, 96), bool), 1 * S)
        message.encoding = '32FC1'
    masked.show(1)
    for camera in masked.cameras:
        camera.send_mask_message(message)
    until(lambda: 'invalid_input' in masked.node.session.drops, 'the pair fails')
    assert masked.node.session.drops == {'invalid_input': 1, 'mask_invalid': 1}
    world.told('pairs', '1 pairs failed', '/left/mask', words)
    world.told('inputs', '/left/mask: 1 images had a mask that cannot be used')
    masked.show(2)
    masked.send_masks(2, half(5))
    assert masked.masks_of(2)[0] is not None


def test_masks_from_files_hold_for_every_image_and_need_no_topic(world, tmp_path):
    paths = []
    for number in (10, 30):
        paths.append(tmp_path / f'{number}.png')
        cv2.imwrite(str(paths[-1]), half(number).astype(np.uint8) * 255)
    engine = ScriptedEngine()
    settings = {f'input.mask_file_{number}': str(path) for number, path in enumerate(paths, 1)}
    world.start({'input.mask_policy': 'required', **settings}, engine=engine)
    stats, cameras = world.listen('stats'), world.stereo()
    world.ready(*cameras)
    assert not any(camera.hears_masks() for camera in cameras)
    for stamp_s in (1, 2):
        world.show(cameras, IMAGE, stamp_s * S)
        stats.of_stamp(stamp_s * S)
        np.testing.assert_array_equal(engine.pairs[-1][0].mask, half(10))
        np.testing.assert_array_equal(engine.pairs[-1][1].mask, half(30))


def test_a_mask_file_of_another_size_is_said(world, tmp_path):
    path = tmp_path / 'mask.png'
    cv2.imwrite(str(path), np.full((10, 10), 255, np.uint8))
    world.start({'input.mask_file_1': str(path)}, engine=ScriptedEngine())
    heard, cameras = world.listen('stats'), world.stereo()
    world.ready(*cameras)
    world.show(cameras, IMAGE, 1 * S)
    world.told('pairs', 'the mask file', 'shape (10, 10)', '64x96')
    assert heard == []
