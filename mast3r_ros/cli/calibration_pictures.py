# SPDX-License-Identifier: Apache-2.0
"""What --calibrate names becomes pairs of pictures: files, bags, or the simulator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from mast3r_ros.core.images import load_image
from mast3r_ros.core.views import ImageArray
from mast3r_ros.errors import InvalidInput

SIMULATOR = 'simulator'
_PAIRS = 8  # of a bag or a flight
_BAG_ENDINGS = ('.mcap', '.db3', '.bag', '.zst')


def calibration_pairs(
    named: Sequence[str], tell: Callable[[str], None]
) -> list[tuple[ImageArray, ImageArray]]:
    """Return all pairs: pictures two by two, and some of every bag and of a simulated flight.

    :param tell: is told what is wrong with a bag's messages.
    """
    pairs: list[tuple[ImageArray, ImageArray]] = []
    pictures: list[str] = []
    for name in named:
        if name == SIMULATOR:
            pairs += _of_simulator()
        elif Path(name).is_dir() or name.endswith(_BAG_ENDINGS):
            from mast3r_ros.bags.recorded import Notices
            from mast3r_ros.bags.sample_pairs import sample_pairs

            pairs += sample_pairs(Path(name), _PAIRS, Notices(tell))
        else:
            pictures.append(name)
    if len(pictures) % 2:
        raise InvalidInput(
            f'--calibrate has {len(pictures)} pictures, which are no pairs; give an even number'
        )
    for one, other in zip(pictures[::2], pictures[1::2], strict=True):
        pairs.append((load_image(one), load_image(other)))
    return pairs


def _of_simulator() -> list[tuple[ImageArray, ImageArray]]:
    from mast3r_ros.sim.config import SimConfig
    from mast3r_ros.sim.rendering import PairRenderer
    from mast3r_ros.sim.scene import Scene

    config = SimConfig()
    renderer = PairRenderer(config, Scene.make(config.seed, config.period_s))
    step = config.frames // _PAIRS
    sides = (renderer.render(number * step).sides for number in range(_PAIRS))
    return [(left.image, right.image) for left, right in sides]
