# SPDX-License-Identifier: Apache-2.0
"""One sentence about a node's health, and how bad it is."""

from __future__ import annotations

import enum
from dataclasses import dataclass

SILENT_S = 2.0
"""An input that has been silent for so long is worth a word."""


class Level(enum.IntEnum):
    """How bad a finding is; the numbers are those of diagnostic_msgs/DiagnosticStatus."""

    OK = 0
    WARN = 1
    ERROR = 2


@dataclass(frozen=True)
class Finding:
    """One sentence about the node's health."""

    level: Level
    about: str  # engine, inputs, pairs, sequence
    text: str
