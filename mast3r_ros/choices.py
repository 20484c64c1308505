# SPDX-License-Identifier: Apache-2.0
"""The closed lists that settings choose from, with the older spellings they still understand."""

from __future__ import annotations

from enum import Enum


class ModelVariant(str, Enum):
    """The published networks."""

    DUNE_VIT_SMALL = 'dune_vit_small'
    DUNE_VIT_BASE = 'dune_vit_base'
    MAST3R_VIT_LARGE = 'mast3r_vit_large'
    DUST3R_224_LINEAR = 'dust3r_224_linear'
    DUST3R_512_LINEAR = 'dust3r_512_linear'
    DUST3R_512_DPT = 'dust3r_512_dpt'

    # Older spellings: one network serves every size, so the size is no part of the name any more.
    DUNE_VIT_SMALL_14 = 'dune_vit_small'
    DUNE_VIT_SMALL_336 = 'dune_vit_small'
    DUNE_VIT_SMALL_448 = 'dune_vit_small'
    DUNE_VIT_BASE_14 = 'dune_vit_base'
    DUNE_VIT_BASE_336 = 'dune_vit_base'
    DUNE_VIT_BASE_448 = 'dune_vit_base'

    @classmethod
    def _missing_(cls, value: object) -> ModelVariant | None:
        return cls.__members__.get(str(value).upper())

    @property
    def patch_px(self) -> int:
        """Side of the square image patch that becomes one token."""
        return 14 if self.value.startswith('dune') else 16

    @property
    def default_resolution(self) -> int:
        """Long side in pixels where the settings name none."""
        sizes = {'dune_vit_small': 336, 'dune_vit_base': 448, 'dust3r_224_linear': 224}
        return sizes.get(self.value, 512)

    @property
    def square_stays_square(self) -> bool:
        """Whether a square image stays square; the patch-16 family was trained on 4:3."""
        return self.patch_px == 14


class BackendType(str, Enum):
    """What runs the network; ``geometric`` runs none."""

    AUTO = 'auto'
    COREML = 'coreml'
    TENSORRT = 'tensorrt'
    CUDA = 'cuda'
    OPENVINO = 'openvino'
    ONNXRUNTIME = 'onnxruntime'
    PYTORCH = 'pytorch'
    GEOMETRIC = 'geometric'

    # Older spellings.
    METAL = 'coreml'
    JETSON = 'tensorrt'
    CPU = 'onnxruntime'
    PYTHON = 'pytorch'

    @classmethod
    def _missing_(cls, value: object) -> BackendType | None:
        return cls.__members__.get(str(value).upper())


class CardProvider(str, Enum):
    """What ONNX Runtime uses on an NVIDIA card."""

    CUDA = 'cuda'
    TENSORRT = 'tensorrt'


class ComputeUnits(str, Enum):
    """Which parts of an Apple chip may run a network, as Core ML names them."""

    ALL = 'all'
    CPU_AND_GPU = 'cpu_and_gpu'
    CPU_AND_NE = 'cpu_and_ne'
    CPU_ONLY = 'cpu_only'


class Fallback(str, Enum):
    """What runs when the chosen engine or model cannot be had."""

    NONE = 'none'
    GEOMETRIC = 'geometric'


class Precision(str, Enum):
    """Number format of the network's trunk; heads and results are float32 always."""

    AUTO = 'auto'
    FP32 = 'fp32'
    FP16 = 'fp16'
    BF16 = 'bf16'
    INT8 = 'int8'
    INT8_FP16 = 'int8_fp16'


class ResizeFilter(str, Enum):
    """How images are resampled to the network's size."""

    OFFICIAL = 'official'
    FAST = 'fast'


class FitRule(str, Enum):
    """What happens to an image whose shape the model was not exported for."""

    REFUSE = 'refuse'
    CROP = 'crop'


class PairingMode(str, Enum):
    """Where the two views of a pair come from."""

    STEREO = 'stereo'
    SEQUENCE = 'sequence'


class SyncRule(str, Enum):
    """Who makes stereo pairs of single images, and by which stamps."""

    NEAREST = 'nearest'
    EXACT = 'exact'
    APPROXIMATE = 'approximate'


class PointsRule(str, Enum):
    """Where points lie: on their pixels' rays (keeping Z), or as the network put them."""

    RAYS = 'rays'
    NETWORK = 'network'


class SearchRule(str, Enum):
    """Where a pixel's partner is sought: everywhere, or around a guess of one kind or another."""

    EXACT = 'exact'
    COARSE_TO_FINE = 'coarse_to_fine'
    GUIDED = 'guided'


class ScaleRule(str, Enum):
    """What gives the metres."""

    AUTO = 'auto'
    MODEL = 'model'
    STEREO_BASELINE = 'stereo_baseline'
    NONE = 'none'


class SolverRule(str, Enum):
    """What places the frames of a camera of which no calibration is known."""

    AUTO = 'auto'
    RAYS = 'rays'
    PIXELS = 'pixels'


class OdometryUse(str, Enum):
    """What a followed camera takes of an odometry: motion from frame to frame, or its poses."""

    MOTION = 'motion'
    POSES = 'poses'


class ImageTransport(str, Enum):
    """How images travel."""

    RAW = 'raw'
    COMPRESSED = 'compressed'


class Rectified(str, Enum):
    """Whether the input images are rectified."""

    AUTO = 'auto'
    TRUE = 'true'
    FALSE = 'false'

    @classmethod
    def _missing_(cls, value: object) -> Rectified | None:
        return cls.__members__.get(str(value).upper())  # YAML turns true into a bool


class QueueRule(str, Enum):
    """What happens to a pair that comes while the engine is busy."""

    LATEST = 'latest'
    ALL = 'all'


class MaskPolicy(str, Enum):
    """Which mask belongs to an image."""

    EXACT = 'exact'
    LATEST = 'latest'
    REQUIRED = 'required'


class ExecutorRule(str, Enum):
    """What waits for messages and timers in the node's process."""

    SINGLE = 'single'
    EVENTS = 'events'
