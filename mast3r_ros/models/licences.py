# SPDX-License-Identifier: Apache-2.0
"""The licences of the published weights, each with a sentence of what it asks for."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class WeightsLicence:
    """A licence that weights were published under.

    :param key: what its acceptance is remembered by; changes when its terms do.
    :param url: where its whole text stands.
    :param notice: one sentence in our words; the text at the address is what counts.
    """

    key: str
    name: str
    url: str
    notice: str


DUST3R_LICENCE = WeightsLicence(
    key='dust3r-cc-by-nc-sa-4.0',
    name='CC BY-NC-SA 4.0 (DUSt3R weights, NAVER)',
    url='https://github.com/naver/dust3r/blob/main/LICENSE',
    notice='Non-commercial use only, with attribution; what is made from the weights must be '
    'shared under the same licence, and the terms of the training data apply as well.',
)
MAST3R_LICENCE = WeightsLicence(
    key='mast3r-cc-by-nc-sa-4.0-with-checkpoints-notice',
    name='CC BY-NC-SA 4.0 with CHECKPOINTS_NOTICE (MASt3R weights, NAVER)',
    url='https://github.com/naver/mast3r/blob/main/CHECKPOINTS_NOTICE',
    notice='Non-commercial use only, with attribution and sharing alike; the notice adds the '
    'terms of every training data set, and that of map-free excludes research labs of companies.',
)
DUNE_LICENCE = WeightsLicence(
    key='nle-dune-licence',
    name='NLE DUNE licence (DUNE weights, NAVER)',
    url='https://github.com/naver/dune/blob/main/LICENSE',
    notice='Non-commercial use only; the permission cannot be passed on to others.',
)
