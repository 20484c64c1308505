# SPDX-License-Identifier: Apache-2.0
"""Bench rows of the geometric engine beside what one would otherwise build from OpenCV's parts."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from side_by_side import Row, compare

from mast3r_ros.core.benchmark import made_up_pair
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import Output
from mast3r_ros.engines.geometric.engine import GeometricEngine

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from support.real_data import StereoPair, find_data_folder, motorcycle

SIZE = (512, 384)
PAIRS_PER_S = 30.0  # to reach, for the cloud of a rectified pair on two cores
LENS = (-0.28, 0.07, 0.0002, 0.0, 0.0)
LENS_ZOOM = 1.09  # so far that the bent picture has no empty edges
DISPARITIES = 128  # of the plain way
BLOCK_PX = 5
BAD_PX = 2.0
RATE_TIME_S = 2.0


def rows() -> Iterator[Row]:
    """Measure one row after another."""
    has_pictures = find_data_folder('middlebury_motorcycle') is not None
    pair = motorcycle(SIZE) if has_pictures else _made_up()
    what = 'motorcycle' if has_pictures else 'made-up wall'
    raw = _with_lens(pair)
    with GeometricEngine() as engine:
        yield compare(
            'geometric',
            f'cloud, rectified {SIZE[0]}x{SIZE[1]}, {what}',
            _cloud(engine, pair),
            lambda: _plain_cloud(pair),
            other_name=f'SGBM of {DISPARITIES} disparities, reprojectImageTo3D',
            rounds=15,
            goal_pairs_per_s=PAIRS_PER_S,
            facts={
                **_rate(_cloud(engine, pair)),
                **(_accuracy(engine) if has_pictures else {}),
            },
        )
        yield compare(
            'geometric',
            f'cloud, raw and distorted {SIZE[0]}x{SIZE[1]}, {what}',
            _cloud(engine, raw),
            _plain_raw_cloud(raw),
            other_name='remap, the same SGBM, reprojectImageTo3D',
            rounds=15,
            facts=_rate(_cloud(engine, raw)),
        )
        moved = (pair.camera_1, pair.camera_2)
        yield compare(
            'geometric',
            f'two frames, motion unknown {SIZE[0]}x{SIZE[1]}, {what}',
            lambda: engine.infer(pair.image_1, pair.image_2, cameras=moved),
            lambda: _plain_motion(pair),
            other_name='medium DIS flow both ways, essential matrix, triangulatePoints',
            rounds=5,
        )


def _cloud(engine: GeometricEngine, pair: StereoPair) -> Callable[[], object]:
    return lambda: engine.infer(
        pair.image_1, pair.image_2, cameras=pair.cameras, outputs=Output.CLOUD_1
    )


def _rate(job: Callable[[], object]) -> dict[str, Any]:
    """Return pairs a second, by the median call and by the best."""
    job()
    times_s: list[float] = []
    while sum(times_s) < RATE_TIME_S:
        start = time.perf_counter()
        job()
        times_s.append(time.perf_counter() - start)
    return {
        'pairs_per_s': 1.0 / float(np.median(times_s)),
        'best_pairs_per_s': 1.0 / min(times_s),
    }


def _accuracy(engine: GeometricEngine) -> dict[str, Any]:
    """Return how dense and how right both are at native size."""
    pair = motorcycle()
    result = engine.infer(pair.image_1, pair.image_2, cameras=pair.cameras, outputs=Output.CLOUD_1)
    plain = _plain_disparity(*_grays(pair))
    assert result.pts3d_1 is not None
    assert pair.true_disparity is not None
    offset_px = pair.camera_2.cx - pair.camera_1.cx
    focal_baseline = -pair.camera_1.fx * pair.T_2_1[0, 3]
    ours = focal_baseline / result.pts3d_1[..., 2] - offset_px
    facts: dict[str, Any] = {}
    for name, disparity in (('', ours), ('plain_', np.where(plain < 0.0, np.nan, plain))):
        known = np.isfinite(pair.true_disparity)
        error_px = np.abs(disparity - pair.true_disparity)[known & np.isfinite(disparity)]
        facts[f'{name}kept'] = len(error_px) / int(known.sum())
        facts[f'{name}median_px'] = float(np.median(error_px))
        facts[f'{name}bad_2px_percent'] = 100.0 * float(np.mean(error_px > BAD_PX))
    return facts


def _plain_cloud(pair: StereoPair) -> object:
    return _plain_points(pair, *_grays(pair))


def _plain_raw_cloud(pair: StereoPair) -> Callable[[], object]:
    """Rectify by maps made once; the answer lies on the rectified pixels, not on the raw."""
    maps = [
        cv2.initUndistortRectifyMap(
            camera.K, np.array(camera.distortion), np.eye(3), camera.K, SIZE, cv2.CV_16SC2
        )
        for camera in (pair.camera_1, pair.camera_2)
    ]

    def cloud() -> object:
        gray_1, gray_2 = (
            np.asarray(cv2.remap(gray, *both, cv2.INTER_LINEAR), np.uint8)
            for gray, both in zip(_grays(pair), maps, strict=True)
        )
        return _plain_points(pair, gray_1, gray_2)

    return cloud


def _plain_points(
    pair: StereoPair, gray_1: NDArray[np.uint8], gray_2: NDArray[np.uint8]
) -> object:
    camera, baseline_m = pair.camera_1, -pair.T_2_1[0, 3]
    Q = np.array(
        [
            [1.0, 0.0, 0.0, -camera.cx],
            [0.0, 1.0, 0.0, -camera.cy],
            [0.0, 0.0, 0.0, camera.fx],
            [0.0, 0.0, 1.0 / baseline_m, (pair.camera_2.cx - camera.cx) / baseline_m],
        ]
    )
    return cv2.reprojectImageTo3D(_plain_disparity(gray_1, gray_2), Q, handleMissingValues=True)


def _plain_disparity(gray_1: NDArray[np.uint8], gray_2: NDArray[np.uint8]) -> NDArray[np.float32]:
    matcher = cv2.StereoSGBM.create(
        minDisparity=0,
        numDisparities=DISPARITIES,
        blockSize=BLOCK_PX,
        P1=8 * BLOCK_PX**2,
        P2=32 * BLOCK_PX**2,
        disp12MaxDiff=1,
        preFilterCap=31,
        uniquenessRatio=10,
        speckleWindowSize=100,
        speckleRange=2,
    )
    return matcher.compute(gray_1, gray_2).astype(np.float32) / np.float32(16.0)


def _plain_motion(pair: StereoPair) -> object:
    gray_1, gray_2 = _grays(pair)
    flow = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    there, _ = flow.calc(gray_1, gray_2, None), flow.calc(gray_2, gray_1, None)
    u, v = np.meshgrid(np.arange(SIZE[0]), np.arange(SIZE[1]))
    pixels_1 = np.stack([u, v], -1).reshape(-1, 2).astype(np.float64)
    pixels_2 = pixels_1 + there.reshape(-1, 2)
    K, some = pair.camera_1.K, slice(None, None, 64)
    E, inliers = cv2.findEssentialMat(
        pixels_1[some], pixels_2[some], K, method=cv2.USAC_MAGSAC, prob=0.999, threshold=1.0
    )
    _, R, t, _ = cv2.recoverPose(E[:3], pixels_1[some], pixels_2[some], K, mask=inliers)[:4]
    P_1, P_2 = K @ np.eye(3, 4), K @ np.hstack([R, t])
    return cv2.triangulatePoints(P_1, P_2, pixels_1.T, pixels_2.T)


def _grays(pair: StereoPair) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    first, second = (
        np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), np.uint8)
        for image in (pair.image_1, pair.image_2)
    )
    return first, second


def _made_up() -> StereoPair:
    """Return a textured wall, for where there are no pictures."""
    image_1, image_2 = made_up_pair(*SIZE, shift_px=24)
    camera = Camera.pinhole(*SIZE, 400.0, 400.0, 255.5, 191.5)
    T_2_1 = np.eye(4)
    T_2_1[0, 3] = -0.1
    return StereoPair(image_1, image_2, camera, camera, T_2_1)


def _with_lens(pair: StereoPair) -> StereoPair:
    """Return the pair as cameras with a wide lens would see it."""
    bent = []
    for image, camera in ((pair.image_1, pair.camera_1), (pair.image_2, pair.camera_2)):
        fx, fy = LENS_ZOOM * camera.fx, LENS_ZOOM * camera.fy
        lens = Camera.pinhole(*SIZE, fx, fy, camera.cx, camera.cy, LENS)
        pixels = camera.project(lens.rays.reshape(-1, 3)).reshape(SIZE[1], SIZE[0], 2)
        picture = cv2.remap(image, pixels.astype(np.float32), None, cv2.INTER_LINEAR)
        bent.append((np.asarray(picture, np.uint8), lens))
    (image_1, camera_1), (image_2, camera_2) = bent
    return StereoPair(image_1, image_2, camera_1, camera_2, pair.T_2_1)
