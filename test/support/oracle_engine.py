# SPDX-License-Identifier: Apache-2.0
"""An engine that knows the truth: answers from known depth, cameras and poses, with set errors.

It is an instrument for testing what stands behind an engine (scale, matching, pipeline, nodes),
not a stand-in for one: it computes nothing from pictures and knows only those it was told about.
"""

from __future__ import annotations

import hashlib
import weakref
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray
from oracle_truth import (
    DESCRIPTOR_SIZE,
    OracleFeatures,
    Truth,
    digest_of,
    fourier_features,
    pixels_of,
    sampled,
)
from scene import Shot

from mast3r_ros.config import ModelConfig
from mast3r_ros.core.cameras import Camera, Matrix
from mast3r_ros.core.engine import EngineInterface, FeaturePair, Features
from mast3r_ros.core.geometry import transform
from mast3r_ros.core.preprocessing import plan_for_model, to_grid
from mast3r_ros.core.results import EngineInfo, FloatArray, InferenceResult, Output, ScaleSource
from mast3r_ros.core.views import Grid, ImageArray, View
from mast3r_ros.errors import EngineFailed, InvalidInput

Array = NDArray[np.float64]

NETWORK_OUTPUTS = Output.CLOUD_1 | Output.CLOUD_2 | Output.DESC


@dataclass(frozen=True)
class ErrorModel:
    """How wrong the answers are, as standard deviations; the defaults are those of a network."""

    depth: float = 0.03  # relative, smooth over the picture
    scale: float = 0.05  # relative, one value a pair
    focal: float = 0.02  # relative, one value a pair
    match_px: float = 1.0  # grid pixels, each pixel for itself
    wrong_matches: float = 0.10  # share of pixels matched to a random place


EXACT = ErrorModel(0.0, 0.0, 0.0, 0.0, 0.0)


