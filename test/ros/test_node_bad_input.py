# SPDX-License-Identifier: Apache-2.0
"""Whatever comes in: it is counted and said, and the next good pair is answered."""

from __future__ import annotations

import array

import numpy as np
import pytest
from raw_images import smooth_image
from ros_cameras import camera_info, compressed_image, rgb_image
from ros_engines import ScriptedEngine
from ros_world import stamp_of, until
from scene import small_camera

from mast3r_ros.core.cameras import Camera

IMAGE = smooth_image(96, 64)
S = 10**9


def changed(**fields):
    """Return what makes a message of these fields in an otherwise good image."""

    def make(stamp_ns):
        message = rgb_image(IMAGE, stamp_ns)
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    return make


MALFORMED = {
    'no pixels': changed(width=0, height=0, step=0, data=array.array('B')),
    'no rows': changed(height=0),
    'no bytes': changed(data=array.array('B')),
    'cut off': changed(data=array.array('B', bytes(IMAGE.nbytes - 1))),
    'a step of nothing': changed(step=0),
    'a step of less than a row': changed(step=96 * 3 - 1),
    'an absurd step': changed(step=2**32 - 1),
    'an absurd size': changed(width=2**32 - 1, height=2**32 - 1),
    'a huge size': changed(width=100_000, height=100_000, step=300_000),
    'an unknown encoding': changed(encoding='32FC1'),
    'depth instead of a picture': changed(encoding='16UC1', step=96 * 2),
    'colours of another layout': changed(encoding='nv24'),
    'no encoding': changed(encoding=''),
    'a very long encoding': changed(encoding='rgb8' * 10_000),
    'odd sides for shared colours': changed(encoding='nv12', height=63),
}


class Fed:
    """A node with two cameras, and what it answered."""

    def __init__(self, world, settings=None, calibrated=False, **keywords):
        self.world = world
        self.engine = ScriptedEngine()
        self.node = world.start(settings, engine=self.engine)
        self.stats, self.points = world.listen('stats', 'points')
        self.cameras = world.stereo(**keywords)
        for camera, baseline_m in zip(self.cameras, (0.0, 0.3), strict=True):
            camera.calibrate(small_camera(96, 64, baseline_m) if calibrated else None)
        world.ready(*self.cameras)

    def show(self, stamp_ns, image=IMAGE):
        """Show a good pair and return its cloud."""
        self.world.show(self.cameras, image, stamp_ns)
        return self.points.of_stamp(stamp_ns)

    def feed(self, make, stamp_ns):
        """Show a pair made of any messages and wait until the engine's thread is through."""
        done = self.done()
        for camera in self.cameras:
            self.world.deliver(camera, make(stamp_ns))
        until(lambda: self.done() > done, 'the pair is answered, dropped or failed')

    def done(self):
        """Return how many pairs came to an end."""
        drops = self.node.session.drops
        return self.node.session.pipeline.answered + drops.get('invalid_input', 0)


@pytest.mark.parametrize('what', MALFORMED)
def test_a_malformed_image_is_counted_and_the_next_good_one_answered(world, what):
    fed = Fed(world)
    fed.feed(MALFORMED[what], 1 * S)
    assert fed.node.session.drops == {'invalid_input': 1}
    fed.show(2 * S)
    stats = fed.stats.of_stamp(2 * S)
    assert (stats.drop_reasons, list(stats.drop_counts)) == (['invalid_input'], [1])
    assert [stamp_of(message) for message in fed.points] == [2 * S]


def test_malformed_images_are_reported_with_their_topic_and_what_is_wrong(world):
    fed = Fed(world)
    fed.feed(changed(step=5), 1 * S)
    told = world.told('pairs', '1 pairs failed', '/left/image', 'step is 5')
    assert told.level == b'\x02'  # nothing at all is answered
    fed.show(2 * S)
    world.told('pairs', '1 pairs answered')
    assert world.value('pairs', 'dropped_invalid_input') == '1'


@pytest.mark.parametrize('encoding', ['nv24', '16UC1', '32FC1'])
def test_an_encoding_that_cannot_be_read_is_named_with_those_that_can(world, encoding):
    fed = Fed(world)
    fed.feed(changed(encoding=encoding), 1 * S)
    words = f"/left/image: encoding '{encoding}' cannot be read; allowed are mono8, "
    assert 'nv12' in world.told('pairs', words).message


@pytest.mark.parametrize('codec', ['png', 'jpg'])
def test_damaged_compressed_images_are_counted_and_the_next_good_one_answered(world, codec):
    fed = Fed(world, {'input.image_transport': 'compressed'}, compressed=True)
    whole = compressed_image(IMAGE, 0, codec)

    def damaged(data):
        def make(stamp_ns):
            message = compressed_image(IMAGE, stamp_ns, codec)
            message.data = array.array('B', data)
            return message

        return make

    noise = np.random.default_rng(5).integers(0, 256, 3000, np.uint8).tobytes()
    for number, data in enumerate([b'', bytes(whole.data)[:-20], noise, bytes(30)], start=1):
        fed.feed(damaged(data), number * S)
    assert fed.node.session.drops == {'invalid_input': 4}
    fed.show(9 * S)


