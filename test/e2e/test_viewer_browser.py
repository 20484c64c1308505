# SPDX-License-Identifier: Apache-2.0
"""The page in a real browser that reaches nothing but this machine: what is drawn, what acts."""

from __future__ import annotations

import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip('viser', reason='needs viser')

from support import browser, view_parts

from mast3r_ros.viewer.parts import ImagePart, PosePart, Sentence
from mast3r_ros.viewer.poses import LEVEL
from mast3r_ros.viewer.scene import Scene
from mast3r_ros.viewer.server import address_of, open_server

pytestmark = [
    pytest.mark.skipif(browser.found() is None, reason='needs chromium'),
    pytest.mark.timeout(240),
]

SUPPORT = Path(__file__).resolve().parents[1] / 'support'
MAGENTA, GREEN, SKY = (255, 0, 255), (0, 255, 0), (0, 128, 255)

# Where things are at 1280x800: the pictures left, the world in the middle, the controls right.
PICTURES, WORLD = np.s_[80:390, 10:395], np.s_[200:800, 410:980]


def count(page, color, place=WORLD):
    """Return how many pixels of a screenshot are of about that colour."""
    shot = page.screenshot()[place].astype(int)
    return int((np.abs(shot - np.array(color)).max(axis=-1) < 60).sum())


class Feeder:
    """Feeds a view again and again, as a node would."""

    def __init__(self, scene):
        self.scene, self.color, self.changes, self.number = scene, MAGENTA, {}, 0
        self.pose_of = None  # where the camera is at each number
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self):
        self._stop.set()
        self._thread.join()

    def _run(self):
        while not self._stop.wait(0.15):
            self.number += 1
            if self.pose_of is not None:
                self.scene.add_pose(PosePart(self.number, self.pose_of(self.number)))
            view_parts.feed(self.scene, self.number, self.color, **self.changes)


@pytest.fixture(scope='module')
def chromium(tmp_path_factory):
    with browser.browser(tmp_path_factory.mktemp('browser')) as running:
        yield running


@contextmanager
def shown(chromium, **options):
    """Open a page on a view that is fed; give the page and the feeder."""
    scene = Scene(open_server(port=18600), '/mast3r', **options)
    feeder = Feeder(scene)
    page = chromium.open(address_of(scene._server))
    try:
        page.until(lambda: 'LIVE' in page.text(), 'the page coming alive')
        page.until(lambda: count(page, MAGENTA) > 2000, 'points in the world')
        yield page, feeder
    finally:
        feeder.stop()
        page.close()
        scene.close()


@pytest.fixture(scope='module')
def live(chromium):
    with shown(chromium) as both:
        yield both


@pytest.fixture
def view(live):
    """The page as a test finds it: live, magenta, nothing hidden."""
    page, feeder = live
    feeder.color, feeder.changes = MAGENTA, {}
    page.until(lambda: count(page, MAGENTA) > 2000, 'the wall being magenta')
    return page, feeder


def test_the_page_loads_without_errors_and_without_the_internet(view):
    page, feeder = view
    here = address_of(feeder.scene._server)
    strangers = [url for url in page.requests if not url.startswith((here, 'data:', 'blob:'))]
    assert strangers == []
    assert page.errors == []


def test_the_page_explains_itself(view):
    page, _ = view
    words = page.text()
    for about in ('/mast3r', 'pairs/s', 'ms old', 'geometric on cpu', 'metres', 'matches'):
        assert about in words
    for about in ('Depth: bright is near', 'Confidence', 'answered a second', 'age, ms'):
        assert about in words


def test_points_follow_the_node(view):
    page, feeder = view
    feeder.color = GREEN
    page.until(lambda: count(page, GREEN) > 2000, 'the wall turning green')
    assert count(page, MAGENTA) == 0


def test_pictures_follow_the_node(view):
    page, feeder = view
    assert count(page, MAGENTA, PICTURES) > 2000
    feeder.color = GREEN
    page.until(lambda: count(page, GREEN, PICTURES) > 2000, 'the picture turning green')


def test_the_plots_are_drawn(view):
    page, _ = view
    sky = np.array([86, 180, 233])
    plots = np.s_[440:760, 10:395]

    def drawn():
        shot = page.screenshot()[plots].astype(int)
        return (np.abs(shot - sky).max(axis=-1) < 40).sum() > 60

    page.until(drawn, 'a line in the plot')


def set_number(page, label, value):
    """Type a value into the number beside a slider."""
    page.click(*page.until(lambda: page.run(_NUMBER % label), f'the number of {label}'))
    page.call('Input.dispatchKeyEvent', type='keyDown', key='a', code='KeyA', modifiers=2,
              commands=['selectAll'])  # fmt: skip
    page.call('Input.insertText', text=str(value))
    for kind in ('keyDown', 'keyUp'):
        page.call('Input.dispatchKeyEvent', type=kind, key='Tab', code='Tab',
                  windowsVirtualKeyCode=9)  # fmt: skip


_NUMBER = """(() => {
  const label = [...document.querySelectorAll('label')].find(l => l.innerText.trim() === '%s');
  if (!label) return null;
  let box = label;
  while (box && !box.querySelector('input[inputmode]')) box = box.parentElement;
  if (!box) return null;
  const place = box.querySelector('input[inputmode]').getBoundingClientRect();
  return [place.x + place.width / 3, place.y + place.height / 2];
})()"""


