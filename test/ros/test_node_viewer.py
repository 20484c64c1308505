# SPDX-License-Identifier: Apache-2.0
"""The view beside a real node: heard only while somebody looks, and back when the node is back."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, suppress

import numpy as np
import pytest

pytest.importorskip('viser', reason='needs viser')

from ros_world import GEOMETRIC, persist, until
from scene import small_camera
from sensor_msgs.msg import PointCloud2

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.ros.publishers import message_class
from mast3r_ros.ros.viewer import ViewerNode, parse
from mast3r_ros.viewer.server import address_of
from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.message_fields import make_by_attributes
from mast3r_ros.wire.stamps import header_fields

IMAGES = made_up_pair(320, 240)


def drain(socket):
    """Read what is sent until the connection ends, in whatever way."""
    from websockets.exceptions import ConnectionClosed

    with suppress(ConnectionClosed):
        for _ in socket:
            pass


@contextmanager
def onlooker(view):
    """Be a browser, as far as the server can tell: connected, and with an eye somewhere."""
    import msgspec
    import viser
    from websockets.sync.client import connect

    eye = {'type': 'ViewerCameraMessage', 'wxyz': (1.0, 0.0, 0.0, 0.0), 'position': (0.0,) * 3,
           'fov': 1.0, 'near': 0.01, 'far': 100.0, 'image_height': 800, 'image_width': 1280,
           'look_at': (1.0, 0.0, 0.0), 'up_direction': (0.0, 0.0, 1.0)}  # fmt: skip
    address = address_of(view.scene._server).replace('http', 'ws')
    protocol = f'viser-v{viser.__version__}'
    with connect(address, subprotocols=[protocol], max_size=None) as socket:
        socket.send(msgspec.msgpack.encode(eye))
        threading.Thread(target=drain, args=[socket], daemon=True).start()
        until(lambda: view.scene.watched, 'the server knowing of the browser')
        yield


@contextmanager
def flying(cameras):
    """Publish calibrated pairs of equal stamps all the time."""
    stop = threading.Event()
    for camera, baseline_m in zip(cameras, (0.0, 0.3), strict=True):
        camera.calibrate(small_camera(320, 240, baseline_m))

    def fly():
        while not stop.wait(0.1):
            now_ns = time.time_ns()
            for camera, image in zip(cameras, IMAGES, strict=True):
                camera.send_info(camera.info)
                camera.show(image, now_ns)

    thread = threading.Thread(target=fly)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture
def view(world):
    node = ViewerNode(parse(['viewer', '--port', '18700']))
    world.adopt(node)
    return node


def headline(view):
    return view.scene.page._headline.content


def words(view):
    return view.scene.page._sentences.content


def points(view):
    return view.scene._drawing.counts()[1]


def test_nothing_is_computed_for_a_view_that_nobody_looks_at(world, view):
    node = world.start(GEOMETRIC)
    world.stereo()
    until(lambda: node.session is not None, 'the node being configured')
    with onlooker(view):
        until(lambda: node.session.listens, 'the node being listened to')
    until(lambda: not node.session.listens, 'the node being left alone again')


def test_what_the_node_answers_is_shown(world, view):
    world.start(GEOMETRIC)
    with onlooker(view), flying(world.stereo()):
        until(lambda: 'LIVE' in headline(view), lambda: headline(view))
        until(lambda: points(view) > 1000, 'points being shown')
        assert 'geometric' in headline(view)
        until(lambda: 'Both views' in view.scene.page._pair_caption.content, 'both images')
        until(lambda: ' matches' in view.scene.page._pair_caption.content, 'the matches')
    assert view.scene._trouble is None


def test_a_node_that_was_ended_and_started_again_is_shown_again(world, view):
    node = world.start(GEOMETRIC)
    with onlooker(view), flying(world.stereo()):
        until(lambda: 'LIVE' in headline(view), lambda: headline(view))
        world.stop(node)
        until(lambda: 'WAITING' in headline(view), lambda: headline(view))
        until(lambda: 'nothing is heard of /mast3r any more' in words(view), lambda: words(view))
        world.start(GEOMETRIC)
        until(lambda: 'LIVE' in headline(view), lambda: headline(view))
        until(lambda: 'nothing is heard' not in words(view), lambda: words(view))


def test_a_map_that_somebody_publishes_is_shown(world, view):
    points = np.random.default_rng(0).normal(size=(1, 500, 3)).astype(np.float32)
    image, sure = np.zeros((1, 500, 3), np.uint8), np.ones((1, 500), np.float32)
    fields = CloudPacker().pack_arrays(header_fields(1, 'world'), points, image, sure)
    message = make_by_attributes(fields, message_class)
    publisher = world.node.create_publisher(PointCloud2, '/mast3r/map', 1)
    with onlooker(view):
        persist(
            lambda: publisher.publish(message),
            lambda: view.scene._drawing.counts()[2] == 500,
            'the map is shown',
        )
    assert view.scene._trouble is None


def test_a_node_that_follows_its_camera_tells_the_view_where_it_is(world, view):
    world.start({**GEOMETRIC, 'sequence.enable': True, 'sequence.loop_edges': 0})
    with onlooker(view), flying(world.stereo()):
        until(lambda: len(view.scene._drawing._trail) > 0, 'the view has a pose')


def test_what_the_node_says_is_wrong_stands_on_the_page(world, view):
    world.start(GEOMETRIC)
    with onlooker(view):
        until(lambda: 'nobody publishes /left/image' in words(view), lambda: words(view))


def test_a_name_that_no_node_has_is_said(world):
    lonely = world.adopt(ViewerNode(parse(['viewer', '--port', '18710', '--node', '/nobody'])))
    with onlooker(lonely):
        until(lambda: 'nothing is heard of /nobody yet' in words(lonely), lambda: words(lonely))


@pytest.mark.parametrize('wrong', [['--rate', '0'], ['--images', 'maybe'], ['--nonsense']])
def test_wrong_use_is_refused(wrong):
    with pytest.raises(SystemExit):
        parse(['viewer', *wrong])
