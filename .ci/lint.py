# SPDX-License-Identifier: Apache-2.0
"""Style, types and manifests: runs every check and names those that failed."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def main() -> int:
    """Run the checks; return 1 where one fails."""
    checks: dict[str, Callable[[], bool]] = {
        'ruff check': lambda: _module('ruff', 'check', '.'),
        'ruff format': lambda: _module('ruff', 'format', '--check', '.'),
        'mypy': lambda: _module('mypy'),
        'package.xml': _manifest,
    }
    failed = []
    for name, check in checks.items():
        print(f'== {name}', flush=True)
        if not check():
            failed.append(name)
    print(f'Failed: {", ".join(failed)}' if failed else 'All clean.', flush=True)
    return 1 if failed else 0


def _module(*command: str) -> bool:
    ended = subprocess.run([sys.executable, '-m', *command], cwd=ROOT, check=False)
    return ended.returncode == 0


def _manifest() -> bool:
    """Parse package.xml as the ROS tools do: well-formed, complete, a real-looking address."""
    from catkin_pkg.package import (  # type: ignore[import-untyped]
        InvalidPackage,
        parse_package,
    )

    warnings: list[str] = []
    try:
        parse_package(str(ROOT), warnings=warnings)
    except InvalidPackage as error:
        warnings.append(str(error))
    for warning in warnings:
        print(warning)
    return not warnings


if __name__ == '__main__':
    sys.exit(main())
