# SPDX-License-Identifier: Apache-2.0
"""The two pictures an engine sees: a view as it came, and the same view on the engine's pixels.

Pixel (u, v) is a pixel's centre: an image of width W spans u from -0.5 to W - 0.5.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.core.cameras import Camera
from mast3r_ros.errors import InvalidInput

ImageArray = NDArray[np.uint8]  # (H, W, 3) RGB
MaskArray = NDArray[np.bool_]  # (H, W), True takes part


class Frame(Protocol):
    """Something that has a time of exposure and becomes a view when it is needed."""

    @property
    def stamp_ns(self) -> int:
        """Time of exposure in nanoseconds."""

    def view(self) -> View:
        """Return the view; the same one every time."""


class Picture:
    """Stands for one picture, so that what was made of it can be found again; holds nothing."""


@dataclass(frozen=True, eq=False)
class View:
    """One picture as it came, with what is known of its camera.

    :param image: uint8 RGB (H, W, 3).
    :param camera: its calibration, at exactly this size.
    :param mask: (H, W); zero or False takes no part in matches and points.
    :param stamp_ns: time of exposure in nanoseconds.
    :param frame_id: name of the camera's optical frame.
    """

    image: ImageArray
    camera: Camera | None = None
    mask: MaskArray | None = None
    stamp_ns: int = 0
    frame_id: str = ''
    picture: Picture = field(default_factory=Picture, init=False, repr=False)

    def __post_init__(self) -> None:
        check_image('the image', self.image)
        height, width = self.image.shape[:2]
        if self.camera is not None:
            self.camera.check_size(width, height)
        if self.mask is not None:
            object.__setattr__(self, 'mask', as_mask(self.mask, width, height))

    @property
    def width(self) -> int:
        """Width in pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in pixels."""
        return int(self.image.shape[0])

    def view(self) -> View:
        """Return this view: it is a frame that is there already."""
        return self

    def with_camera(self, camera: Camera) -> View:
        """Return the same picture with another calibration."""
        made = replace(self, camera=camera)
        object.__setattr__(made, 'picture', self.picture)
        return made


class LazyView:
    """A frame whose view is made when an engine takes it, so that dropped frames cost nothing.

    :param make: makes the view; called once, in the engine's thread.
    """

    def __init__(self, stamp_ns: int, make: Callable[[], View]) -> None:
        self.stamp_ns = stamp_ns
        self._make: Callable[[], View] | None = make
        self._view: View | None = None

    def view(self) -> View:
        """Make the view on the first call, and drop what it was made from."""
        if self._view is None:
            assert self._make is not None
            self._view = self._make()
            self._make = None
        return self._view


@dataclass(frozen=True, eq=False)
class Grid:
    """A view on the engine's pixels; every result lies on a grid.

    :param image: uint8 RGB (h, w, 3).
    :param mask: (h, w) bool or None.
    :param camera: the view's calibration in grid pixels.
    :param scale: grid pixels per image pixel, along x and y.
    :param offset: pixels cropped away at the left and top after scaling.
    """

    image: ImageArray
    mask: MaskArray | None = None
    camera: Camera | None = None
    scale: tuple[float, float] = (1.0, 1.0)
    offset: tuple[float, float] = (0.0, 0.0)

    @property
    def width(self) -> int:
        """Width in grid pixels."""
        return int(self.image.shape[1])

    @property
    def height(self) -> int:
        """Height in grid pixels."""
        return int(self.image.shape[0])

    def to_image(self, uv: NDArray[Any]) -> NDArray[np.float64]:
        """Map grid pixels (..., 2) to pixels of the view as it came."""
        return (np.asarray(uv, np.float64) + 0.5 + self.offset) / self.scale - 0.5

    def to_grid(self, uv: NDArray[Any]) -> NDArray[np.float64]:
        """Map pixels (..., 2) of the view as it came to grid pixels; the inverse of to_image."""
        return (np.asarray(uv, np.float64) + 0.5) * self.scale - 0.5 - self.offset


def check_image(name: str, image: object) -> None:
    """Raise :class:`InvalidInput` unless ``image`` is a non-empty uint8 RGB picture."""
    if not isinstance(image, np.ndarray):
        raise InvalidInput(
            f'{name} is a {type(image).__name__}; give a NumPy array, uint8 RGB (height, width, 3)'
        )
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8:
        raise InvalidInput(
            f'{name} is {image.dtype} {image.shape}; allowed is uint8 RGB (height, width, 3)'
        )
    if 0 in image.shape:
        raise InvalidInput(f'{name} is empty: {image.shape}; give one of at least 1x1 pixels')


def as_mask(mask: object, width: int, height: int) -> MaskArray:
    """Return ``mask`` as bool (height, width), True where a pixel takes part."""
    array = np.asarray(mask)
    if array.shape != (height, width):
        raise InvalidInput(
            f'the mask has shape {array.shape}; its image is {height}x{width} (height x width), '
            'give a mask of that size'
        )
    if array.dtype != np.bool_ and not np.issubdtype(array.dtype, np.integer):
        raise InvalidInput(f'the mask is {array.dtype}; allowed are bool and whole numbers')
    return np.asarray(array != 0)
