# SPDX-License-Identifier: Apache-2.0
"""What the node publishes: stamps, frames, and geometry that agrees from topic to topic."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
from oracle_engine import EXACT, OracleEngine
from ros_engines import ScriptedEngine
from ros_world import GEOMETRIC, TYPES, stamp_of
from scene import Scene, placed, small_camera, stereo_shots

from mast3r_ros.config import FitRule, ModelConfig
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.geometry import transform

STAMP_NS = 1_700_000_000_123_456_789
RECTIFIED = {'input.rectified': 'true'}
ALL_NAMES = list(TYPES)
LENS = (-0.12, 0.04, 0.001, -0.0008, 0.0)  # k1 k2 p1 p2 k3


def distorted_shots():
    """A stereo pair with lens distortion whose cameras squint; R and P rectify it."""
    shots = []
    for baseline_m, yaw_deg in ((0.0, 0.6), (0.3, -0.8)):
        plain = small_camera(320, 240, baseline_m)
        yaw = np.deg2rad(yaw_deg)
        R = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]])
        T = placed(baseline_m)
        T[:3] = R.T @ T[:3]  # R takes points of the camera as it stands into the rectified frame
        camera = Camera(320, 240, plain.K, LENS, R=R, P=plain.P)
        shots.append(Scene().look(camera, T))
    return shots


SHOTS = {'rectified': stereo_shots(Scene(), 0.3, 320, 240), 'raw': distorted_shots()}


def show_pair(world, shots, stamp_ns=STAMP_NS, calibrated=True):
    """Publish a stereo pair once the node listens."""
    cameras = world.camera('left/image', frame_id='left_optical'), world.camera('right/image')
    for camera, shot in zip(cameras, shots, strict=True):
        camera.calibrate(shot.camera if calibrated else None)
    world.ready(*cameras)
    world.show(cameras, [shot.image for shot in shots], stamp_ns)
    return cameras


def cloud_of(message):
    """Return points (H, W, 3), packed colours (H, W) and confidence (H, W) of a cloud."""
    rows = np.frombuffer(bytes(message.data), np.uint8).reshape(message.height, message.row_step)
    values = rows.view(np.float32).reshape(message.height, message.width, -1)
    places = {field.name: field.offset // 4 for field in message.fields}
    points = values[..., [places['x'], places['y'], places['z']]]
    return points, values[..., places['rgb']].view(np.uint32), values[..., places['confidence']]


def map_of(message):
    """Return the numbers (H, W) of a 32FC1 image."""
    assert message.encoding == '32FC1'
    return np.frombuffer(bytes(message.data), np.float32).reshape(message.height, message.width)


def project(points, info):
    """Project (N, 3) with K and D, as of an image that is as distorted as the camera."""
    K, D = np.asarray(info.k).reshape(3, 3), np.asarray(info.d)
    uv, _ = cv2.projectPoints(points.astype(np.float64), np.zeros(3), np.zeros(3), K, D)
    return uv.reshape(-1, 2)


def misses_px(cloud, info):
    """Return how far each valid point's projection lies from its own pixel."""
    points, _, _ = cloud_of(cloud)
    v, u = np.nonzero(np.isfinite(points).all(axis=2))
    assert len(u) > 0.2 * points.shape[0] * points.shape[1]
    return np.abs(project(points[v, u], info) - np.stack([u, v], axis=1)).max(axis=1)


@pytest.mark.parametrize('kind', SHOTS)
def test_everything_carries_the_stamp_and_frame_of_view_1_and_agrees(world, kind):
    shots = SHOTS[kind]
    settings = {**GEOMETRIC, 'input.rectified': 'true' if kind == 'rectified' else 'false'}
    world.start(settings)
    heard = dict(zip(ALL_NAMES, world.listen(*ALL_NAMES), strict=True))
    show_pair(world, shots)
    results = {name: messages.wait() for name, messages in heard.items()}

    assert {name: stamp_of(message) for name, message in results.items()} == dict.fromkeys(
        ALL_NAMES, STAMP_NS
    )
    assert {message.header.frame_id for message in results.values()} == {'left_optical'}
    cloud, info = results['points'], results['depth/camera_info']
    assert (cloud.width, cloud.height, cloud.is_dense) == (320, 240, False)
    assert (info.width, info.height) == (320, 240)
    assert misses_px(cloud, info).max() <= 0.01

    points, colours, confidence = cloud_of(cloud)
    depth = map_of(results['depth/image'])
    np.testing.assert_array_equal(points[..., 2], depth)
    np.testing.assert_array_equal(confidence, map_of(results['confidence']))
    rgb = shots[0].image.astype(np.uint32)
    np.testing.assert_array_equal(colours, rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])
    assert np.nanmedian(np.abs(depth / shots[0].depth - 1.0)) < 0.01


