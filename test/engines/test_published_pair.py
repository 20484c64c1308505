# SPDX-License-Identifier: Apache-2.0
"""What the bench compares with answers as the published networks do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

pytest.importorskip('torch', reason='needs torch')

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / 'support'))

from network_engines import relative_error
from published_pair import PublishedPair
from seeded_weights import seeded_tensors
from tiny_model import CASES, golden_case

LIMIT = 1e-5  # relative error in norm


@pytest.mark.parametrize('name', CASES)
def test_the_other_side_of_the_bench_answers_as_the_published_network(name: str) -> None:
    case = golden_case(name)
    shapes = {key: tuple(shape) for key, shape in case.facts['keys'].items()}
    pair = PublishedPair(case.architecture, seeded_tensors(shapes, case.facts['seed']))
    result = pair.infer(case.arrays['view1'], case.arrays['view2'])
    errors = {
        output: relative_error(getattr(result, output), wanted)
        for output, wanted in case.answers.items()
    }
    assert max(errors.values()) <= LIMIT, errors
