# SPDX-License-Identifier: Apache-2.0
"""One pair through one engine: prepare, encode, decode, scale, match, back to input pixels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mast3r_ros.config import PipelineConfig, PointsRule
from mast3r_ros.core.engine import EngineInterface, Features
from mast3r_ros.core.feature_cache import FeatureCache
from mast3r_ros.core.focal import with_camera
from mast3r_ros.core.geometry import cloud_from_warp, put_on_rays
from mast3r_ros.core.pairing import ViewPair
from mast3r_ros.core.products import (
    Cloud,
    Matches,
    PairResult,
    Product,
    cloud_outputs,
)
from mast3r_ros.core.result_checks import check_result
from mast3r_ros.core.results import (
    FloatArray,
    InferenceResult,
    MatchResult,
    Output,
    ScaleSource,
    match_outputs,
)
from mast3r_ros.core.scale import Scale, ScaleKeeper
from mast3r_ros.core.spent_time import timed
from mast3r_ros.core.views import Grid, View

_CLOUDS = Product.CLOUD_1 | Product.CLOUD_2


class PairProcessor:
    """Answers pairs with whatever engine it is handed; to be used by one thread.

    :param features: of that engine, shared by all its users; nothing: this one's own.
    :param for_tracking: answer on the fewer pixels for tracking, where the engine has such.
    """

    def __init__(
        self,
        config: PipelineConfig,
        features: FeatureCache | None = None,
        *,
        for_tracking: bool = False,
    ) -> None:
        self.config = config
        self._for_tracking = for_tracking
        self.scale_keeper = ScaleKeeper(config.cloud.scale)
        if features is None:
            features = FeatureCache(config.runtime.features_memory_mb * 1e6)
        self.features = features

    def process(self, engine: EngineInterface, pair: ViewPair, wanted: Product) -> PairResult:
        """Answer one pair, computing only what is wanted."""
        timing_ms: dict[str, float] = {}
        outputs = self._outputs(engine, wanted, pair)
        views = (pair.view_1, pair.view_2)
        features = self._encode(engine, views, timing_ms)
        try:
            with timed(timing_ms, 'decode'):
                result = engine.decode([(features[0], features[1], pair.T_2_1)], outputs)[0]
        finally:
            self._keep(engine, views, features)
        check_result(result, outputs)
        with timed(timing_ms, 'match'):
            found = self._match(engine, result, wanted, pair)
        with timed(timing_ms, 'postprocess'):
            scale = self._scale(result, pair, found, wanted)
            cloud_1 = self._cloud_1(result, pair, scale) if wanted & Product.CLOUD_1 else None
            cloud_2 = self._cloud_2(result, scale) if wanted & Product.CLOUD_2 else None
            cloud_1, notes = with_camera(cloud_1)
        return PairResult(
            pair=pair,
            cloud_1=cloud_1,
            cloud_2=cloud_2,
            matches=_in_input_pixels(found, result, cloud_1) if wanted & Product.MATCHES else None,
            scale=scale,
            T_2_1=result.T_2_1 if pair.T_2_1 is None else pair.T_2_1,
            engine=engine.describe(),
            notes=(*result.notes, *notes),
            timing_ms={**timing_ms, **result.timing_ms},
        )

    def reset(self) -> None:
        """Forget earlier frames and the last scale."""
        self.features.clear()
        self.scale_keeper.reset()

    def descriptor(self, engine: EngineInterface, view: View) -> FloatArray:
        """Return one unit vector for a view, alike for alike places."""
        features = self._encode(engine, (view,), {})
        found = features[0].global_descriptor()
        self._keep(engine, (view,), features)
        return found

    def _keep(
        self, engine: EngineInterface, views: Sequence[View], features: Sequence[Features]
    ) -> None:
        self.features.keep(engine, views, features, for_tracking=self._for_tracking)

    def _encode(
        self, engine: EngineInterface, views: Sequence[View], timing_ms: dict[str, float]
    ) -> list[Features]:
        small = self._for_tracking
        known = [self.features.get(engine, view, for_tracking=small) for view in views]
        missing = [view for view, item in zip(views, known, strict=True) if item is None]
        prepare = engine.prepare_for_tracking if small else engine.prepare
        with timed(timing_ms, 'preprocess'):
            grids = [prepare(view) for view in missing]
        with timed(timing_ms, 'encode'):
            fresh = iter(engine.encode(grids) if grids else ())
        return [next(fresh) if item is None else item for item in known]

    def _outputs(self, engine: EngineInterface, wanted: Product, pair: ViewPair) -> Output:
        outputs = cloud_outputs(wanted, engine.provides)
        if wanted & Product.MATCHES or self._scale_needs_matches(engine, wanted, pair):
            outputs |= match_outputs(engine.provides)
        if self._scale_needs_matches(engine, wanted, pair):
            outputs |= cloud_outputs(Product.CLOUD_1, engine.provides)
        return outputs

    def _scale_needs_matches(
        self, engine: EngineInterface, wanted: Product, pair: ViewPair
    ) -> bool:
        if not wanted & _CLOUDS or not engine.provides & Output.CLOUD_1:
            return False
        return self.scale_keeper.needs_matches(engine.scale_source(pair.T_2_1), pair.T_2_1)

    def _scale(
        self, result: InferenceResult, pair: ViewPair, found: MatchResult | None, wanted: Product
    ) -> Scale:
        if not wanted & _CLOUDS:
            return Scale(1.0, ScaleSource.NONE)  # nothing to be scaled
        return self.scale_keeper.decide(result, pair.T_2_1, found)

    def _match(
        self, engine: EngineInterface, result: InferenceResult, wanted: Product, pair: ViewPair
    ) -> MatchResult | None:
        if not wanted & Product.MATCHES and not self._scale_needs_matches(engine, wanted, pair):
            return None
        return engine.match_result(result, self.config.matching)

    def _cloud_1(self, result: InferenceResult, pair: ViewPair, scale: Scale) -> Cloud | None:
        points, confidence = result.pts3d_1, result.conf_1
        camera_1, camera_2 = result.grid_1.camera, result.grid_2.camera
        T_2_1 = result.T_2_1 if pair.T_2_1 is None else pair.T_2_1
        if points is None:
            if result.warp_1_2 is None or camera_1 is None or camera_2 is None or T_2_1 is None:
                return None
            points, confidence = cloud_from_warp(result.warp_1_2, camera_1, camera_2, T_2_1), None
        elif self.config.cloud.points is PointsRule.RAYS and camera_1 is not None:
            points = put_on_rays(points, camera_1)
        return self._finished(result.grid_1, points, confidence, scale)

    def _cloud_2(self, result: InferenceResult, scale: Scale) -> Cloud | None:
        """View 2's points stay where the engine put them: its rays need a pose to be had."""
        if result.pts3d_2 is None:
            return None
        return self._finished(result.grid_2, result.pts3d_2, result.conf_2, scale)

    def _finished(
        self, grid: Grid, points: FloatArray, confidence: FloatArray | None, scale: Scale
    ) -> Cloud:
        """Scale the points and take out what is masked, unsure or too far."""
        limits = self.config.cloud
        scaled = np.multiply(points, np.float32(scale.factor), dtype=np.float32)
        if confidence is None:
            confidence = np.where(np.isfinite(scaled[..., 2]), 2.0, 1.0).astype(np.float32)
        out = np.zeros(scaled.shape[:2], bool) if grid.mask is None else ~grid.mask
        if limits.confidence_threshold > 1.0:
            out = out | ~(confidence >= limits.confidence_threshold)
        if limits.max_range_m > 0.0:
            out = out | ~(np.linalg.norm(scaled, axis=2) <= limits.max_range_m)
        scaled[out] = np.nan
        return Cloud(grid, scaled, confidence)


def _in_input_pixels(
    found: MatchResult | None, result: InferenceResult, cloud_1: Cloud | None
) -> Matches | None:
    if found is None:
        return None
    points = None if cloud_1 is None else cloud_1.points.reshape(-1, 3)[found.idx_1]
    return Matches(
        uv_1=result.grid_1.to_image(found.pts2d_1).astype(np.float32),
        uv_2=result.grid_2.to_image(found.pts2d_2).astype(np.float32),
        confidence=found.confidence,
        confidence_kind=found.confidence_kind,
        points=points,
    )
