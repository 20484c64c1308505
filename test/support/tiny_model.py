# SPDX-License-Identifier: Apache-2.0
"""Small networks with seeded weights, written as model folders by the real exporter.

They have every kind of layer of the published networks, and golden answers (test/data/golden).
"""

from __future__ import annotations

import ast
import fcntl
import functools
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from seeded_weights import seeded_state_dict, seeded_tensors

from mast3r_ros.config import ModelVariant, Precision
from mast3r_ros.models.architecture import Architecture
from mast3r_ros.models.description import Shape, SourceFile
from mast3r_ros.models.model_string import parse_model_string

TEST = Path(__file__).resolve().parents[1]
GOLDEN = TEST / 'data' / 'golden'
CACHE = TEST.parent / 'build' / 'tiny_models'
_KEPT_S = 3600.0  # of unused versions: another checkout's tests may be running
_WRITTEN_BY = (
    'models/networks/*.py',
    'models/description.py',
    'export/graph*.py',
    'export/stage*.py',
    'export/weight*.py',
    'export/quantise.py',
    'export/card_int8.py',
    'export/static_int8.py',
    'export/calibration.py',
    'export/bias_correction.py',
)

CASES = tuple(sorted(path.stem for path in GOLDEN.glob('*.json')))
DUNE = 'dunemast3r_tiny_landscape'  # 56x112 (height x width)
MAST3R = 'mast3r_tiny_landscape'  # 64x96
DUST3R = 'dust3r_tiny_dpt'  # 64x96, no descriptors

_VARIANTS = {
    'dune': ModelVariant.DUNE_VIT_SMALL,
    'mast3r': ModelVariant.MAST3R_VIT_LARGE,
    'dpt': ModelVariant.DUST3R_512_DPT,
    'linear': ModelVariant.DUST3R_224_LINEAR,
}


@dataclass(frozen=True, eq=False)
class GoldenCase:
    """What the official code answered on seeded weights."""

    name: str
    facts: Mapping[str, Any]
    arrays: Mapping[str, NDArray[Any]]

    @property
    def shapes(self) -> tuple[Shape, Shape]:
        """Height and width of view 1 and of view 2."""
        first = tuple(self.facts['hw'])
        return first, tuple(self.facts.get('hw2', first))

    @property
    def answers(self) -> dict[str, NDArray[np.float32]]:
        """The outputs by the names of the fields of a result."""
        inputs = ('view1', 'view2', 'feat_1')
        return {name: array for name, array in self.arrays.items() if name not in inputs}

    @property
    def variant(self) -> ModelVariant:
        """The published network that this one is a small copy of."""
        kind = self.facts['kind']
        if kind == 'dust3r':
            kind = 'linear' if 'linear' in self.name else 'dpt'
        return _VARIANTS[kind]

    @property
    def architecture(self) -> Architecture:
        """The network's dimensions."""
        said = parse_model_string(self.facts['model'])
        if self.facts['kind'] != 'dune':
            return said.architecture()
        blocks = {key.split('.')[3] for key in self.facts['keys'] if 'backbone.blocks.' in key}
        return Architecture(
            **{
                **vars(said),
                'family': 'dune',
                'patch_px': 14,
                'enc_depth': len(blocks),
                'registers': self.facts['regs'],
                'position_side': self.facts['size'] // 14,
            }
        )


@functools.cache
def golden_case(name: str) -> GoldenCase:
    """Read a golden case."""
    facts = json.loads((GOLDEN / f'{name}.json').read_text(encoding='utf-8'))
    with np.load(GOLDEN / f'{name}.npz') as arrays:
        return GoldenCase(name, facts, dict(arrays))


def tiny_model(
    name: str,
    sizes: Sequence[tuple[Shape, Shape]] | None = None,
    precision: Precision = Precision.FP32,
) -> Path:
    """Return the model folder of a golden case, exported at its own size or at those given.

    It is kept under build/ until the sources that write it change.
    """
    case = golden_case(name)
    shapes = {key: tuple(shape) for key, shape in case.facts['keys'].items()}

    def weights() -> Mapping[str, NDArray[np.float32]]:
        return seeded_tensors(shapes, case.facts['seed'])

    network = Network(name, case.architecture, case.variant, weights)
    return exported(network, list(sizes or [case.shapes]), precision)