@pytest.mark.parametrize('kind', SHOTS)
def test_matches_are_right_in_pixels_of_the_input_images(world, kind):
    left, right = shots = SHOTS[kind]
    world.start({**GEOMETRIC, 'input.rectified': 'true' if kind == 'rectified' else 'false'})
    matches, points = world.listen('matches', 'points')
    show_pair(world, shots)
    found, cloud = matches.wait(), points.wait()
    uv_1, uv_2 = np.stack([found.u_1, found.v_1], 1), np.stack([found.u_2, found.v_2], 1)
    assert (found.width_1, found.height_1, found.width_2, found.height_2) == (320, 240, 320, 240)
    assert stamp_of(found) == STAMP_NS
    assert found.header_2.stamp == found.header.stamp
    assert len(uv_1) > 100
    off = np.linalg.norm(Scene().true_match(left, uv_1, right) - uv_2, axis=1)
    assert np.nanmedian(off) < 0.5
    at = cloud_of(cloud)[0][np.rint(uv_1[:, 1]).astype(int), np.rint(uv_1[:, 0]).astype(int)]
    np.testing.assert_array_equal(np.stack([found.x, found.y, found.z], 1), at)


@pytest.mark.parametrize('lens', [(), LENS], ids=['rectified', 'raw'])
def test_a_networks_resize_and_crop_is_undone_everywhere(world, lens):
    """160x100 pictures become 112x64: scaled by 0.7 and three rows cut off at top and bottom."""
    left, right = shots = [
        Scene().look(
            replace(small_camera(160, 100, baseline_m), distortion=lens), placed(baseline_m)
        )
        for baseline_m in (0.0, 0.3)
    ]
    model = ModelConfig(variant='mast3r_vit_large', resolution=112, fit=FitRule.CROP)
    engine = OracleEngine(model, errors=EXACT, scale=0.37).register_shots(shots)
    settings = {'input.rectified': 'false' if lens else 'true', 'matching.subsample': 2}
    world.start(settings, engine=engine)
    points, depths, infos, matches = world.listen(
        'points', 'depth/image', 'depth/camera_info', 'matches'
    )
    show_pair(world, shots)
    cloud, info, found = points.wait(), infos.wait(), matches.wait()
    assert (cloud.width, cloud.height) == (info.width, info.height) != (160, 100)
    assert misses_px(cloud, info).max() <= 0.01

    uv_1, uv_2 = np.stack([found.u_1, found.v_1], 1), np.stack([found.u_2, found.v_2], 1)
    assert (found.width_1, found.height_1) == (160, 100)
    assert len(uv_1) > 50
    off = np.linalg.norm(Scene().true_match(left, uv_1, right) - uv_2, axis=1)
    assert np.nanmedian(off) < 1.0  # descriptors know whole grid pixels of 1.4 input pixels

    # The unit comes from the baseline; depth lies where its camera_info says.
    assert found.scale_source == 'stereo_baseline'
    seen = Scene().surface_at(left.camera, left.T_camera_world, uv_1)
    true_z = transform(left.T_camera_world, seen)[:, 2]
    assert np.nanmedian(np.abs(np.asarray(found.z) / true_z - 1.0)) < 0.02
    assert map_of(depths.wait()).shape == (cloud.height, cloud.width)


def test_without_calibration_the_focal_length_is_estimated_and_said(world):
    shots = SHOTS['rectified']
    model = ModelConfig(resolution=112)
    engine = OracleEngine(model, errors=EXACT, metric=True).register_shots(shots)
    world.start(RECTIFIED, engine=engine)
    clouds, infos = world.listen('points', 'depth/camera_info')
    show_pair(world, shots, calibrated=False)
    cloud, info = clouds.wait(), infos.wait()
    true_focal_px = shots[0].camera.fx * info.width / 320
    assert info.k[0] == info.k[4] == pytest.approx(true_focal_px, rel=0.02)
    assert np.median(misses_px(cloud, info)) < 2.0  # centre and focal length are guesses
    told = world.told('pairs', 'focal length is estimated', f'{info.k[0]:.1f} px')
    assert told.level == b'\x01'
    assert 'left/camera_info' in world.told('inputs', 'no calibration').message


