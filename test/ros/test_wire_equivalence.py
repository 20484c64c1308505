# SPDX-License-Identifier: Apache-2.0
"""Our conversions against cv_bridge's and sensor_msgs_py's, wherever those are installed."""

from __future__ import annotations

import array
import subprocess
import sys

import cv2
import numpy as np
import pytest

pytest.importorskip('sensor_msgs', reason='needs ROS 2')

from sensor_msgs.msg import CompressedImage, Image
from support import raw_images
from support.ros_messages import class_of

from mast3r_ros.wire.cloud_packing import CloudPacker
from mast3r_ros.wire.compressed_decoding import decode_compressed
from mast3r_ros.wire.image_decoding import decode_image
from mast3r_ros.wire.image_encoding import ImageEncoder
from mast3r_ros.wire.message_fields import make_by_attributes
from mast3r_ros.wire.stamps import header_fields

WIDTH, HEIGHT = 34, 26
PADDING = 48  # whole pixels of every encoding: the other one knows no other padding
HEADER = header_fields(17, 'left_optical')

# Name, bytes a pixel, bytes a sample, and by how much the two may differ: OpenCV's versions round
# differently, and we bring 16 bits to 8 before we interpolate, not after.
ENCODINGS = [
    ('mono8', 1, 1, 0),
    ('rgb8', 3, 1, 0),
    ('bgr8', 3, 1, 0),
    ('rgba8', 4, 1, 0),
    ('bgra8', 4, 1, 0),
    ('mono16', 2, 2, 0),
    ('rgb16', 6, 2, 0),
    ('bgr16', 6, 2, 0),
    ('rgba16', 8, 2, 0),
    ('bgra16', 8, 2, 0),
    ('yuv422', 2, 1, 1),
    ('yuv422_yuy2', 2, 1, 1),
    *((f'bayer_{pattern}8', 1, 1, 1) for pattern in raw_images.PATTERNS),
    *((f'bayer_{pattern}16', 2, 2, 1) for pattern in raw_images.PATTERNS),
]


@pytest.fixture(scope='module')
def bridge():
    cv_bridge = pytest.importorskip('cv_bridge', reason='needs cv_bridge')
    # One that was built for another NumPy ends the whole process, so another process tries it.
    attempt = (
        'import numpy, cv_bridge; bridge = cv_bridge.CvBridge(); '
        "message = bridge.cv2_to_imgmsg(numpy.zeros((2, 2, 3), 'uint8'), 'bgr8'); "
        "bridge.imgmsg_to_cv2(message, 'rgb8')"
    )
    command = [sys.executable, '-c', attempt]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip('needs a cv_bridge that works with this NumPy')
    return cv_bridge.CvBridge()


@pytest.fixture
def point_cloud2():
    pytest.importorskip('sensor_msgs_py', reason='needs sensor_msgs_py')
    from sensor_msgs_py import point_cloud2

    return point_cloud2


def noise_message(encoding, pixel_bytes, *, padding, big_endian):
    rng = np.random.default_rng(5)
    rows = rng.integers(0, 256, (HEIGHT, WIDTH * pixel_bytes), dtype=np.uint8)
    raw = raw_images.message(rows, encoding, WIDTH, padding=padding, big_endian=big_endian)
    message = Image()
    for name, value in vars(raw).items():
        setattr(message, name, array.array('B', value) if name == 'data' else value)
    return message


def rgb_of(bridge, message):
    try:
        return bridge.imgmsg_to_cv2(message, 'rgb8').astype(int)
    except TypeError as error:  # what CvBridgeError is
        if 'Unrecognized image encoding' not in str(error):
            raise
        pytest.skip(f'this cv_bridge is older than {message.encoding}')


@pytest.mark.parametrize('padding', [0, PADDING])
@pytest.mark.parametrize(('encoding', 'pixel_bytes', 'sample_bytes', 'tolerance'), ENCODINGS)
def test_image_equals_that_of_cv_bridge(
    bridge, encoding, pixel_bytes, sample_bytes, tolerance, padding
):
    message = noise_message(encoding, pixel_bytes, padding=padding, big_endian=False)
    theirs = rgb_of(bridge, message)
    np.testing.assert_allclose(decode_image(message).astype(int), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize(
    ('encoding', 'pixel_bytes', 'sample_bytes', 'tolerance'),
    [row for row in ENCODINGS if row[2] == 2],
)
def test_big_endian_image_equals_that_of_cv_bridge(
    bridge, encoding, pixel_bytes, sample_bytes, tolerance
):
    if not hasattr(np.ndarray, 'newbyteorder'):
        pytest.skip('cv_bridge cannot swap bytes under NumPy 2')
    message = noise_message(encoding, pixel_bytes, padding=0, big_endian=True)
    theirs = rgb_of(bridge, message)
    np.testing.assert_allclose(decode_image(message).astype(int), theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize('suffix', ['.jpg', '.png'])
def test_compressed_image_equals_that_of_cv_bridge(bridge, suffix):
    content = cv2.imencode(suffix, raw_images.smooth_image(WIDTH, HEIGHT))[1]
    message = CompressedImage(format=suffix[1:])
    message.data = array.array('B', content.tobytes())
    np.testing.assert_array_equal(
        decode_compressed(message), bridge.compressed_imgmsg_to_cv2(message, 'rgb8')
    )


def test_cv_bridge_reads_our_images(bridge):
    encoder = ImageEncoder()
    picture = raw_images.smooth_image(WIDTH, HEIGHT)
    depth = np.random.default_rng(0).random((HEIGHT, WIDTH), dtype=np.float32)
    depth[2, 3] = np.nan
    for fields, expected in (
        (encoder.rgb(HEADER, picture), picture),
        (encoder.float_map(HEADER, depth), depth),
    ):
        read = bridge.imgmsg_to_cv2(make_by_attributes(fields, class_of))
        np.testing.assert_array_equal(read, expected)


@pytest.mark.parametrize('downsample', [1, 3])
def test_sensor_msgs_py_reads_our_clouds(point_cloud2, downsample):
    rng = np.random.default_rng(0)
    points = rng.normal(size=(HEIGHT, WIDTH, 3)).astype(np.float32)
    points[rng.random((HEIGHT, WIDTH)) < 0.3] = np.nan
    image = raw_images.random_image(rng, WIDTH, HEIGHT)
    confidence = rng.random((HEIGHT, WIDTH), dtype=np.float32)
    fields = CloudPacker().pack_arrays(HEADER, points, image, confidence, downsample)
    cloud = make_by_attributes(fields, class_of)
    kept = np.s_[::downsample, ::downsample]

    xyz = point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'])
    np.testing.assert_array_equal(xyz, points[kept].reshape(-1, 3))
    read = point_cloud2.read_points(cloud, ['rgb', 'confidence'])
    np.testing.assert_array_equal(read['confidence'], confidence[kept].ravel())
    colours = read['rgb'].copy().view(np.uint8).reshape(-1, 4)
    np.testing.assert_array_equal(colours[:, 2::-1], image[kept].reshape(-1, 3))
    seen = point_cloud2.read_points_numpy(cloud, ['x', 'y', 'z'], skip_nans=True)
    assert len(seen) == np.isfinite(points[kept][..., 2]).sum()
