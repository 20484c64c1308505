# SPDX-License-Identifier: Apache-2.0
"""Every setting with its default, range and meaning: the one place where they stand."""

from __future__ import annotations

import os
from pathlib import Path

from mast3r_ros.choices import (
    BackendType,
    CardProvider,
    ExecutorRule,
    Fallback,
    FitRule,
    ImageTransport,
    MaskPolicy,
    ModelVariant,
    PairingMode,
    PointsRule,
    Precision,
    QueueRule,
    Rectified,
    ResizeFilter,
    ScaleRule,
    SearchRule,
    SyncRule,
)
from mast3r_ros.sequence_config import SequenceConfig
from mast3r_ros.settings import Settings, setting


class ModelConfig(Settings):
    """Which network, at which size."""

    variant: ModelVariant = setting(ModelVariant.DUNE_VIT_SMALL, 'The network.')
    resolution: int | None = setting(
        None,
        'Long side of the network input; its shape follows from the image. '
        '0: the size the variant is meant for (geometric engine: the image as it is).',
        low=112,
        high=2048,
        unit='px',
    )
    shape: tuple[int, int] | None = setting(
        None, 'Exact height and width of the network input, instead of resolution.', unit='px'
    )
    precision: Precision = setting(
        Precision.AUTO, 'Number format of the trunk; auto takes the best that is proven here.'
    )
    path: Path | None = setting(
        None, 'The exported model folder; empty: the one of this variant under cache_dir.'
    )
    tracking_resolution: int | None = setting(
        None,
        'Following a camera: long side of a second, smaller input, with which frames are placed; '
        'keyframes keep the larger one. 0: one size for both.',
        low=112,
        high=2048,
        unit='px',
    )
    tracking_shape: tuple[int, int] | None = setting(
        None, 'Exact height and width of it, instead of tracking_resolution.', unit='px'
    )
    resize: ResizeFilter = setting(
        ResizeFilter.OFFICIAL, 'official resamples as the published code does; fast is cheaper.'
    )
    fit: FitRule = setting(
        FitRule.REFUSE, 'An image of a shape the folder lacks: refuse it, or crop its centre.'
    )


class RuntimeConfig(Settings):
    """What the network runs on."""

    backend: BackendType = setting(
        BackendType.AUTO, 'The engine; auto takes the fastest that can run, never the geometric.'
    )
    fallback: Fallback = setting(
        Fallback.NONE, 'Engine to use, and say so, when the chosen engine or model is missing.'
    )
    device: int = setting(
        0,
        'Index of the accelerator; -1 runs on the processor although there is one.',
        low=-1,
        high=63,
    )
    card_provider: CardProvider = setting(
        CardProvider.CUDA,
        'What ONNX Runtime uses with backend: cuda; tensorrt builds engines first (minutes).',
    )
    num_threads: int = setting(
        0, 'Processor threads of the engine; 0 takes every core it may use.', low=0, high=256
    )
    trial: bool = setting(
        True,
        'With auto, where several engines run on the processor: time them on the model once and '
        'keep the outcome under cache_dir; false takes the usual order.',
    )
    features_memory_mb: int = setting(
        64,
        'Memory for encoded views that later pairs may need again; those used longest ago make '
        'room, but for the keyframe that is followed against. 0 keeps none.',
        low=0,
        high=100_000,
        unit='MB',
    )
    self_check: bool = setting(
        True,
        "When a network's engine is loaded, have it answer the model's own pair; what differs "
        'from float32 too much is refused. On a processor a passed check is kept under cache_dir.',
    )
    compiled_cache: bool = setting(
        True,
        'Keep what OpenVINO compiled of a model under cache_dir, so that the next start need not '
        'compile it; for every size it takes as much disk as the weights.',
    )
    call_timeout_s: float = setting(
        30.0, 'An engine call longer than this is cancelled.', low=0.1, high=3600.0, unit='s'
    )


class MatchingConfig(Settings):
    """How pixel matches are made from the engine's answer."""

    top_k: int = setting(
        0,
        'Most matches to keep, spread over the image by confidence; 0 keeps all.',
        low=0,
        high=1_000_000,
        dynamic=True,
    )
    reciprocal: bool = setting(True, 'Keep only matches that agree both ways.', dynamic=True)
    confidence_threshold: float = setting(
        0.0, 'Matches below this confidence are dropped.', low=0.0, high=1e6, dynamic=True
    )
    subsample: int = setting(
        8,
        'Distance of the pixels in view 1 that a match is sought for.',
        low=1,
        high=256,
        unit='grid px',
        dynamic=True,
    )
    border_px: int = setting(
        3, 'Matches closer to a border are dropped.', low=0, high=256, unit='grid px', dynamic=True
    )
    pixel_tol: int = setting(
        0,
        'How far the way back may end from where it began; 0 asks for a converged cycle.',
        low=0,
        high=256,
        unit='grid px',
        dynamic=True,
    )
    search: SearchRule = setting(
        SearchRule.EXACT,
        'exact compares the descriptors of all pixels; coarse_to_fine, faster, those of every '
        'fourth row and column and then those near the best; guided, faster too, those near where '
        "the network's points say, if the clouds of both views are wanted.",
        dynamic=True,
    )
    search_radius_px: int = setting(
        8,
        'What near means in search, to all sides.',
        low=2,
        high=64,
        unit='grid px',
        dynamic=True,
    )


