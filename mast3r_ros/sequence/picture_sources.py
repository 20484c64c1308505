# SPDX-License-Identifier: Apache-2.0
"""Videos and folders of images as frames of a moving camera, read one at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np

from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.images import load_image
from mast3r_ros.core.views import ImageArray, View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.frames import SequenceFrame

IMAGE_ENDINGS = ('.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm')
VIDEO_ENDINGS = ('.mp4', '.avi', '.mov', '.mkv', '.webm', '.m4v', '.mpg', '.mpeg', '.ogv')


@dataclass(frozen=True)
class Selection:
    """Which frames of a source are taken, and how large.

    :param stride: every n-th.
    :param frames: at most so many; None: all.
    :param long_side: pictures larger than this are scaled down; None: as they are.
    """

    stride: int = 1
    frames: int | None = None
    long_side: int | None = None

    def __post_init__(self) -> None:
        for name, value, least in (
            ('stride', self.stride, 1),
            ('number of frames', self.frames, 1),
            ('size', self.long_side, 32),
        ):
            if value is not None and value < least:
                raise InvalidInput(f'the {name} is {value}; give at least {least}')

    def takes(self, number: int) -> bool:
        """Whether the n-th frame of the source, from 0 on, is taken."""
        return number % self.stride == 0 and not self.is_over(number)

    def is_over(self, number: int) -> bool:
        """Whether neither this frame nor a later one is taken."""
        return self.frames is not None and number >= self.frames * self.stride

    def count(self, total: int) -> int:
        """Return how many of so many frames are taken."""
        taken = -(-total // self.stride)
        return taken if self.frames is None else min(taken, self.frames)

    def sized(self, view: View) -> View:
        """Return a view, scaled down if it is too large."""
        if self.long_side is None or max(view.width, view.height) <= self.long_side:
            return view
        ratio = self.long_side / max(view.width, view.height)
        width, height = (max(1, round(side * ratio)) for side in (view.width, view.height))
        image = cv2.resize(view.image, (width, height), interpolation=cv2.INTER_AREA)
        camera, mask = view.camera, view.mask
        if camera is not None:
            scale = width / view.width, height / view.height
            camera = camera.on_grid(scale, (0.0, 0.0), width, height)
        if mask is not None:
            size = (width, height)
            mask = cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0
        return View(np.asarray(image), camera, mask, view.stamp_ns, view.frame_id)


class FrameSource(Protocol):
    """Frames in the order of time."""

    total: int | None
    """How many there will be, as far as that can be told."""

    def frames(self) -> Iterator[SequenceFrame]:
        """Yield the frames."""


class ImageFiles:
    """Image files, at a steady rate.

    :param camera: their calibration, if it is known.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        rate_hz: float,
        camera: Camera | None = None,
        selection: Selection | None = None,
    ) -> None:
        _check_rate(rate_hz)
        self._paths, self._rate_hz, self._camera = list(paths), rate_hz, camera
        self._selection = selection or Selection()
        self.total: int | None = self._selection.count(len(self._paths))

    def frames(self) -> Iterator[SequenceFrame]:
        """Yield the pictures that are taken."""
        for number, path in enumerate(self._paths):
            if self._selection.takes(number):
                image = load_image(path)
                stamp_ns = round(number * 1e9 / self._rate_hz)
                yield _frame(image, self._camera, stamp_ns, self._selection, str(path))


class Video:
    """A video file, read through OpenCV.

    :param rate_hz: frames a second, where the file does not tell or tells wrong.
    """

    def __init__(
        self,
        path: Path,
        camera: Camera | None = None,
        selection: Selection | None = None,
        rate_hz: float | None = None,
    ) -> None:
        self._path, self._camera = path, camera
        self._selection = selection or Selection()
        capture = self._open()
        told_hz = float(capture.get(cv2.CAP_PROP_FPS))
        total = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        capture.release()
        self._rate_hz = rate_hz or (told_hz if 0.1 <= told_hz <= 1000.0 else 30.0)
        _check_rate(self._rate_hz)
        self.total: int | None = self._selection.count(total) if total > 0 else None

    def frames(self) -> Iterator[SequenceFrame]:
        """Yield the pictures that are taken; the others are not even decoded where that helps."""
        capture = self._open()
        try:
            number = 0
            while not self._selection.is_over(number) and capture.grab():
                if self._selection.takes(number):
                    found, image = capture.retrieve()
                    if found:
                        rgb = np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8)
                        stamp_ns = round(number * 1e9 / self._rate_hz)
                        name = f'{self._path}, frame {number}'
                        yield _frame(rgb, self._camera, stamp_ns, self._selection, name)
                number += 1
        finally:
            capture.release()

    def _open(self) -> cv2.VideoCapture:
        capture = cv2.VideoCapture(str(self._path))
        if not capture.isOpened():
            raise InvalidInput(
                f'OpenCV cannot read the video {self._path}; give an MP4 (H.264), or its frames '
                'as a folder of images'
            )
        return capture


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder, in the order of their names (2 before 10)."""
    found = [path for path in folder.iterdir() if path.suffix.lower() in IMAGE_ENDINGS]
    if not found:
        raise InvalidInput(f'{folder} holds no image; known are {", ".join(IMAGE_ENDINGS)}')
    return sorted(found, key=_natural)


def _natural(path: Path) -> list[tuple[int, int, str]]:
    words: list[tuple[int, int, str]] = []
    digits = ''
    for letter in f'{path.name}\n':
        if letter.isdecimal():
            digits += letter
            continue
        if digits:
            words.append((0, int(digits), ''))
            digits = ''
        words.append((1, 0, letter))
    return words


def _frame(
    image: ImageArray, camera: Camera | None, stamp_ns: int, selection: Selection, name: str
) -> SequenceFrame:
    try:
        return SequenceFrame(selection.sized(View(image, camera, stamp_ns=stamp_ns)))
    except InvalidInput as error:
        raise InvalidInput(f'{name}: {error}') from error


def _check_rate(rate_hz: float) -> None:
    if not 0.01 <= rate_hz <= 10_000.0:
        raise InvalidInput(f'the rate is {rate_hz:g} Hz; give 0.01 to 10000')