def test_the_geometric_engine_agrees_with_its_estimated_camera(world):
    world.start(GEOMETRIC)
    clouds, infos = world.listen('points', 'depth/camera_info')
    show_pair(world, SHOTS['rectified'], calibrated=False)
    assert misses_px(clouds.wait(), infos.wait()).max() <= 0.01


def test_depth_without_a_unit_is_published_only_when_asked_for(world):
    shots = SHOTS['rectified']
    engine = OracleEngine(errors=EXACT).register_shots(shots)  # neither metric nor calibrated
    world.start(engine=engine)
    depths, stats = world.listen('depth/image', 'stats')
    cameras = show_pair(world, shots, calibrated=False)
    assert stats.wait().scale_source == 'none'
    assert world.set(cloud__publish_unscaled=True)[0].successful
    world.show(cameras, [shot.image for shot in shots], STAMP_NS + 10**8)
    stats.of_stamp(STAMP_NS + 10**8)
    assert [stamp_of(depth) for depth in depths] == [STAMP_NS + 10**8]


def test_view_2_has_its_own_cloud_and_confidence_in_the_frame_of_camera_1(world):
    shots = SHOTS['rectified']
    world.start({**GEOMETRIC, **RECTIFIED})
    clouds, confidences = world.listen('points_2', 'confidence_2')
    show_pair(world, shots)
    points, colours, confidence = cloud_of(clouds.wait())
    assert clouds[0].header.frame_id == 'left_optical'
    np.testing.assert_array_equal(confidence, map_of(confidences.wait()))
    rgb = shots[1].image.astype(np.uint32)
    np.testing.assert_array_equal(colours, rgb[..., 0] << 16 | rgb[..., 1] << 8 | rgb[..., 2])
    T_2_1 = shots[1].T_camera_world @ np.linalg.inv(shots[0].T_camera_world)
    in_2 = transform(T_2_1, points.astype(np.float64))
    assert np.nanmedian(np.abs(in_2[..., 2] / shots[1].depth - 1.0)) < 0.01


def test_stats_tell_every_stage_and_the_age(world):
    engine = ScriptedEngine(lambda number, engine: engine.sleep(0.02))
    world.start(engine=engine)
    heard = world.listen('stats', 'points', 'matches')
    show_pair(world, SHOTS['rectified'])
    stats = heard[0].wait()
    assert (stats.engine, stats.device, stats.scale_source) == ('scripted', 'cpu', 'model')
    assert stats.decode_ms >= 20.0
    assert stats.matches == len(heard[2].wait().u_1) > 0
    stages = ('wait', 'preprocess', 'encode', 'decode', 'postprocess', 'match', 'publish')
    spent_ms = [getattr(stats, f'{stage}_ms') for stage in stages]
    assert all(np.isfinite(value) and value >= 0.0 for value in spent_ms)
    assert stats.age_ms > stats.decode_ms  # the stamp is long past


def test_the_picture_of_matches_shows_both_views(world):
    world.start(engine=ScriptedEngine())
    pictures = world.listen('matches/image')
    show_pair(world, SHOTS['rectified'])
    picture = pictures.wait()
    assert (picture.encoding, picture.width >= 640) == ('rgb8', True)
    assert len(picture.data) == picture.step * picture.height


def test_downsampled_clouds_keep_every_nth_pixel(world):
    world.start({**GEOMETRIC, **RECTIFIED, 'output.downsample': 3})
    clouds, depths = world.listen('points', 'depth/image')
    show_pair(world, SHOTS['rectified'])
    points, _, _ = cloud_of(clouds.wait())
    np.testing.assert_array_equal(points[..., 2], map_of(depths.wait())[::3, ::3])


def test_the_rate_of_clouds_is_capped_and_other_topics_are_not(world):
    world.start({'output.cloud_rate_max_hz': 10.0}, engine=ScriptedEngine())
    clouds, stats = world.listen('points', 'stats')
    cameras = show_pair(world, SHOTS['rectified'])
    stamps = [STAMP_NS + number * 33_333_333 for number in range(7)]
    stats.of_stamp(stamps[0])
    for stamp_ns in stamps[1:]:
        world.show(cameras, [shot.image for shot in SHOTS['rectified']], stamp_ns)
        stats.of_stamp(stamp_ns)
    clouds.of_stamp(stamps[6])
    assert [stamp_of(cloud) for cloud in clouds] == [stamps[0], stamps[3], stamps[6]]
