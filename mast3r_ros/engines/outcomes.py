# SPDX-License-Identifier: Apache-2.0
"""What was found out once about a model on this machine, kept under the cache folder."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import platform
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from importlib import metadata
from pathlib import Path
from typing import Any

_log = logging.getLogger(__name__)

_NVIDIA = Path('/sys/module/nvidia/version')


@dataclass(frozen=True)
class Outcome:
    """One thing that was found out; where its file is damaged or gone, it is found out anew."""

    place: Path

    @classmethod
    def of(cls, cache_folder: Path, kind: str, facts: Sequence[object]) -> Outcome:
        """Return where something is kept.

        :param kind: what it is; a folder of the cache.
        :param facts: all that it depends on, as JSON has it.
        """
        name = hashlib.sha256(json.dumps(list(facts)).encode()).hexdigest()[:24]
        return cls(cache_folder / kind / f'{name}.json')

    def read(self) -> Mapping[str, Any]:
        """Return what was kept; nothing where it cannot be read."""
        try:
            values = json.loads(self.place.read_text(encoding='utf-8'))
        except (OSError, ValueError, RecursionError):
            return {}
        return values if isinstance(values, dict) else {}

    def write(self, values: Mapping[str, Any]) -> None:
        """Keep it, whole or not at all; where that cannot be, it is found out again next time."""
        unfinished = self.place.with_name(f'.{self.place.name}.{os.getpid()}')
        try:
            self.place.parent.mkdir(parents=True, exist_ok=True)
            unfinished.write_text(json.dumps(values, indent=2) + '\n', encoding='utf-8')
            unfinished.replace(self.place)
        except OSError as error:
            _log.info('%s cannot be kept: %s', self.place, error)
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


def machine_facts() -> list[str]:
    """Return what tells this machine from others: its processor, system and NVIDIA driver."""
    return [_processor(), platform.machine(), platform.mac_ver()[0], _first_line(_NVIDIA)]


def library_version(name: str) -> str:
    """Return the version of an installed package."""
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return 'none'


def file_digest(path: Path) -> str:
    """Return a digest of a file's content, or that there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return f'no {path.parent.name}'


def _processor() -> str:
    try:
        lines = Path('/proc/cpuinfo').read_text(encoding='utf-8').splitlines()
    except OSError:
        return f'{platform.machine()} {platform.processor()}'
    told = [line for line in lines if line.startswith(('model name', 'flags', 'Features'))]
    return hashlib.sha256('\n'.join(sorted(set(told))).encode()).hexdigest()


def _first_line(path: Path) -> str:
    try:
        return path.read_text(encoding='utf-8', errors='replace').strip().partition('\n')[0]
    except OSError:
        return ''
