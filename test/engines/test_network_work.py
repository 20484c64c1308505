# SPDX-License-Identifier: Apache-2.0
"""The work that is counted for a pair is the work that PyTorch counts while it does it."""

from __future__ import annotations

import pytest

torch = pytest.importorskip('torch', reason='needs torch')

from support.network_runs import SMALL, inputs_of, picture, seeded_stages  # noqa: E402

from mast3r_ros.models.architecture import Architecture  # noqa: E402
from mast3r_ros.models.work import pair_work  # noqa: E402


@pytest.mark.parametrize('family', SMALL)
@pytest.mark.parametrize('sides', [((3, 5), (3, 5)), ((2, 4), (4, 2))])
def test_every_stage_is_counted_as_pytorch_counts_it(family: str, sides) -> None:
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    architecture: Architecture = SMALL[family]
    shapes = [tuple(side * architecture.patch_px for side in view) for view in sides]
    stages = seeded_stages(architecture, *shapes)
    images = picture(shapes[0]), picture(shapes[1], 1)
    counted: dict[str, int] = {}
    with torch.inference_mode():
        for name, inputs in inputs_of(stages, *images).items():
            stage = getattr(stages, name, None)
            if stage is None:
                continue
            # Of the ways to run attention this one alone is counted.
            with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
                stage(*inputs)
            kind = name.rpartition('_')[0].replace('encoder', 'encode') or name
            counted[kind] = counted.get(kind, 0) + counter.get_total_flops()
    assert pair_work(architecture, *shapes) == counted


def test_the_published_figure_of_a_whole_pair_is_met_but_for_what_is_saved() -> None:
    """DUNE small at 448x336: 956 G by the published order; a 1x1 convolution is cheaper here."""
    dune = Architecture('dune', 14, 384, 12, 6, 768, 12, 12, 'dpt', 24, position_side=32)
    work = pair_work(dune, (336, 448), (336, 448))
    assert work['encode'] == pytest.approx(88e9, rel=0.02)
    assert work['decoder'] == pytest.approx(436e9, rel=0.02)
    assert work['descriptors'] == pytest.approx(86e9, rel=0.02)
    assert 0.9 * 346e9 < work['points'] < 346e9