class PairingConfig(Settings):
    """How single images become pairs."""

    mode: PairingMode = setting(
        PairingMode.STEREO, 'A synchronised stereo pair, or frames of one camera.'
    )
    sync: SyncRule = setting(
        SyncRule.NEAREST,
        'Stereo, in the node: nearest pairs by itself; exact and approximate leave it to '
        'message_filters, which must be installed.',
    )
    tolerance_s: float = setting(
        0.01,
        'Largest difference between the stamps of a stereo pair; 0, like sync: exact, asks for '
        'equal stamps.',
        low=0.0,
        high=1.0,
        unit='s',
    )
    waiting_limit: int = setting(
        16, 'Stereo: images of one camera that may wait for their partner.', low=2, high=1000
    )
    stride: int = setting(
        1, 'Sequence: how many frames lie from an earlier view to the newer.', low=1, high=100
    )


class CloudConfig(Settings):
    """How the engine's points become the cloud that is handed out."""

    points: PointsRule = setting(
        PointsRule.RAYS, 'rays puts each point on its pixel; network leaves it where it was put.'
    )
    scale: ScaleRule = setting(
        ScaleRule.AUTO,
        'What gives the metres; auto: the stereo baseline, else the model if it is metric.',
    )
    confidence_threshold: float = setting(
        1.0,
        'Points below this confidence are left out (1 is none).',
        low=1.0,
        high=1e6,
        dynamic=True,
    )
    publish_unscaled: bool = setting(
        False, 'Hand out a depth image even where no unit of length is known.', dynamic=True
    )
    max_range_m: float = setting(
        0.0,
        'Points farther than this are left out; 0 keeps all.',
        low=0.0,
        high=1e6,
        unit='m',
        dynamic=True,
    )


class InputConfig(Settings):
    """Where the node's images come from and which of them are answered."""

    image_transport: ImageTransport = setting(
        ImageTransport.RAW, 'Plain images, or compressed ones under <topic>/compressed.'
    )
    rectified: Rectified = setting(
        Rectified.AUTO,
        'true: P holds and there is no distortion; false: K, D and R hold; '
        "auto: true where the image topic's name contains rect.",
    )
    significant_bits: int = setting(
        16,
        'Bits of 16-bit samples that hold brightness: 12 for a 12-bit camera in mono16.',
        low=8,
        high=16,
    )
    queue: QueueRule = setting(
        QueueRule.LATEST,
        'latest answers the newest pair; all answers every one, for offline work.',
    )
    queue_limit: int = setting(
        64, 'Pairs that may wait under queue: all; one more is an error.', low=2, high=10_000
    )
    mask_policy: MaskPolicy = setting(
        MaskPolicy.EXACT,
        'exact: the mask of the same stamp, if it is there in time; latest: the last that came; '
        'required: an image waits for the mask of its stamp.',
    )
    mask_file_1: Path | None = setting(None, 'A fixed mask of view 1: black takes no part.')
    mask_file_2: Path | None = setting(None, 'A fixed mask of view 2: black takes no part.')


class OutputConfig(Settings):
    """What the node publishes and how often."""

    downsample: int = setting(
        1, 'Every n-th row and column of the cloud is published.', low=1, high=64, dynamic=True
    )
    cloud_rate_max_hz: float = setting(
        0.0,
        'Clouds are published at most so often; 0 has no limit.',
        low=0.0,
        high=1000.0,
        unit='Hz',
        dynamic=True,
    )
    always_on: bool = setting(False, 'Work even when nobody listens to any output.', dynamic=True)


def default_cache_dir() -> Path:
    """Return the folder for models and engines: ``$XDG_CACHE_HOME`` or ``~/.cache``."""
    base = os.environ.get('XDG_CACHE_HOME')
    return (Path(base) if base else Path.home() / '.cache') / 'mast3r_ros'


class MASt3RRuntimeConfig(Settings):
    """What :func:`mast3r_ros.get_runtime` needs: network, engine, matching, cache folder."""

    model: ModelConfig = setting(ModelConfig(), 'The network.')
    runtime: RuntimeConfig = setting(RuntimeConfig(), 'What it runs on.')
    matching: MatchingConfig = setting(MatchingConfig(), 'How matches are made.')
    cache_dir: Path | None = setting(
        None, 'Folder of models and built engines; empty: $XDG_CACHE_HOME or ~/.cache.'
    )

    @property
    def cache_folder(self) -> Path:
        """The folder that ``cache_dir`` amounts to on this machine."""
        return (self.cache_dir or default_cache_dir()).expanduser()


class PipelineConfig(MASt3RRuntimeConfig):
    """What the whole way from single images to published results needs."""

    pairing: PairingConfig = setting(PairingConfig(), 'How images become pairs.')
    cloud: CloudConfig = setting(CloudConfig(), 'How points become the cloud.')


class NodeConfig(PipelineConfig):
    """What the node needs."""

    input: InputConfig = setting(InputConfig(), 'Where images come from.')
    output: OutputConfig = setting(OutputConfig(), 'What is published.')
    sequence: SequenceConfig = setting(SequenceConfig(), 'How a moving camera is followed.')
    autostart: bool = setting(
        True, 'Configure and activate at once; otherwise wait for a lifecycle manager.'
    )
    executor: ExecutorRule = setting(
        ExecutorRule.SINGLE,
        'What waits for messages in a process of its own: single is the usual one, events the '
        'newer one that costs less while idle (Jazzy and later). In a container: its --executor.',
    )
