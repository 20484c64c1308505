# SPDX-License-Identifier: Apache-2.0
"""What OpenVINO compiled of a stage, kept so that the next start need not compile it again.

Each stage of each size has a folder of its own: OpenVINO's file and the digest of it. OpenVINO
notices a file that was cut off, but not one whose weights changed, so nothing is loaded whose
digest is another.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mast3r_ros.engines.outcomes import file_digest, machine_facts

_log = logging.getLogger(__name__)

Compile = Callable[[Mapping[str, Any]], Any]
"""Compiles with more properties than usual; returns OpenVINO's compiled model."""

_DIGEST = 'sha256'
_BLOBS = '*.blob'
_UNUSED_S = 60 * 24 * 3600  # after which an entry makes room for new ones
_BLOCK_BYTES = 1 << 24


@dataclass(frozen=True)
class CompiledCache:
    """The folder of all entries.

    :param facts: what they depend on beside the graph: weights, version of the library.
    """

    folder: Path
    facts: tuple[str, ...]

    def compile(self, graph: Path, properties: Mapping[str, Any], compile_: Compile) -> Any:
        """Return the compiled model, read where it is kept and kept where it is not.

        :param properties: that it is compiled with.
        """
        entry = self.folder / self._name(graph, properties)
        if _is_whole(entry):
            model = compile_({'CACHE_DIR': str(entry)})
            if model.get_property('LOADED_FROM_CACHE'):
                with suppress(OSError):
                    os.utime(entry)
                return model
        shutil.rmtree(entry, ignore_errors=True)  # damaged, or OpenVINO finds it does not fit
        return self._compile_anew(entry, compile_)

    def _compile_anew(self, entry: Path, compile_: Compile) -> Any:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            self._remove_unused()
            # Its own even where two engines of one process compile the same.
            unfinished = Path(tempfile.mkdtemp(prefix='.', dir=self.folder))
        except OSError as error:
            _log.info('what OpenVINO compiles cannot be kept in %s: %s', self.folder, error)
            return compile_({})
        try:
            model = compile_({'CACHE_DIR': str(unfinished)})
            _finish(unfinished, entry)
            return model
        except RuntimeError as error:  # of the compilation or of writing: the next one tells
            _log.info('OpenVINO: %s', error)
            return compile_({})
        finally:
            shutil.rmtree(unfinished, ignore_errors=True)

    def _name(self, graph: Path, properties: Mapping[str, Any]) -> str:
        """Return what names all that the compiled form depends on; OpenVINO looks at the path."""
        changed_ns = graph.stat().st_mtime_ns
        facts = (str(graph.absolute()), changed_ns, file_digest(graph), *self.facts)
        known = json.dumps([*facts, *machine_facts(), sorted(map(str, properties.items()))])
        return hashlib.sha256(known.encode()).hexdigest()[:24]

    def _remove_unused(self) -> None:
        for entry in self.folder.glob('*'):
            with suppress(OSError):
                if time.time() - entry.stat().st_mtime > _UNUSED_S:
                    shutil.rmtree(entry, ignore_errors=True)


def _finish(unfinished: Path, entry: Path) -> None:
    """Bring what OpenVINO wrote to its place; where that fails, nothing is kept."""
    try:
        digest = _digest(unfinished)
        if digest:
            (unfinished / _DIGEST).write_text(digest, encoding='ascii')
            unfinished.rename(entry)  # fails where another process was first
    except OSError as error:
        _log.info('what OpenVINO compiled is not kept: %s', error)


def _is_whole(entry: Path) -> bool:
    try:
        return (entry / _DIGEST).read_text(encoding='ascii') == _digest(entry) != ''
    except (OSError, ValueError):
        return False


def _digest(folder: Path) -> str:
    """Return the digest of what OpenVINO wrote; nothing where it wrote nothing."""
    digest = hashlib.sha256()
    blobs = sorted(folder.glob(_BLOBS))
    for path in blobs:
        with open(path, 'rb') as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    return digest.hexdigest() if blobs else ''
