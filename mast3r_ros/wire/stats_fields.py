# SPDX-License-Identifier: Apache-2.0
"""How one pair went, as the fields of a ``mast3r_ros/PairStats``."""

from __future__ import annotations

import array
from collections.abc import Mapping
from dataclasses import dataclass

from mast3r_ros.core.products import PairResult
from mast3r_ros.wire.message_fields import MessageFields
from mast3r_ros.wire.stamps import header_fields

STAGES = ('wait', 'preprocess', 'encode', 'decode', 'postprocess', 'match')
"""The stages that a result's own ``timing_ms`` tells; one that did not run took no time."""


@dataclass(frozen=True)
class Publication:
    """What only the publisher of a result knows.

    :param publish_ms: time for packing and publishing.
    :param age_ms: from the header's stamp to publication.
    :param drops: inputs dropped so far, by reason.
    """

    engine: str
    device: str
    publish_ms: float
    age_ms: float
    drops: Mapping[str, int]


def stats_fields(result: PairResult, frame_id: str, publication: Publication) -> MessageFields:
    """Return the statistics of one pair.

    :param frame_id: optical frame of view 1's camera.
    """
    drops = sorted(publication.drops.items())
    return MessageFields(
        'mast3r_ros/msg/PairStats',
        {
            'header': header_fields(result.stamp_ns, frame_id),
            'engine': publication.engine,
            'device': publication.device,
            **{f'{stage}_ms': float(result.timing_ms.get(stage, 0.0)) for stage in STAGES},
            'publish_ms': float(publication.publish_ms),
            'age_ms': float(publication.age_ms),
            'drop_reasons': [reason for reason, _ in drops],
            'drop_counts': array.array('Q', [count for _, count in drops]),
            'matches': 0 if result.matches is None else len(result.matches),
            'scale': float(result.scale.factor),
            'scale_spread': float(result.scale.spread),
            'scale_source': result.scale.source.value,
        },
    )