QUICK = Architecture(
    family='dune',
    patch_px=14,
    enc_dim=32,
    enc_depth=1,
    enc_heads=1,
    dec_dim=32,
    dec_depth=4,
    dec_heads=2,
    head='dpt',
    desc_dim=24,
    position_side=6,
)
QUICK_SHAPE: Shape = (84, 112)  # of a 4:3 image at resolution 112


def quick_model(
    sizes: Sequence[tuple[Shape, Shape]] = ((QUICK_SHAPE, QUICK_SHAPE),),
    precision: Precision = Precision.FP32,
    calibrated: bool = False,
) -> Path:
    """Return the folder of the smallest network with every stage, to test what is around it.

    :param calibrated: whether int8 has ranges from pictures, rather than new ones each time.
    """

    def weights() -> Mapping[str, NDArray[np.float32]]:
        return seeded_state_dict(QUICK, 11)

    network = Network('quick', QUICK, ModelVariant.DUNE_VIT_SMALL, weights)
    return exported(network, list(sizes), precision, calibrated)


@dataclass(frozen=True)
class Network:
    """A network whose weights are made up.

    :param weights: returns its tensors by their published names.
    """

    name: str
    architecture: Architecture
    variant: ModelVariant
    weights: Callable[[], Mapping[str, NDArray[np.float32]]]


def exported(
    network: Network,
    sizes: Sequence[tuple[Shape, Shape]],
    precision: Precision,
    calibrated: bool = False,
) -> Path:
    """Return the network's model folder, kept under build/ until the sources that write it change.

    :param sizes: pairs of height and width of both views.
    :param calibrated: whether int8 has ranges from pictures, rather than new ones each time.
    """
    kind = f'{precision.value}{"-calibrated" if calibrated else ""}'
    folder = CACHE / _digest() / f'{network.name}-{kind}-{_name(sizes)}'
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(f'{folder}.lock', 'w') as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # tests run in several processes
        if not (folder / 'model.json').is_file():
            _forget_old_ones()
            _export(network, sizes, precision, folder, calibrated)
    return folder


def _export(
    network: Network,
    sizes: Sequence[tuple[Shape, Shape]],
    precision: Precision,
    folder: Path,
    calibrated: bool,
) -> None:
    import torch

    from mast3r_ros.core.benchmark import made_up_pair
    from mast3r_ros.export.exporter import ExportRequest, export_model
    from mast3r_ros.export.source import ModelSource
    from mast3r_ros.models.checkpoints import Checkpoint

    tensors = {key: torch.from_numpy(np.array(item)) for key, item in network.weights().items()}
    source = SourceFile(
        f'{network.name}.pth', 0, hashlib.sha256(network.name.encode()).hexdigest()
    )
    checkpoint = Checkpoint(network.architecture, tensors, (source,))
    model = ModelSource(checkpoint, network.variant, seeded=True)
    pictures = [made_up_pair(320, 240, shift) for shift in (6, 12)] if calibrated else []
    export_model(ExportRequest(model, sizes, precision, folder, pictures=pictures))


@functools.cache
def _digest() -> str:
    """Return a name for the code that a model folder depends on; comments are not part of it."""
    package = TEST.parent / 'mast3r_ros'
    digest = hashlib.sha256()
    for pattern in _WRITTEN_BY:
        for path in sorted(package.glob(pattern)):
            digest.update(ast.dump(ast.parse(path.read_bytes())).encode())
    return digest.hexdigest()[:12]


def _forget_old_ones() -> None:
    """Remove what was exported by other versions of the code; a folder has some 160 MB."""
    for folder in CACHE.glob('*'):
        if folder.name != _digest() and time.time() - folder.stat().st_mtime > _KEPT_S:
            shutil.rmtree(folder, ignore_errors=True)


def _name(sizes: Sequence[tuple[Shape, Shape]]) -> str:
    text = '_'.join(f'{one[0]}x{one[1]}-{two[0]}x{two[1]}' for one, two in sizes)
    return text if len(text) < 60 else hashlib.sha256(text.encode()).hexdigest()[:12]