class OracleEngine(EngineInterface):
    """Answers pairs of registered pictures.

    :param model: rules the resizing, as for a network of that variant.
    :param provides: what it computes; :attr:`Output.WARP` or clouds alone are possible too.
    :param errors: how wrong it is.
    :param scale: predicted over true size, before the random error.
    :param metric: whether it claims that its points are in metres.
    :param tracking_shape: of a second, smaller size; None: there is none.
    """

    def __init__(
        self,
        model: ModelConfig | None = None,
        *,
        provides: Output = NETWORK_OUTPUTS,
        errors: ErrorModel | None = None,
        scale: float = 1.0,
        metric: bool = False,
        seed: int = 0,
        tracking_shape: tuple[int, int] | None = None,
    ) -> None:
        self.provides = provides
        self.has_tracking_size = tracking_shape is not None
        self.asked: list[Output] = []  # the outputs of each pair, as they were asked for
        self.encoded: list[bytes] = []  # digest of each picture, as often as it was encoded
        self.features: list[OracleFeatures] = []
        self.closed = False
        self._model = model or ModelConfig(resolution=112)
        self._small = self._model.replace(shape=tracking_shape)
        self._errors = errors or ErrorModel()
        self._scale = scale
        self._metric = metric
        self._seed = seed
        self._truths: dict[bytes, Truth] = {}
        self._truth_of: weakref.WeakKeyDictionary[Grid, Truth] = weakref.WeakKeyDictionary()

    def register(
        self, image: ImageArray, depth: ArrayLike, camera: Camera, T_camera_world: ArrayLike
    ) -> None:
        """Tell the truth about a picture.

        :param depth: (H, W) Z in metres; NaN or 0 where unknown.
        """
        known = np.asarray(depth, np.float64)
        known = np.where(known > 0.0, known, np.nan)
        digest = digest_of(image)
        self._truths[digest] = Truth(digest, known, camera, np.asarray(T_camera_world, float))

    def register_shots(self, shots: Sequence[Shot]) -> OracleEngine:
        """Tell the truth about pictures of a scene."""
        for shot in shots:
            self.register(shot.image, shot.depth, shot.camera, shot.T_camera_world)
        return self

    def prepare(self, view: View) -> Grid:
        """Resize and crop as a network of the same variant does."""
        return self._prepare(view, self._model)

    def prepare_for_tracking(self, view: View) -> Grid:
        """Do the same to the resolution for tracking."""
        return self._prepare(view, self._small if self.has_tracking_size else self._model)

    def _prepare(self, view: View, model: ModelConfig) -> Grid:
        truth = self._truths.get(digest_of(view.image))
        if truth is None:
            raise InvalidInput('the oracle does not know this picture; register it first')
        plan = plan_for_model(view.width, view.height, model)
        grid = to_grid(view, plan, model.resize)
        self._truth_of[grid] = truth
        return grid

    def encode(self, grids: Sequence[Grid]) -> list[Features]:
        """Look up the truth of each view."""
        made = [OracleFeatures(grid, 'oracle', self._truth_of[grid]) for grid in grids]
        self.encoded += [item.digest for item in made]
        self.features += made
        return list(made)

    def decode(self, pairs: Sequence[FeaturePair], outputs: Output) -> list[InferenceResult]:
        """Answer pairs; the given pose is ignored, the true one counts."""
        return [self._decode_pair(first, second, outputs) for first, second, _ in pairs]

    def describe(self) -> EngineInfo:
        """Say that this is the oracle."""
        return EngineInfo('oracle', 'cpu', 'fp32', {})

    def scale_source(self, T_2_1: Matrix | None) -> ScaleSource:
        """Return what it claims its unit to be."""
        return ScaleSource.MODEL if self._metric else ScaleSource.NONE

    def close(self) -> None:
        """Remember that it was closed."""
        self.closed = True

    def _decode_pair(self, first: Features, second: Features, outputs: Output) -> InferenceResult:
        self.asked.append(outputs)
        if not isinstance(first, OracleFeatures) or not isinstance(second, OracleFeatures):
            raise EngineFailed('the oracle was handed features of another engine')
        if first.released or second.released:
            raise EngineFailed('the oracle was handed features that were released')
        given = outputs & self.provides
        key = hashlib.sha256(first.digest + second.digest).digest()
        draw = _Draw(self._errors, [self._seed, *key])
        answers: dict[str, FloatArray] = {}
        if given & (Output.CLOUD_1 | Output.CLOUD_2):
            answers.update(self._clouds(first, second, draw, given))
        if given & Output.DESC:
            answers.update(_descriptors(first, second, draw))
        if given & Output.WARP:
            answers.update(_warps(first, second, draw))
        source = self.scale_source(None)
        return InferenceResult(first.grid, second.grid, scale_source=source, **answers)

    def _clouds(
        self, first: OracleFeatures, second: OracleFeatures, draw: _Draw, given: Output
    ) -> dict[str, FloatArray]:
        rng = draw.rng('clouds')
        factor = self._scale * np.exp(self._errors.scale * rng.standard_normal())
        focal = np.exp(self._errors.focal * rng.standard_normal())
        answers = {}
        for number, item, other in ((1, first, second), (2, second, first)):
            if not given & (Output.CLOUD_1 if number == 1 else Output.CLOUD_2):
                continue
            shape = (item.grid.height, item.grid.width)
            waves = smooth_field(draw.rng(f'depth {number}'), *shape)
            world = item.lift(pixels_of(item.grid.width, item.grid.height))
            points = transform(item.T_camera_world, world)
            points *= np.exp(self._errors.depth * waves).reshape(-1, 1)
            points[:, :2] /= focal  # a focal length that is believed longer narrows the cloud
            T_1_item = first.T_camera_world @ np.linalg.inv(item.T_camera_world)
            cloud = factor * transform(T_1_item, points)
            shared = np.isfinite(other.see(world)).all(axis=1).reshape(shape)
            conf = 1.0 + np.where(shared, 9.0, 1.0) * np.exp(-0.5 * waves**2)
            conf[~np.isfinite(cloud).all(axis=1).reshape(shape)] = 1.0
            answers[f'pts3d_{number}'] = cloud.reshape(*shape, 3).astype(np.float32)
            answers[f'conf_{number}'] = conf.astype(np.float32)
        return answers


