# SPDX-License-Identifier: Apache-2.0
"""The geometric engine: dense 3D from two views without a network, on the processor alone."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Sequence
from dataclasses import replace

import cv2
import numpy as np

from mast3r_ros.config import MASt3RRuntimeConfig, ResizeFilter
from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.engine import EngineInterface, FeaturePair, Features
from mast3r_ros.core.poses import check_baseline
from mast3r_ros.core.preprocessing import GridPlan, plan_for_shape, to_grid
from mast3r_ros.core.results import EngineInfo, InferenceResult, Output, ScaleSource
from mast3r_ros.core.views import Grid, View
from mast3r_ros.engines.geometric.answers import Stages, completed
from mast3r_ros.engines.geometric.features import GeometricFeatures
from mast3r_ros.engines.geometric.motion import solve_motion
from mast3r_ros.engines.geometric.rig import StereoRig, build_rig
from mast3r_ros.engines.geometric.stereo import solve_stereo
from mast3r_ros.errors import InvalidInput

_KEPT_RIGS = 4  # calibrated pairs whose rectification is remembered

_BLANK_LEVELS = 4  # a picture whose grey levels span no more shows nothing

_SAME_PICTURE = 'both views are the very same picture: there is no parallax to measure'
_BLANK = 'view {} is blank: there is no texture to match'
_NO_DEPTH = 'no match has enough parallax, and fits the cameras, to give a depth'
_POSE_UNUSED = 'T_2_1 is given without both cameras: it is not used, the motion is estimated'


class GeometricEngine(EngineInterface):
    """Stereo for calibrated pairs, structure from motion for any other two views.

    :param config: only the size (model.resolution or model.shape, if set; larger images are
        scaled down to it), matching and runtime.num_threads count.
    """

    provides = Output.CLOUD_1 | Output.CLOUD_2 | Output.WARP

    def __init__(self, config: MASt3RRuntimeConfig | None = None) -> None:
        config = config or MASt3RRuntimeConfig()
        self.matching = config.matching
        self._model = config.model
        self._cancelled = threading.Event()
        self._rigs: OrderedDict[Hashable, StereoRig | None] = OrderedDict()
        if config.runtime.num_threads:
            cv2.setNumThreads(config.runtime.num_threads)  # OpenCV knows one number a process

    def prepare(self, view: View) -> Grid:
        """Take the view's own pixels, or fewer where the settings name a size."""
        plan = self._plan(view.width, view.height)
        if plan is None:
            return Grid(view.image, view.mask, view.camera)
        return to_grid(view, plan, ResizeFilter.FAST)

    def encode(self, grids: Sequence[Grid]) -> list[Features]:
        """Remember the grey pictures."""
        self._cancelled.clear()
        return [GeometricFeatures(grid) for grid in grids]

    def decode(self, pairs: Sequence[FeaturePair], outputs: Output) -> list[InferenceResult]:
        """Answer pairs one after the other."""
        self._cancelled.clear()
        return [self._answer(*pair, outputs) for pair in pairs]

    def describe(self) -> EngineInfo:
        """Say what runs and on what."""
        versions = {'opencv': cv2.__version__, 'numpy': np.__version__}
        return EngineInfo('geometric', f'cpu, {cv2.getNumThreads()} threads', 'fp32', versions)

    def scale_source(self, T_2_1: Matrix | None) -> ScaleSource:
        """Say that a calibrated pair comes in metres, and that motion alone has no unit."""
        return ScaleSource.NONE if T_2_1 is None else ScaleSource.STEREO_BASELINE

    def cancel(self) -> None:
        """Make a running call raise EngineCancelled at its next stage."""
        self._cancelled.set()

    def close(self) -> None:
        """Forget the rectifications."""
        self._rigs.clear()

    def _plan(self, width: int, height: int) -> GridPlan | None:
        if self._model.shape is not None:
            return plan_for_shape(width, height, self._model.shape, patch_px=1)
        ratio = (self._model.resolution or max(width, height)) / max(width, height)
        if ratio >= 1.0:
            return None
        size = max(1, round(width * ratio)), max(1, round(height * ratio))
        return GridPlan((width, height), size, (0, 0), size)

    def _answer(
        self, features_1: Features, features_2: Features, T_2_1: Matrix | None, outputs: Output
    ) -> InferenceResult:
        one, two = _own(features_1), _own(features_2)
        stages = Stages(self._cancelled)
        empty = InferenceResult(one.grid, two.grid)
        calibrated = one.grid.camera is not None and two.grid.camera is not None
        if T_2_1 is not None and calibrated:
            check_baseline(T_2_1)
            empty = replace(empty, T_2_1=T_2_1, scale_source=ScaleSource.STEREO_BASELINE)
        result = _hopeless(one, two, empty) or self._solve(one, two, empty, outputs, stages)
        result = completed(result, outputs)
        notes = result.notes
        if T_2_1 is not None and not calibrated:
            notes = (_POSE_UNUSED, *notes)
        if not notes and _has_no_depth(result):
            notes = (_NO_DEPTH,)
        return replace(result, notes=notes, timing_ms=stages.timing_ms)

    def _solve(
        self,
        one: GeometricFeatures,
        two: GeometricFeatures,
        empty: InferenceResult,
        outputs: Output,
        stages: Stages,
    ) -> InferenceResult:
        """Return ``empty`` filled: by stereo where the pair can be rectified, else by motion."""
        camera_1, camera_2, T_2_1 = one.grid.camera, two.grid.camera, empty.T_2_1
        if camera_1 is not None and camera_2 is not None and T_2_1 is not None:
            rig = self._rig(camera_1, camera_2, T_2_1, stages)
            if rig is not None:
                return solve_stereo(rig, one.gray, two.gray, empty, outputs, stages)
        return solve_motion(one, two, empty, outputs, stages)

    def _rig(
        self, camera_1: Camera, camera_2: Camera, T_2_1: Matrix, stages: Stages
    ) -> StereoRig | None:
        """Return the rectification of a calibrated pair, made once; None if there is none."""
        key = (_key(camera_1), _key(camera_2), T_2_1.tobytes())
        if key not in self._rigs:
            with stages('calibrate'):
                self._rigs[key] = build_rig(camera_1, camera_2, T_2_1)
            if len(self._rigs) > _KEPT_RIGS:
                self._rigs.popitem(last=False)
        self._rigs.move_to_end(key)
        return self._rigs[key]


def _own(features: Features) -> GeometricFeatures:
    if not isinstance(features, GeometricFeatures):
        raise InvalidInput(
            f'the features belong to the engine {features.engine_key!r}; '
            'encode the view with the geometric engine'
        )
    return features


def _hopeless(
    one: GeometricFeatures, two: GeometricFeatures, empty: InferenceResult
) -> InferenceResult | None:
    """Return ``empty`` and why for a pair that can show nothing, None for all others."""
    for number, features in ((1, one), (2, two)):
        if np.ptp(features.gray) <= _BLANK_LEVELS:
            return replace(empty, notes=(_BLANK.format(number),))
    if np.array_equal(one.gray, two.gray):
        return replace(empty, notes=(_SAME_PICTURE,))
    return None


def _has_no_depth(result: InferenceResult) -> bool:
    clouds = [points for points in (result.pts3d_1, result.pts3d_2) if points is not None]
    return bool(clouds) and not any(np.isfinite(points).any() for points in clouds)


def _key(camera: Camera) -> Hashable:
    return (
        camera.width,
        camera.height,
        camera.K.tobytes(),
        camera.distortion,
        camera.distortion_model,
    )
