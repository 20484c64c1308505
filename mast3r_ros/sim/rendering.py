# SPDX-License-Identifier: Apache-2.0
"""Renders a whole loop into files, on all processors, wholly or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue

import numpy as np

from mast3r_ros.core.cameras import Matrix
from mast3r_ros.core.cores import usable_cores
from mast3r_ros.core.poses import stereo_pose
from mast3r_ros.errors import Mast3rError
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.flight import Flight
from mast3r_ros.sim.recording_files import SIDES, UNFINISHED, ImageFile, save_small, sweep
from mast3r_ros.sim.render import Rendered, Renderer
from mast3r_ros.sim.scene import Scene
from mast3r_ros.sim.truth import Truth

Progress = Callable[[int, int], None]  # pairs done, pairs in all

_MOST_THREADS = 8  # more of them mostly wait for each other
_TRUTH_BYTES_PER_PAIR = 150_000


@dataclass(frozen=True, eq=False)
class Pair:
    """A rendered stereo pair, left and right."""

    sides: tuple[Rendered, Rendered]
    T_world_left: Matrix


class PairRenderer:
    """Renders the pairs of a flight one by one; not for several threads at once."""

    def __init__(self, config: SimConfig, scene: Scene) -> None:
        self._config, self._scene = config, scene
        self._flight = Flight(config.period_s)
        left, right = config.cameras()
        self._T_left_right = np.linalg.inv(stereo_pose(left, right))
        assert left.R is not None
        self._R_left = left.R
        self._renderers = [Renderer(scene, camera, config.noise) for camera in (left, right)]

    def render(self, index: int) -> Pair:
        """Return the pair number ``index``."""
        time_s = index / self._config.rate_hz
        facets = self._scene.facets(time_s)
        T_world_left = self._flight.pose(time_s)
        T_world_left[:3, :3] = T_world_left[:3, :3] @ self._R_left  # from camera to rectified
        poses = (T_world_left, T_world_left @ self._T_left_right)
        left, right = (
            self._renderers[side].render(facets, poses[side], self._noise(index, side))
            for side in (0, 1)
        )
        return Pair((left, right), T_world_left)

    def _noise(self, index: int, side: int) -> np.random.Generator:
        return np.random.default_rng((self._config.seed, index, side))


def render_loop(place: Path, config: SimConfig, progress: Progress | None = None) -> None:
    """Render a loop into the folder ``place``, which appears when all is done.

    Whatever lay there is replaced. When interrupted, nothing is left.
    """
    place.parent.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(place, ignore_errors=True)
    sweep(place)
    _check_room(place.parent, config)
    with tempfile.TemporaryDirectory(prefix=UNFINISHED, dir=place.parent) as unfinished:
        folder = Path(unfinished) / 'loop'
        folder.mkdir()
        _render_into(folder, config, progress or (lambda done, total: None))
        try:
            folder.rename(place)
        except OSError:
            if not place.exists():  # else another process has rendered the same meanwhile
                raise


def _render_into(folder: Path, config: SimConfig, progress: Progress) -> None:
    progress(0, config.frames)
    scene = Scene.make(config.seed, config.period_s)
    shape = (config.frames, config.height, config.width, 3)
    files = [ImageFile(folder / f'{side}.npy', shape) for side in SIDES]
    threads = min(_MOST_THREADS, usable_cores())
    renderers: SimpleQueue[PairRenderer] = SimpleQueue()
    for _ in range(threads):
        renderers.put(PairRenderer(config, scene))

    def render(index: int) -> tuple[Matrix, tuple[Truth, Truth]]:
        renderer = renderers.get()
        try:
            pair = renderer.render(index)
        finally:
            renderers.put(renderer)
        for file, side in zip(files, pair.sides, strict=True):
            file.write(index, side.image)
        return pair.T_world_left, (pair.sides[0].truth, pair.sides[1].truth)

    pool = ThreadPoolExecutor(threads, 'sim-render')
    try:
        pending = [pool.submit(render, index) for index in range(config.frames)]
        for done, future in enumerate(as_completed(pending), 1):
            future.result()
            progress(done, config.frames)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
        for file in files:
            file.close()
    _save_truth(folder, pending, scene.first_moving)


def _save_truth(
    folder: Path, rendered: list[Future[tuple[Matrix, tuple[Truth, Truth]]]], first_moving: int
) -> None:
    poses, truths = zip(*(future.result() for future in rendered), strict=True)
    runs = [truth.runs for pair in truths for truth in pair]
    arrays = {
        'poses': np.stack(poses),
        'planes': np.stack([[truth.planes for truth in pair] for pair in truths]),
        'runs': np.concatenate(runs),
        'first_runs': np.cumsum([0, *map(len, runs)], dtype=np.int64),
    }
    save_small(folder, arrays, first_moving)


def _check_room(folder: Path, config: SimConfig) -> None:
    pair = 2 * 3 * config.width * config.height + _TRUTH_BYTES_PER_PAIR
    needed, free = config.frames * pair, shutil.disk_usage(folder).free
    if needed > free:
        raise Mast3rError(
            f'the simulated flight takes {needed >> 20} MiB but only {free >> 20} MiB are free in '
            f'{folder}; make room, name another folder, or lower duration_s, rate_hz or the size'
        )
