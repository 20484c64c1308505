# SPDX-License-Identifier: Apache-2.0
"""Pictures of a scene: textures filtered by distance, edges smoothed, noise, and exact truth."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.sim.facets import Facets
from mast3r_ros.sim.lens import Lens
from mast3r_ros.sim.mipmaps import Colours
from mast3r_ros.sim.projection import Projected, project
from mast3r_ros.sim.scene import Scene
from mast3r_ros.sim.shading import Shader
from mast3r_ros.sim.truth import Numbers, Truth, to_runs
from mast3r_ros.sim.visibility import Visibility, around, at_borders, nearest_at

# Four places inside a pixel, no two in the same row or column.
_IN_PIXEL = ((-0.375, -0.125), (0.125, -0.375), (0.375, 0.125), (-0.125, 0.375))
_NOISE_ROOM = 128  # pixels by which the noise is shifted at random


@dataclass(frozen=True, eq=False)
class Rendered:
    """A picture and its truth."""

    image: NDArray[np.uint8]  # (H, W, 3) RGB
    truth: Truth

    @property
    def depth(self) -> NDArray[np.float32]:
        """(H, W) depth Z in metres, NaN at the sky."""
        return self.truth.depth()

    @property
    def mask(self) -> NDArray[np.uint8]:
        """(H, W): 0 on the moving boxes, 255 elsewhere."""
        return self.truth.mask()


def render(scene: Scene, camera: Camera, T_world_camera: Matrix, time_s: float) -> Rendered:
    """Return what a camera at a place sees at a time, without noise."""
    return Renderer(scene, camera).render(scene.facets(time_s), T_world_camera)


class Renderer:
    """Renders a scene through one camera; holds buffers, so not for several threads at once.

    :param noise: standard deviation of the sensor's noise in grey levels.
    """

    def __init__(self, scene: Scene, camera: Camera, noise: float = 0.0) -> None:
        self._scene = scene
        self._lens = Lens.of(camera)
        self._visibility = Visibility(*self._lens.size)
        self._u = self._lens.u.ravel().astype(np.float32)
        self._v = self._lens.v.ravel().astype(np.float32)
        self._noise = _noise(camera, noise) if noise > 0.0 else None

    def render(
        self, facets: Facets, T_world_camera: Matrix, rng: np.random.Generator | None = None
    ) -> Rendered:
        """Return what the camera sees.

        :param facets: the scene at the time of the picture.
        :param rng: decides the noise; without it there is none.
        """
        lens = self._lens
        seen = project(facets, lens.K, lens.size, T_world_camera)
        numbers = self._numbers(seen)
        shader = Shader(self._scene, facets, seen)
        colours = shader.colours(numbers.ravel().astype(np.intp), self._u, self._v)
        self._smooth_edges(colours, shader, facets, numbers)
        image = colours.reshape(*numbers.shape, 3)
        if self._noise is not None and rng is not None:
            image = _with_noise(image, self._noise, rng)
        planes = seen.planes.copy()
        planes[self._scene.sky] = np.nan
        truth = Truth(to_runs(numbers), planes, self._scene.first_moving, lens.rays)
        return Rendered(image, truth)

    def _numbers(self, seen: Projected) -> Numbers:
        """Return the facet at each pixel of the camera."""
        drawn = self._visibility.draw(seen)
        if not self._lens.camera.is_distorted:
            return drawn
        rows, columns = np.rint(self._v).astype(np.intp), np.rint(self._u).astype(np.intp)
        numbers = drawn[rows, columns]
        at = np.flatnonzero(at_borders(drawn)[rows, columns])
        candidates = around(drawn, rows[at], columns[at])
        numbers[at] = nearest_at(seen, candidates, self._u[at], self._v[at])[0]
        return numbers.reshape(self._lens.u.shape)

    def _smooth_edges(
        self, colours: Colours, shader: Shader, facets: Facets, numbers: Numbers
    ) -> None:
        """Give pixels where two surfaces meet the mean of several places inside them."""
        rows, columns = np.nonzero(at_borders(facets.surface[numbers]))
        if len(rows) == 0:
            return
        at = rows * numbers.shape[1] + columns
        u, v = self._u[at], self._v[at]
        candidates = around(numbers, rows, columns)
        facet = nearest_at(shader.seen, candidates, u, v, _IN_PIXEL)
        u = np.concatenate([u + np.float32(du) for du, _ in _IN_PIXEL])
        v = np.concatenate([v + np.float32(dv) for _, dv in _IN_PIXEL])
        inside = shader.colours(facet.ravel(), u, v).reshape(len(_IN_PIXEL), len(at), 3)
        colours[at] = (inside.sum(axis=0, dtype=np.uint16) + len(_IN_PIXEL) // 2) // len(_IN_PIXEL)


def _with_noise(image: Colours, noise: NDArray[np.int16], rng: np.random.Generator) -> Colours:
    height, width = image.shape[:2]
    top, left = rng.integers(0, _NOISE_ROOM, 2)
    shifted = noise[top : top + height, left : left + width]
    return np.asarray(cv2.add(image, shifted, dtype=cv2.CV_8U), np.uint8)


def _noise(camera: Camera, deviation: float) -> NDArray[np.int16]:
    shape = (camera.height + _NOISE_ROOM, camera.width + _NOISE_ROOM, 3)
    values = np.random.default_rng(0).standard_normal(shape, dtype=np.float32)
    noise: NDArray[np.int16] = np.rint(values * deviation).astype(np.int16)
    return noise
