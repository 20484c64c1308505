# SPDX-License-Identifier: Apache-2.0
"""Which comparisons prove that a model of few bits may stand for its network in float32."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

LEAST_DESCRIPTOR_COSINE = 0.995
"""Cosine of a pixel's two descriptors, in the pixel that is worse than 99 of 100."""
MOST_POINT_ERROR = 2e-2
"""Distance of a pixel's two points over their distance from the camera, in the middle pixel."""
LEAST_MATCH_OVERLAP = 0.0
"""Share of the reference's matches that are found again."""

REFERENCE = 'reference'
"""The entry of a comparison's details that names the reference, such as ``pytorch:fp32``."""
REFERENCE_SOURCES = 'reference_sources'
"""The entry with the digests of the files that the reference's weights come from."""
LIMITS = 'limits'
"""The entry with the limits that were to hold."""

# Whether the smallest or the largest value is the limit.
_AT_LEAST = {
    'descriptor_cosine_p01': LEAST_DESCRIPTOR_COSINE,
    'match_overlap': LEAST_MATCH_OVERLAP,
}
_AT_MOST = {'point_error_p50': MOST_POINT_ERROR}


def reference_faults(details: Mapping[str, Any], sources: Collection[str]) -> list[str]:
    """Return, in words, what is wrong with a comparison's reference.

    :param details: what the comparison kept.
    :param sources: digests of the files that the candidate's weights come from.
    """
    found = []
    reference = details.get(REFERENCE)
    if not isinstance(reference, str) or not reference.endswith(':fp32'):
        found.append(f'the reference is {reference}, not fp32')
    if details.get(REFERENCE_SOURCES) != sorted(set(sources)):
        found.append("the reference's weights come from other files")
    return found


def limit_faults(details: Mapping[str, Any]) -> list[str]:
    """Return, in words, which of a comparison's limits are laxer than those that count."""
    limits = details.get(LIMITS)
    values = limits if isinstance(limits, Mapping) else {}
    found = [
        f'the limit of {name} is {values.get(name)}, below {least:g}'
        for name, least in _AT_LEAST.items()
        if not (_is_number(values.get(name)) and values[name] >= least)
    ]
    return found + [
        f'the limit of {name} is {values.get(name)}, above {most:g}'
        for name, most in _AT_MOST.items()
        if not (_is_number(values.get(name)) and values[name] <= most)
    ]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
