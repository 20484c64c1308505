# SPDX-License-Identifier: Apache-2.0
"""A camera without calibration: what the engine's own points have told of it so far."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mast3r_ros.choices import SolverRule
from mast3r_ros.core.cameras import Camera
from mast3r_ros.core.products import Cloud, PairResult
from mast3r_ros.core.results import FloatArray
from mast3r_ros.core.views import View
from mast3r_ros.errors import InvalidInput
from mast3r_ros.sequence.keyframe import slopes_of

FRAMES_LOOKED_AT = 10
"""Frames that tell a focal length; a median of so many is about three times as good as one."""

_MOST_LOOKED_AT = 50  # frames; more do not make it better
_GUESSED_FOCAL = 1.0  # widths of the picture, until points tell one
_BENT = 0.03  # radians, about, that points lie off a pinhole camera's rays in the median
_THE_SAME = 1e-6  # widths, that focal lengths differ by which are one and the same
_LOOKED_AT_EVERY = 8  # grid pixels
_ACROSS, _AHEAD = np.array([[1.0, 1.0, 0.0], [0.0, 0.0, 1.0]], np.float32)  # the axes


class UnknownCamera:
    """Believes in a pinhole camera once enough frames have told its focal length.

    Points that lie on no pinhole camera's rays never settle it.
    """

    def __init__(self, rule: SolverRule) -> None:
        self._rule = rule
        self._focal_widths: list[float] = []
        self._bends: list[float] = []
        self._camera: Camera | None = None
        self._is_settled = False
        self._is_given = False

    @property
    def is_settled(self) -> bool:
        """Whether the camera counts as calibrated from now on."""
        return self._is_settled

    @property
    def is_believed_in(self) -> bool:
        """Whether this camera stands for that of views without calibration."""
        return self._camera is not None and not self._is_given

    @property
    def focal_px(self) -> float | None:
        """The focal length that is believed in; None where every view has a calibration."""
        if self._camera is None or self._is_given:
            return None
        return self._camera.fx

    @property
    def pinhole(self) -> Camera | None:
        """The camera where points have told it and lie on its rays; else None."""
        return self._camera if self._bends and self._is_straight else None

    @property
    def is_guessed(self) -> bool:
        """Whether no frame told anything: an engine that says the very same each time guesses."""
        told = self._focal_widths
        return self.is_believed_in and len(told) > 1 and max(told) - min(told) < _THE_SAME

    @property
    def in_words(self) -> str:
        """What is believed and why, as one sentence; empty where every view has a calibration."""
        if self.focal_px is None:
            return ''
        about = (
            f'there is no calibration: the points tell a focal length of {self.focal_px:.1f} px'
        )
        if self.is_guessed:
            return (
                f'there is no calibration and the engine guesses {self.focal_px:.0f} px as the '
                'focal length, so angles and shapes are rough; give a calibration'
            )
        if not self._is_settled:
            about += ', not settled yet; frames are placed by the directions of their points'
        return about

    @property
    def goes_by_points(self) -> bool:
        """Whether frames are placed by the directions of their points, not by the camera."""
        return not self._is_settled and self._rule is not SolverRule.PIXELS

    @property
    def camera(self) -> Camera | None:
        """What stands for the camera of views without calibration; None where there are none."""
        return self._camera if self.is_believed_in else None

    @property
    def told(self) -> tuple[tuple[float, float], ...]:
        """What frames told so far: focal length in widths, and how bent their rays are."""
        return tuple(zip(self._focal_widths, self._bends, strict=True))

    def restore(self, told: Sequence[tuple[float, float]], camera: Camera) -> None:
        """Go on from what an interrupted run knew."""
        self._focal_widths = [float(focal) for focal, _ in told]
        self._bends = [float(bend) for _, bend in told]
        self._camera = camera
        self._decide()

    def camera_of(self, view: View) -> Camera:
        """Return the camera of a view as it is believed to be now."""
        if self._camera is None:
            self._camera = centred_pinhole(view.width, view.height, _GUESSED_FOCAL * view.width)
        known = self._camera
        if (view.width, view.height) != (known.width, known.height):
            raise InvalidInput(
                'all frames of a sequence without calibration must have one size: '
                f'{known.width}x{known.height}, then {view.width}x{view.height}'
            )
        return known

    def suppose(self, view: View, cloud: Cloud | None) -> bool:
        """Take a view's points for right while nothing is known; return whether that was so."""
        camera = self.camera_of(view)
        if self._focal_widths or self._is_settled or cloud is None or cloud.grid.camera is None:
            return False
        focal_px = cloud.grid.camera.fx / cloud.grid.scale[0]
        self._camera = centred_pinhole(camera.width, camera.height, focal_px)
        return True

    def look(self, view: View, cloud: Cloud | None) -> bool:
        """Learn from a view's own points; return whether another camera is believed in now."""
        camera = self.camera_of(view)
        if cloud is None or cloud.grid.camera is None:
            return False
        if self._is_settled or len(self._focal_widths) >= _MOST_LOOKED_AT:
            return False
        focal_px = cloud.grid.camera.fx / cloud.grid.scale[0]
        self._focal_widths.append(focal_px / camera.width)
        self._bends.append(_bend(cloud.points, cloud.grid.camera))
        self._camera = centred_pinhole(
            camera.width, camera.height, float(np.median(self._focal_widths)) * camera.width
        )
        self._decide()
        return True

    def stretched(self, result: PairResult) -> PairResult:
        """Return a pair whose points spread as the focal length asks that is believed in.

        The focal length that points tell differs from pair to pair; their directions are to agree.
        """
        cloud_1, cloud_2 = result.cloud_1, result.cloud_2
        if cloud_1 is None or cloud_1.grid.camera is None or self._camera is None:
            return result
        grid = cloud_1.grid
        camera = self._camera.on_grid(grid.scale, grid.offset, grid.width, grid.height)
        wider = np.float32(cloud_1.grid.camera.fx / camera.fx) * _ACROSS + _AHEAD
        cloud_1 = Cloud(replace(grid, camera=camera), cloud_1.points * wider, cloud_1.confidence)
        if cloud_2 is not None:
            cloud_2 = replace(cloud_2, points=cloud_2.points * wider)
        return replace(result, cloud_1=cloud_1, cloud_2=cloud_2)

    def settle(self, camera: Camera) -> None:
        """Believe in a camera that somebody calibrated.

        :raises InvalidInput: it is of another size than the pictures before.
        """
        known = self._camera
        if known is not None and (camera.width, camera.height) != (known.width, known.height):
            raise InvalidInput(
                f'the pictures followed without calibration are {known.width}x{known.height}, and '
                f'one with calibration is {camera.width}x{camera.height}; give all of them one '
                'size, or begin a new sequence'
            )
        self._camera, self._is_settled, self._is_given = camera, True, True

    def _decide(self) -> None:
        enough = len(self._focal_widths) >= FRAMES_LOOKED_AT
        if self._rule is SolverRule.PIXELS:
            self._is_settled = enough
        elif self._rule is SolverRule.AUTO:
            self._is_settled = enough and self._is_straight

    @property
    def _is_straight(self) -> bool:
        return float(np.median(self._bends)) < _BENT


def _bend(points: FloatArray, camera: Camera) -> float:
    """Return how far points lie off the rays of the camera that fits them best."""
    few = slice(None, None, _LOOKED_AT_EVERY)
    off = np.linalg.norm(slopes_of(points[few, few]) - camera.rays[few, few, :2], axis=2)
    known = off[np.isfinite(off)]
    return float(np.median(known)) if len(known) else 0.0


def centred_pinhole(width: int, height: int, focal_px: float) -> Camera:
    """Return a camera with square pixels that looks along its picture's centre."""
    return Camera.pinhole(width, height, focal_px, focal_px, (width - 1) / 2, (height - 1) / 2)
