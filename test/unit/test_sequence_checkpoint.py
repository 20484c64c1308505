# SPDX-License-Identifier: Apache-2.0
"""Whatever a run needs to go on is read back as it was written."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from mast3r_ros.choices import SolverRule
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.results import ScaleSource
from mast3r_ros.core.views import Grid, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.checkpoint import FOLDER, Checkpoint, read_checkpoint
from mast3r_ros.sequence.frames import TrackedFrame, TrackingState
from mast3r_ros.sequence.keyframe import Keyframe
from mast3r_ros.sequence.pose_graph import Edge
from mast3r_ros.sequence.unknown_camera import UnknownCamera

K = np.array([[70.0, 0, 39.5], [0, 71.0, 29.5], [0, 0, 1]])


class Store(list):
    """Keyframes without an engine behind them."""

    def __init__(self, keyframes, edges):
        super().__init__(keyframes)
        self.edges = edges
        self.current = self[-1]
        self.unknown = UnknownCamera(SolverRule.AUTO)


def keyframe(number: int) -> Keyframe:
    rng = np.random.default_rng(number)
    camera = Camera(80, 60, K, (0.1, -0.02, 0.0, 0.0, 0.0))
    image = rng.integers(0, 256, (60, 80, 3), np.uint8)
    grid = Grid(image[::2, ::2].copy(), None, None, (0.5, 0.5), (1.0, 0.0))
    T = np.eye(4)
    T[:3, 3] = rng.normal(size=3)
    return Keyframe(
        number,
        View(image, camera, rng.random((60, 80)) > 0.5, 7 * number),
        camera,
        grid,
        rng.random((30, 40)).astype(np.float32),
        rng.random((30, 40)).astype(np.float32),
        T,
        rng.random(8).astype(np.float32),
        1.0 + number,
        ScaleSource.MODEL,
        7 * number,
        rng.random((30, 40)) > 0.9,
        3 + number,
    )


def assert_same(one, other):
    """Compare two objects part by part, arrays by their values."""
    if dataclasses.is_dataclass(one):
        for part in dataclasses.fields(one):
            # A grid's camera follows from the view's; a picture stands for itself alone.
            if part.name != 'picture' and not (isinstance(one, Grid) and part.name == 'camera'):
                assert_same(getattr(one, part.name), getattr(other, part.name))
    elif isinstance(one, tuple):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_same(left, right)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype
        np.testing.assert_array_equal(one, other)
    else:
        assert one == other


def test_everything_comes_back(tmp_path):
    keyframes = [keyframe(0), keyframe(1), keyframe(2)]
    keyframes[0].let_go()
    edges = [Edge(0, 1, np.eye(4), 1.5, 2.5), Edge(0, 2, np.eye(4), 0.5, 3.0, certain=False)]
    placed = [
        TrackedFrame(5, TrackingState.TRACKED, keyframes[1], np.eye(4)),
        TrackedFrame(
            9, TrackingState.STILL, keyframes[2], np.eye(4), scale_source=ScaleSource.MODEL
        ),
    ]
    Checkpoint(tmp_path, 'as asked').write(Store(keyframes, edges), placed, 11, 12)
    found = read_checkpoint(tmp_path)
    assert (found.done, found.last_stamp_ns, found.current) == (11, 12, 2)
    assert found.settings == 'as asked'
    for one, other in ((keyframes, found.keyframes), (edges, found.edges)):
        assert_same(tuple(one), tuple(other))
    assert [item.keyframe for item in found.placed] == [found.keyframes[1], found.keyframes[2]]
    assert [item.state for item in found.placed] == [TrackingState.TRACKED, TrackingState.STILL]
    assert found.placed[1].scale_source is ScaleSource.MODEL


def test_only_what_changed_is_written_again(tmp_path):
    keyframes = [keyframe(0), keyframe(1)]
    placed = [TrackedFrame(5, TrackingState.TRACKED, keyframes[1], np.eye(4))]
    checkpoint = Checkpoint(tmp_path, '')
    checkpoint.write(Store(keyframes, []), placed, 1, 5)
    files = [tmp_path / FOLDER / f'keyframe_{number:06d}.npz' for number in (0, 1)]
    for file in files:
        file.write_bytes(b'older')
    keyframes[1].fuse(keyframes[1].depth, keyframes[1].weight)
    checkpoint.write(Store(keyframes, []), placed, 2, 6)
    assert files[0].read_bytes() == b'older'
    assert files[1].read_bytes() != b'older'


def test_a_keyframe_whose_camera_is_settled_is_written_again(tmp_path):
    unsure = dataclasses.replace(keyframe(0), is_calibrated=False)
    placed = [TrackedFrame(5, TrackingState.TRACKED, unsure, np.eye(4))]
    checkpoint = Checkpoint(tmp_path, '')
    checkpoint.write(Store([unsure], []), placed, 1, 5)
    unsure.is_calibrated = True
    checkpoint.write(Store([unsure], []), placed, 2, 6)
    (back,) = read_checkpoint(tmp_path).keyframes
    assert back.is_calibrated


def test_without_a_checkpoint_there_is_nothing_and_a_damaged_one_is_said(tmp_path):
    assert read_checkpoint(tmp_path) is None
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / 'state.npz').write_bytes(b'nonsense')
    with pytest.raises(InvalidInput, match='damaged'):
        read_checkpoint(tmp_path)


def test_what_is_believed_of_an_unknown_camera_comes_back(tmp_path):
    known = keyframe(1)
    unsure = dataclasses.replace(
        keyframe(0),
        view=View(known.view.image),
        is_calibrated=False,
        slopes=np.random.default_rng(0).random((30, 40, 2)).astype(np.float32),
    )
    store = Store([unsure], [])
    camera = Camera.pinhole(80, 60, 71.0, 71.0, 39.5, 29.5)
    store.unknown.restore([(0.9, 0.01), (0.88, 0.02)], camera)
    placed = [TrackedFrame(5, TrackingState.TRACKED, unsure, np.eye(4))]
    Checkpoint(tmp_path, '').write(store, placed, 1, 5)
    found = read_checkpoint(tmp_path)
    assert found.told_of_camera == ((0.9, 0.01), (0.88, 0.02))
    assert found.unknown_camera.fx == 71.0
    (back,) = found.keyframes
    assert back.view.camera is None
    assert not back.is_calibrated
    np.testing.assert_array_equal(back.slopes, unsure.slopes)
