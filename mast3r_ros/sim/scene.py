# SPDX-License-Identifier: Apache-2.0
"""The simulated world: uneven ground, boxes that stand, boxes that move, hills and sky around."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.sim import materials
from mast3r_ros.sim.boxes import Box, Mover
from mast3r_ros.sim.facets import Facets, box_facets, join, sky_facets
from mast3r_ros.sim.layout import place_boxes
from mast3r_ros.sim.lighting import FACES, GROUND_PIXELS, bake, face_tiles, sky_tiles
from mast3r_ros.sim.mipmaps import MipAtlas
from mast3r_ros.sim.terrain import Terrain

SKY_DISTANCE_M = 2000.0
TEXTURE_PIXELS = 1024


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is seen. Facets come in the order ground, still boxes, sky, moving boxes.

    :param period_s: time after which all movers are where they started.
    """

    terrain: Terrain
    still: tuple[Box, ...]
    movers: tuple[Mover, ...]
    period_s: float
    textures: MipAtlas
    light: NDArray[np.uint8]

    @classmethod
    def make(
        cls, seed: int, period_s: float = 16.0, texture_pixels: int = TEXTURE_PIXELS
    ) -> Scene:
        """Return the scene of a seed.

        :param texture_pixels: width of the texture tiles, a power of two.
        """
        rng = np.random.default_rng(seed)
        terrain = Terrain.make(rng)
        still, movers = place_boxes(rng, terrain)
        tiles = [paint(rng, texture_pixels) for paint in materials.MATERIALS]
        light = bake(rng, terrain, still, [mover.box for mover in movers])
        return cls(terrain, still, movers, period_s, MipAtlas(tiles), light)

    @property
    def first_moving(self) -> int:
        """Number of the first facet of the moving boxes; all later ones move as well."""
        return len(self._still_facets)

    @property
    def sky(self) -> range:
        """Numbers of the facets that are no surface at all."""
        return range(self.first_moving - FACES, self.first_moving)

    def facets(self, time_s: float) -> Facets:
        """Return the world at a time."""
        phase = 2.0 * np.pi * (time_s / self.period_s % 1.0)
        moved = [
            facets.moved(mover.at(phase).T_world_box)
            for mover, facets in zip(self.movers, self._mover_facets, strict=True)
        ]
        return join([self._still_facets, *moved])

    @cached_property
    def _still_facets(self) -> Facets:
        ground = self.terrain.facets(materials.SOIL, GROUND_PIXELS)
        boxes = [
            _facets(box, index).moved(box.T_world_box) for index, box in enumerate(self.still)
        ]
        return join([ground, *boxes, sky_facets(SKY_DISTANCE_M, materials.PLAIN, sky_tiles())])

    @cached_property
    def _mover_facets(self) -> list[Facets]:
        first = len(self.still)
        return [_facets(mover.box, first + index) for index, mover in enumerate(self.movers)]


def _facets(box: Box, index: int) -> Facets:
    shift = np.array([0.37, 0.61]) * index % 1.0
    return box_facets(box.size, box.material, box.tile_m, shift, face_tiles(index))