class _Draw:
    """Random numbers that depend on the seed, the two pictures and the purpose, nothing else."""

    def __init__(self, errors: ErrorModel, entropy: list[int]) -> None:
        self.errors = errors
        self._entropy = entropy

    def rng(self, purpose: str) -> np.random.Generator:
        return np.random.default_rng([*self._entropy, *purpose.encode()])


def smooth_field(rng: np.random.Generator, height: int, width: int) -> Array:
    """Return (H, W) of slow waves with mean 0 and standard deviation 1."""
    field = cv2.resize(rng.standard_normal((6, 8)), (width, height), interpolation=cv2.INTER_CUBIC)
    return np.asarray((field - field.mean()) / field.std())


def _descriptors(
    first: OracleFeatures, second: OracleFeatures, draw: _Draw
) -> dict[str, FloatArray]:
    """Describe each pixel by the surface it shows: view 1's is off by the match noise.

    A wrong match is a pixel of each view that carry one and the same vector of their own.
    """
    rng = draw.rng('descriptors')
    answers = {}
    for number, item, noise_px in ((1, first, draw.errors.match_px), (2, second, 0.0)):
        height, width = item.grid.height, item.grid.width
        places = pixels_of(width, height)
        off = np.clip(
            places + noise_px * rng.standard_normal(places.shape), 0, (width - 1, height - 1)
        )
        features = np.nan_to_num(fourier_features(item.lift(off if noise_px else places)))
        answers[f'desc_{number}'] = features.reshape(height, width, -1)
        answers[f'desc_conf_{number}'] = rng.uniform(1.0, 10.0, (height, width)).astype(np.float32)
    sizes = [answers[f'desc_conf_{number}'].size for number in (1, 2)]
    wrong = round(draw.errors.wrong_matches * min(sizes))
    own = rng.standard_normal((wrong, DESCRIPTOR_SIZE))
    own /= np.linalg.norm(own, axis=1, keepdims=True)
    for number, size in zip((1, 2), sizes, strict=True):
        pixels = rng.permutation(size)[:wrong]
        answers[f'desc_{number}'].reshape(size, -1)[pixels] = own
        answers[f'desc_conf_{number}'].reshape(size)[pixels] *= 0.7
    return answers


def _warps(first: OracleFeatures, second: OracleFeatures, draw: _Draw) -> dict[str, FloatArray]:
    """Say where each pixel lies in the other view, off by smooth noise, some of it at random."""
    rng = draw.rng('warp')
    shape = (second.grid.height, second.grid.width)
    noise = draw.errors.match_px * np.stack([smooth_field(rng, *shape) for _ in range(2)], -1)
    forth = _true_warp(first, second)
    forth += sampled(noise, forth)
    back = np.clip(
        pixels_of(shape[1], shape[0]) - noise.reshape(-1, 2), 0, (shape[1] - 1, shape[0] - 1)
    )
    warps = {
        'warp_1_2': (forth, first, second),
        'warp_2_1': (first.see(second.lift(back)), second, first),
    }
    answers = {}
    for name, (warp, source, target) in warps.items():
        wrong = rng.random(len(warp)) < draw.errors.wrong_matches
        warp[wrong] = rng.random((int(wrong.sum()), 2)) * (target.grid.width, target.grid.height)
        grid_shape = (source.grid.height, source.grid.width)
        answers[name] = warp.reshape(*grid_shape, 2).astype(np.float32)
    conf = rng.uniform(1.0, 10.0, answers['warp_1_2'].shape[:2])
    conf[~np.isfinite(answers['warp_1_2']).all(axis=2)] = 0.0
    answers['warp_conf_1'] = conf.astype(np.float32)
    return answers


def _true_warp(first: OracleFeatures, second: OracleFeatures) -> Array:
    return second.see(first.lift(pixels_of(first.grid.width, first.grid.height)))
