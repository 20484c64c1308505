# SPDX-License-Identifier: Apache-2.0
"""What every engine is: prepare a view, encode it, decode pairs, match; or all in one call."""

from __future__ import annotations

import abc
import time
from collections.abc import Sequence
from dataclasses import replace
from types import TracebackType
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from mast3r_ros.config import MatchingConfig
from mast3r_ros.core.benchmark import time_pairs
from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.matching import match_descriptors, match_pair
from mast3r_ros.core.poses import as_pose
from mast3r_ros.core.results import (
    EngineInfo,
    FloatArray,
    InferenceResult,
    MatchResult,
    Output,
    ScaleSource,
    Timing,
)
from mast3r_ros.core.views import Grid, ImageArray, View
from mast3r_ros.errors import InvalidInput

EngineT = TypeVar('EngineT', bound='EngineInterface')


class Features(abc.ABC):
    """What an engine remembers of one view; opaque, and it may live on the device.

    :param grid: the view on the engine's pixels.
    :param engine_key: names the engine, model, precision and shape it belongs to.
    """

    def __init__(self, grid: Grid, engine_key: str) -> None:
        self.grid = grid
        self.engine_key = engine_key

    @property
    @abc.abstractmethod
    def nbytes(self) -> int:
        """Memory it holds, in bytes."""

    @abc.abstractmethod
    def global_descriptor(self) -> FloatArray:
        """Return one unit vector for the whole picture, alike for alike places."""

    def seen_through(self, camera: Camera | None) -> Features | None:
        """Return what is remembered of the same picture with another calibration.

        None where the picture must be encoded anew for that.
        """
        return None

    def release(self) -> None:  # noqa: B027 - most have nothing to give back
        """Give the memory back; using the features afterwards is an error."""


FeaturePair = tuple[Features, Features, 'Matrix | None']
"""Features of view 1 and view 2, and ``T_2_1`` where it is known."""


class Successor(abc.ABC):
    """Who takes an engine's place once it is ready."""

    @abc.abstractmethod
    def take(self) -> EngineInterface | None:
        """Return the engine if it is ready; it belongs to the caller then."""

    @abc.abstractmethod
    def stop(self) -> None:
        """Stop making it: nobody takes it any more."""


class EngineInterface(abc.ABC):
    """An engine turns pairs of views into dense 3D; one thread at a time may use it."""

    provides: Output
    """What the engine itself computes; the rest is derived or absent."""

    matching: MatchingConfig = MatchingConfig()
    """How :meth:`match` and :meth:`match_result` match unless told otherwise."""

    has_tracking_size: bool = False
    """Whether :meth:`prepare_for_tracking` makes less of a view than :meth:`prepare`."""

    instead_of: str | None = None
    """Why it runs in place of the engine that was asked for; None where it is that one."""

    successor: Successor | None = None
    """Who takes its place, between two calls, once it is ready."""

    @abc.abstractmethod
    def prepare(self, view: View) -> Grid:
        """Bring a view onto the engine's pixels by its own rule."""

    def prepare_for_tracking(self, view: View) -> Grid:
        """Bring a view onto the fewer pixels that a camera is followed with."""
        return self.prepare(view)

    @abc.abstractmethod
    def encode(self, grids: Sequence[Grid]) -> list[Features]:
        """Encode a batch of views."""

    @abc.abstractmethod
    def decode(self, pairs: Sequence[FeaturePair], outputs: Output) -> list[InferenceResult]:
        """Answer pairs of encoded views, computing only what is asked."""

    @abc.abstractmethod
    def describe(self) -> EngineInfo:
        """Say what runs and on what."""

    def scale_source(self, T_2_1: Matrix | None) -> ScaleSource:
        """Say what unit the points of a pair with that known pose come in."""
        return ScaleSource.NONE

    def cancel(self) -> None:  # noqa: B027 - some cannot
        """Make a running call raise EngineCancelled soon; callable from any thread."""

    def close(self) -> None:  # noqa: B027 - most have nothing to free
        """Free everything; the engine is of no use afterwards."""

    def infer(
        self,
        img1: ImageArray,
        img2: ImageArray,
        *,
        cameras: Sequence[Any] | None = None,
        masks: Sequence[NDArray[Any] | None] | None = None,
        outputs: Output = Output.ALL,
    ) -> InferenceResult:
        """Answer one pair of images.

        :param img1: uint8 RGB (H, W, 3); results lie on its grid, points in its camera's frame.
        :param img2: the other view; its size may differ.
        :param cameras: ``(camera_1, camera_2)`` or ``(camera_1, camera_2, T_2_1)``.
        :param masks: one (H, W) mask a view or None; zero takes no part.
        :param outputs: what to compute; what the engine cannot is None in the result.
        """
        camera_1, camera_2, T_2_1 = _split_cameras(cameras)
        if masks is not None and len(masks) != 2:
            raise InvalidInput(f'masks has {len(masks)} entries; give (mask_1, mask_2)')
        mask_1, mask_2 = masks if masks is not None else (None, None)
        view_1, view_2 = View(img1, camera_1, mask_1), View(img2, camera_2, mask_2)
        return self.infer_views(view_1, view_2, T_2_1, outputs)

    def infer_views(
        self, view_1: View, view_2: View, T_2_1: Matrix | None = None, outputs: Output = Output.ALL
    ) -> InferenceResult:
        """Answer one pair of views; like :meth:`infer`."""
        start = time.perf_counter()
        grids = [self.prepare(view_1), self.prepare(view_2)]
        prepared = time.perf_counter()
        features = self.encode(grids)
        encoded = time.perf_counter()
        result = self.decode([(features[0], features[1], T_2_1)], outputs)[0]
        decode_ms = (time.perf_counter() - encoded) * 1e3
        stages = {'preprocess': (prepared - start) * 1e3, 'encode': (encoded - prepared) * 1e3}
        for item in features:
            item.release()
        return replace(result, timing_ms={**stages, 'decode': decode_ms, **result.timing_ms})

    def match(
        self,
        desc_1: FloatArray,
        desc_2: FloatArray,
        conf_1: FloatArray | None = None,
        conf_2: FloatArray | None = None,
        *,
        matching: MatchingConfig | None = None,
    ) -> MatchResult:
        """Match two descriptor maps (H, W, D); see :mod:`mast3r_ros.core.matching`."""
        return match_descriptors(desc_1, desc_2, conf_1, conf_2, matching or self.matching)

    def match_result(
        self, result: InferenceResult, matching: MatchingConfig | None = None
    ) -> MatchResult:
        """Match a pair from whatever its result holds: descriptors, warp, or clouds alone."""
        return match_pair(result, matching or self.matching)

    def benchmark(self, n: int = 10, size: tuple[int, int] = (640, 480)) -> Timing:
        """Time ``n`` pairs of made-up images of ``size`` (width, height), after one warm-up."""
        return time_pairs(self, n, size)

    def __enter__(self: EngineT) -> EngineT:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _split_cameras(
    cameras: Sequence[Any] | None,
) -> tuple[Camera | None, Camera | None, Matrix | None]:
    if cameras is None:
        return None, None, None
    if len(cameras) not in (2, 3):
        raise InvalidInput(
            f'cameras has {len(cameras)} entries; give (camera_1, camera_2) or '
            '(camera_1, camera_2, T_2_1)'
        )
    T_2_1 = cameras[2] if len(cameras) == 3 else None
    return cameras[0], cameras[1], None if T_2_1 is None else as_pose(np.asarray(T_2_1))
