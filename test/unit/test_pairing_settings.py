# SPDX-License-Identifier: Apache-2.0
"""Settings choose the pairing, and what it cannot do or does not know is refused in words."""

from __future__ import annotations

import pytest
from support.numbered_frames import MS, Tick, both, feed

from mast3r_ros.config import PairingConfig
from mast3r_ros.core.pairing import Pairing, SequencePairing, StereoPairing, make_pairing
from mast3r_ros.errors import ConfigError, InvalidInput


@pytest.mark.parametrize('pairing', [StereoPairing(), SequencePairing()])
def test_an_unknown_source_is_named_with_the_known(pairing: Pairing) -> None:
    with pytest.raises(InvalidInput, match=r"'top'.*known are " + pairing.sources[0]):
        pairing.add('top', Tick(0))


def test_settings_choose_the_pairing() -> None:
    sequence = make_pairing(PairingConfig(mode='sequence', stride=3))
    stereo = make_pairing(PairingConfig(tolerance_s=0.05))
    assert isinstance(sequence, SequencePairing)
    assert isinstance(stereo, StereoPairing)
    assert len(feed(sequence, [('image', Tick(number)) for number in range(10)])) == 7
    assert len(feed(stereo, both(range(10), gap_ns=10 * MS))) == 10


@pytest.mark.parametrize('sync', ['exact', 'approximate'])
def test_a_pairing_that_only_the_node_can_do_is_refused_without_it(sync: str) -> None:
    with pytest.raises(ConfigError, match=f'pairing.sync is {sync}, .* set it to nearest'):
        make_pairing(PairingConfig(sync=sync))
    assert isinstance(make_pairing(PairingConfig(mode='sequence', sync=sync)), SequencePairing)