def test_a_thousand_malformed_images_in_a_row_do_no_harm(world):
    fed = Fed(world, {'input.queue': 'all', 'input.queue_limit': 10_000})
    makes = list(MALFORMED.values())
    for number in range(500):
        for camera in fed.cameras:
            camera.send(makes[number % len(makes)]((number + 1) * S))
    received = [item.received for item in fed.node.session.inputs]
    until(
        lambda: [item.received for item in fed.node.session.inputs] == [500, 500],
        f'all 1000 came, after {received}',
    )
    until(lambda: fed.done() == 500, 'every pair came to an end')
    assert fed.node.session.drops == {'invalid_input': 500}
    told = world.told('pairs', 'pairs failed')
    assert told.level == b'\x02'
    fed.show(600 * S)
    assert [stamp_of(message) for message in fed.points] == [600 * S]


def test_pictures_may_change_their_size_at_any_time(world):
    fed = Fed(world)
    for number, (width, height) in enumerate([(96, 64), (64, 96), (1, 1), (200, 3), (96, 64)], 1):
        cloud = fed.show(number * S, smooth_image(width, height))
        assert (cloud.width, cloud.height) == (width, height)
    assert fed.node.session.drops == {}


def test_the_two_views_may_differ_in_size(world):
    fed = Fed(world)
    world.show(fed.cameras, [IMAGE, smooth_image(64, 48)], 1 * S)
    cloud = fed.points.of_stamp(1 * S)
    assert (cloud.width, cloud.height) == (96, 64)


def test_stamps_that_go_back_start_afresh(world):
    fed = Fed(world, {'input.queue': 'all'})
    for stamp_s in (100, 101, 102, 5, 6, 7):
        fed.show(stamp_s * S)
    assert [left // S for left, _ in fed.engine.stamps] == [100, 101, 102, 5, 6, 7]
    assert set(fed.node.session.drops) <= {'time_jump'}


def test_stamps_that_are_no_time_are_counted_said_and_passed_over(world):
    fed = Fed(world)
    for nanosec, sec in ((5, -3), (2 * 10**9, 3)):
        message = rgb_image(IMAGE, 0)
        message.header.stamp.sec, message.header.stamp.nanosec = sec, nanosec
        for camera in fed.cameras:
            world.deliver(camera, message)
    assert fed.node.session.drops == {'invalid_stamp': 4}
    assert world.told('inputs', '/left/image', 'a stamp that is no time').level >= b'\x01'
    fed.show(1 * S)


def test_the_same_stamp_again_is_counted_and_no_pair(world):
    fed = Fed(world)
    fed.show(1 * S)
    world.show(fed.cameras, IMAGE, 1 * S)
    fed.show(2 * S)
    assert [left // S for left, _ in fed.engine.stamps] == [1, 2]
    assert fed.node.session.drops['duplicate_stamp'] == 2


def test_left_images_without_right_ones_are_counted_and_said(world):
    fed = Fed(world)
    for number in range(1, 41):
        world.deliver(fed.cameras[0], fed.cameras[0].picture(IMAGE, number * S))
    assert fed.node.session.drops == {'no_partner': 24}  # sixteen may wait
    world.told('inputs', 'right: no image has come on /right/image')
    fed.show(50 * S)
    assert fed.engine.stamps == [(50 * S, 50 * S)]


def spoilt_infos():
    def info(**fields):
        message = camera_info(small_camera(96, 64))
        for name, value in fields.items():
            setattr(message, name, value)
        return message

    nan9 = np.full(9, np.nan)
    return {
        'NaN in K': (info(k=nan9), 'no finite number'),
        'zero focal length': (info(k=np.zeros(9)), 'focal lengths'),
        'an unknown distortion': (
            info(distortion_model='fisheye77', d=array.array('d', [0.1])),
            'fisheye77',
        ),
        'too few coefficients': (info(d=array.array('d', [0.1, 0.2])), 'coefficients'),
        'no size': (info(width=0, height=0), 'no pixels'),
        'absurd binning': (info(binning_x=2**31), 'no pixels'),
    }


@pytest.mark.parametrize('what', spoilt_infos())
def test_a_calibration_that_is_none_is_named_until_a_good_one_comes(world, what):
    message, words = spoilt_infos()[what]
    fed = Fed(world, calibrated=True)
    fed.show(1 * S)
    calibration = fed.node.session.inputs[0].calibration
    fed.cameras[0].send_info(message)
    until(lambda: calibration.problem, 'the calibration is taken in')
    told = world.told('inputs', '/left/camera_info', words)
    assert told.level == b'\x02'
    fed.show(2 * S)  # answered as if nobody had calibrated
    assert fed.engine.pairs[-1][0].camera is None
    world.ready(*fed.cameras)
    until(lambda: calibration.camera, 'the good calibration is taken over')
    fed.show(3 * S)
    assert isinstance(fed.engine.pairs[-1][0].camera, Camera)


def test_a_calibration_of_another_size_is_named_with_both_sizes(world):
    fed = Fed(world, calibrated=True)
    fed.feed(lambda stamp_ns: rgb_image(smooth_image(48, 32), stamp_ns), 1 * S)
    told = world.told('pairs', '/left/camera_info', '96x64', '48x32')
    assert told.level == b'\x02'
    fed.show(2 * S)
    assert set(fed.node.session.drops) == {'invalid_input'}
