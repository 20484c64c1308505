# SPDX-License-Identifier: Apache-2.0
"""A bag of results is played into a view: every pair, its images, at its pace, as one may step."""

from __future__ import annotations

import threading

import numpy as np
import pytest

pytest.importorskip('rosbags', reason='needs rosbags')

from support import bag_files

from mast3r_ros.bags.bag import Bag
from mast3r_ros.bags.message_types import MessageTypes
from mast3r_ros.cli import replay, view
from mast3r_ros.cli.view_playback import Playback, ResultTopics
from mast3r_ros.errors import InvalidInput
from mast3r_ros.viewer.flow import Flow
from mast3r_ros.viewer.image_store import ImageStore

PAIRS = 4
H, W = bag_files.HEIGHT, bag_files.WIDTH


@pytest.fixture(scope='module')
def bags(tmp_path_factory):
    """Return a bag of a stereo camera and the bag of results that the replay made of it."""
    folder = tmp_path_factory.mktemp('bags')
    images = bag_files.stereo_plan(PAIRS).write(folder / 'images')
    results = folder / 'results'
    done = replay.main(
        [str(images), '--backend', 'geometric', '--output', str(results), '--with-stats']
    )
    assert done == 0
    return images, results


class Audience:
    """Takes what a view would be offered, and makes every part at once."""

    def __init__(self):
        self.flow = Flow()
        self.clouds, self.matches, self.stats, self.poses = [], [], [], []

    def offer_cloud(self, make):
        self.clouds.append(make())

    def offer_matches(self, make):
        self.matches.append(make())

    def add_stats(self, stats):
        self.stats.append(stats)

    def add_pose(self, pose):
        self.poses.append(pose)


def playback_of(results, images=(), **options):
    bag = results if isinstance(results, Bag) else Bag(results, print)
    return Playback(bag, ResultTopics.find(bag, None), images, MessageTypes(), **options)


def cameras_of(path):
    bag = Bag(path, print)
    return [(side, bag, f'/cam/{side}/image_rect') for side in ('left', 'right')]


def test_every_pair_is_shown_once_and_in_order(bags):
    audience = Audience()
    assert playback_of(bags[1], speed=100.0).play(audience, ImageStore()) == PAIRS
    stamps = [bag_files.stamp_of(number) for number in range(PAIRS)]
    assert [part.stamp_ns for part in audience.clouds] == stamps
    assert [part.stamp_1_ns for part in audience.matches] == stamps
    assert [part.stamp_ns for part in audience.stats] == stamps
    assert audience.stats[0].engine == 'geometric'
    depth = audience.clouds[0].depth
    assert np.nanmedian(depth) == pytest.approx(bag_files.DEPTH_M, rel=0.02)


def test_a_bag_without_statistics_still_tells_the_unit_and_the_matches(bags, tmp_path):
    results = tmp_path / 'plain'
    assert replay.main([str(bags[0]), '--backend', 'geometric', '--output', str(results)]) == 0
    audience = Audience()
    playback_of(results, speed=100.0).play(audience, ImageStore())
    assert {part.scale_source for part in audience.stats} == {'stereo_baseline'}
    assert [part.matches for part in audience.stats] == [len(m.uv_1) for m in audience.matches]
    assert np.isnan(audience.stats[0].age_ms)


def test_the_images_of_every_pair_are_there_when_it_is_shown(bags):
    store, found = ImageStore(), []

    class Looking(Audience):
        def offer_matches(self, make):
            part = make()
            found.append(store.find(part.stamp_1_ns, part.stamp_2_ns))

    playback_of(bags[1], cameras_of(bags[0]), speed=100.0).play(Looking(), store)
    assert len(found) == PAIRS
    for number, part in enumerate(found):
        left, right = bag_files.pictures(number)
        np.testing.assert_array_equal(part.image_1, left)
        np.testing.assert_array_equal(part.image_2, right)


def test_a_paused_playback_waits_and_steps_pair_by_pair(bags):
    audience = Audience()
    audience.flow.toggle()
    playing = threading.Thread(
        target=lambda: playback_of(bags[1], speed=100.0).play(audience, ImageStore())
    )
    playing.start()
    playing.join(0.3)
    assert audience.clouds == []
    audience.flow.step()
    while not audience.stats:
        playing.join(0.02)
    playing.join(0.3)
    assert len(audience.stats) == 1
    audience.flow.end()
    playing.join(10)
    assert not playing.is_alive()


def test_a_bag_without_results_says_what_makes_them(bags):
    with pytest.raises(InvalidInput, match='mast3r-replay'):
        ResultTopics.find(Bag(bags[0], print), None)
    with pytest.raises(InvalidInput, match='of /other'):
        ResultTopics.find(Bag(bags[1], print), '/other')


@pytest.mark.parametrize(
    ('topic', 'word'), [('/none', 'has no topic'), ('/mast3r/points', 'poses are')]
)
def test_poses_that_cannot_be_had_are_said(bags, topic, word):
    with pytest.raises(InvalidInput, match=word):
        playback_of(bags[1], pose_topic=topic)


def test_the_command_plays_a_bag_to_its_end(bags, capsys):
    pytest.importorskip('viser', reason='needs viser')
    words = [str(bags[1]), '--images', str(bags[0]), '--once', '--rate', '50', '--port', '18800']
    assert view.main(words) == 0
    said = capsys.readouterr().out
    assert 'open http://127.0.0.1:18' in said
    assert f'{PAIRS} pairs shown' in said


@pytest.mark.parametrize(
    ('words', 'word'),
    [
        (['no such bag'], 'does not exist'),
        (['RESULTS', '--rate', '0'], '--rate is 0'),
        (['IMAGES'], 'holds no results'),
        (['RESULTS', '--host', '203.0.113.7'], 'nothing can listen'),
    ],
)
def test_wrong_use_of_the_command_is_one_line(bags, words, word, capsys):
    named = {'IMAGES': str(bags[0]), 'RESULTS': str(bags[1])}
    if '--host' in words:
        pytest.importorskip('viser', reason='needs viser')
    assert view.main([named.get(item, item) for item in words]) == 1
    complaint = capsys.readouterr().err
    assert word in complaint
    assert 'Traceback' not in complaint
