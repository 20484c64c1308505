# SPDX-License-Identifier: Apache-2.0
"""What an environment was made from, so that only what changed is made again."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

FILE_NAME = 'mast3r_ros_environment.json'
STAGES = ('venv', 'requirements', 'package')

# Their contents decide what is built; of everything else that is installed, the names do: files
# are linked, so an edit needs no new build, but a new or a deleted file does.
BUILT = ('CMakeLists.txt', 'package.xml', 'msg')
LINKED = ('mast3r_ros', 'config', 'examples', 'launch')


class State:
    """The fingerprints of the finished stages, kept in the environment itself."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / FILE_NAME
        self._finished = self._read()

    def _read(self) -> dict[str, str]:
        try:
            return dict(json.loads(self._path.read_text(encoding='utf-8')))
        except (OSError, ValueError):
            return {}

    @property
    def ours(self) -> bool:
        """Whether this environment was made here, and not by somebody's hand."""
        return self._path.is_file()

    def has(self, stage: str) -> bool:
        """Return whether a stage was finished, from whatever it was made."""
        return stage in self._finished

    def needed(self, wanted: dict[str, str]) -> list[str]:
        """Return the stages to run: from the first one that differs onwards.

        Packages are never installed over a half-installed set: then all begins anew.
        """
        if self.has('venv') and not self.has('requirements'):
            return list(STAGES)
        for position, stage in enumerate(STAGES):
            if self._finished.get(stage) != wanted[stage]:
                return list(STAGES[position:])
        return []

    def begin(self, stage: str) -> None:
        """Forget a stage and all after it, before it starts: it may be interrupted."""
        for name in STAGES[STAGES.index(stage) :]:
            self._finished.pop(name, None)
        self._write()

    def finish(self, stage: str, fingerprint: str) -> None:
        """Remember a stage, after it has ended well."""
        self._finished[stage] = fingerprint
        self._write()

    def _write(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        partial = self._path.with_suffix('.partial')
        partial.write_text(json.dumps(self._finished, indent=1) + '\n', encoding='utf-8')
        partial.replace(self._path)


def fingerprint(*parts: Any) -> str:
    """Return a digest of strings, numbers and lists of them."""
    return hashlib.sha256(json.dumps(parts).encode()).hexdigest()


def package_fingerprint(root: Path) -> str:
    """Return a digest of what decides how the package is built and which files it installs."""
    built = [
        (str(path.relative_to(root)), hashlib.sha256(path.read_bytes()).hexdigest())
        for path in _files(root, BUILT)
    ]
    linked = [str(path.relative_to(root)) for path in _files(root, LINKED)]
    return fingerprint(built, linked)


def _files(root: Path, names: tuple[str, ...]) -> list[Path]:
    found = []
    for name in names:
        path = root / name
        inside = path.rglob('*') if path.is_dir() else [path]
        found += [item for item in inside if item.is_file() and '__pycache__' not in item.parts]
    return sorted(found)