def test_what_is_farther_than_the_slider_says_is_hidden(view):
    page, feeder = view
    feeder.changes = {'far_color': GREEN}
    page.until(lambda: count(page, GREEN) > 500, 'the far half in green')
    set_number(page, 'Farthest', 10)
    page.until(lambda: count(page, GREEN) == 0, 'the far half being hidden')
    assert count(page, MAGENTA) > 500
    set_number(page, 'Farthest', 30)
    page.until(lambda: count(page, GREEN) > 500, 'the far half coming back')


def test_fewer_points_are_shown_as_the_budget_says(view):
    page, _ = view

    def points_shown():
        found = re.search(r'(\d+k?) of 19k points', page.text())
        return found and found[1]

    page.until(lambda: points_shown() == '19k', 'all points')
    set_number(page, 'Points at most', 5000)
    page.until(lambda: re.fullmatch(r'4\d\d\d|5000', points_shown() or ''), 'fewer points')
    set_number(page, 'Points at most', 60000)
    page.until(lambda: points_shown() == '19k', 'all points again')


def test_a_paused_page_stands_still_and_steps_pair_by_pair(view):
    page, feeder = view
    page.click_on('Pause')
    page.until(lambda: 'PAUSED' in page.text(), 'the pause')
    feeder.color = GREEN
    time.sleep(1.5)
    assert count(page, GREEN) == 0
    page.click_on('One more pair')
    page.until(lambda: count(page, GREEN) > 2000, 'the next pair')
    feeder.color = MAGENTA
    time.sleep(1.5)
    assert count(page, MAGENTA) == 0
    page.click_on('Go on')
    page.until(lambda: count(page, MAGENTA) > 2000, 'going on')


def test_the_cloud_is_saved_as_a_file_in_the_browser(view, tmp_path):
    page, _ = view
    page.call('Page.setDownloadBehavior', behavior='allow', downloadPath=str(tmp_path))
    page.click_on('Save cloud (PLY)')

    def saved():
        return [file for file in tmp_path.glob('cloud_*.ply') if file.stat().st_size > 1000]

    (file,) = page.until(saved, 'the file')
    header = file.read_bytes()[:400].split(b'end_header')[0].decode()
    assert header.startswith('ply\nformat binary_little_endian 1.0')
    assert 'property float confidence' in header


def test_what_is_wrong_stands_on_the_page_as_it_was_written(view):
    page, feeder = view
    feeder.scene.say([Sentence(2, 'left: nobody publishes <left/image>; start the camera')])
    page.until(lambda: 'nobody publishes <left/image>; start' in page.text(), 'the sentence')
    feeder.scene.say([])


def test_two_browsers_see_the_same(view, chromium):
    _, feeder = view
    other = chromium.open(address_of(feeder.scene._server))
    other.until(lambda: count(other, MAGENTA) > 2000, 'points in the second browser')
    other.close()


def test_a_node_that_falls_silent_is_said_to_and_comes_back(chromium):
    with shown(chromium) as (page, feeder):
        feeder.stop()
        page.until(lambda: 'WAITING' in page.text(), 'the page seeing that nothing comes')
        assert 'the last one is shown' in page.text()
        assert count(page, MAGENTA) > 2000
        again = Feeder(feeder.scene)
        page.until(lambda: 'LIVE' in page.text(), 'the page going on')
        again.stop()


def test_both_images_are_shown_where_there_are_two(chromium):
    images = [np.full((120, 160, 3), color, np.uint8) for color in (GREEN, SKY)]
    with shown(chromium, images_of=lambda first, second: ImagePart(first, *images)) as (page, _):
        page.until(lambda: count(page, SKY, np.s_[85:230, 210:390]) > 2000, 'view 2 on the right')
        assert count(page, GREEN, np.s_[85:230, 10:200]) > 2000


def far_away(number):
    """Return the pose of a camera that flies along far from the world's origin."""
    T = LEVEL.copy()
    T[:3, 3] = (500.0, -300.0 + 0.02 * number, 20.0)
    return T


def test_the_eye_follows_a_camera_with_poses_and_a_map_grows(chromium):
    with shown(chromium) as (page, feeder):
        feeder.pose_of = far_away
        page.until(lambda: ' in the map' in page.text(), 'a map')
        page.until(lambda: count(page, MAGENTA) > 2000, 'the wall before the eye')
        page.until(lambda: 'Clear the map' in page.text(), 'the controls of the map')
        feeder.pose_of = None
        feeder.stop()
        page.click_on('Clear the map')
        page.until(lambda: ' in the map' not in page.text(), 'the map being gone')
        assert page.errors == []


def free_port():
    with socket.socket() as probe:
        probe.bind(('127.0.0.1', 0))
        return min(probe.getsockname()[1], 60000)


@contextmanager
def view_process(port, color):
    process = subprocess.Popen(
        [sys.executable, SUPPORT / 'view_program.py', *map(str, (port, *color))],
        env={**os.environ, 'PYTHONPATH': os.pathsep.join(filter(None, sys.path))},
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip()
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()


def test_the_page_comes_back_by_itself_when_its_server_was_killed(chromium):
    port = free_port()
    with view_process(port, MAGENTA) as address:
        page = chromium.open(address)
        page.until(lambda: count(page, MAGENTA) > 2000, 'points')
    with view_process(port, GREEN) as again:
        assert again == address
        page.until(lambda: count(page, GREEN) > 2000, 'points of the new server')
    page.close()
