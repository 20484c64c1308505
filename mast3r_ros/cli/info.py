# SPDX-License-Identifier: Apache-2.0
"""mast3r-info: what this machine has and which engine would run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from collections.abc import Sequence
from importlib import metadata, util
from pathlib import Path
from typing import Any

from mast3r_ros import __version__
from mast3r_ros.cli.command import make_parser, run_command

_LIBRARIES = (
    'numpy',
    'opencv-python-headless',
    'opencv-python',
    'pillow',
    'pydantic',
    'pyyaml',
    'onnxruntime',
    'onnxruntime-gpu',
    'openvino',
    'tensorrt',
    'coremltools',
    'torch',
)
_EXAMPLES = """\
  mast3r-info
  mast3r-info --json | jq .auto.choice
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-info',
        'Show the platform, the engines that can run here, what auto picks and why, and versions.',
        _EXAMPLES,
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    return run_command(parser, _show, argv)


def collect() -> dict[str, Any]:
    """Return everything the command shows."""
    from mast3r_ros.config import BackendType, default_cache_dir
    from mast3r_ros.core.cores import usable_cores
    from mast3r_ros.engines.registry import engine_status, pick_auto

    statuses = [
        engine_status(backend) for backend in BackendType if backend is not BackendType.AUTO
    ]
    choice, passed_over = pick_auto()
    cache = default_cache_dir()
    return {
        'version': __version__,
        'platform': {
            'system': platform.platform(),
            'machine': platform.machine(),
            'python': platform.python_version(),
            'cores': usable_cores(),
            'ros_distro': os.environ.get('ROS_DISTRO', ''),
            'rclpy': util.find_spec('rclpy') is not None,
        },
        'engines': [
            {'name': item.backend.value, 'available': item.available, 'reason': item.reason}
            for item in statuses
        ],
        'auto': {
            'choice': choice.value if choice else None,
            'passed_over': {item.backend.value: item.reason for item in passed_over},
        },
        'libraries': {name: found for name in _LIBRARIES if (found := _installed(name))},
        'cache': {
            'folder': str(cache),
            'exists': cache.is_dir(),
            'bytes': _size_of(cache),
            'checkpoints': _checkpoints(cache),
            'models': _models(cache),
        },
    }


def _show(arguments: argparse.Namespace) -> int:
    facts = collect()
    print(json.dumps(facts, indent=2) if arguments.json else _as_text(facts))
    return 0


def _as_text(facts: dict[str, Any]) -> str:
    machine = facts['platform']
    ros = f'{machine["ros_distro"] or "unnamed"}, rclpy found' if machine['rclpy'] else 'not found'
    weights = ', '.join(facts['cache']['checkpoints']) or 'none (mast3r-download --list)'
    models = ', '.join(facts['cache']['models']) or 'none (mast3r-export --help)'
    lines = [
        f'mast3r_ros {facts["version"]}',
        f'  system   {machine["system"]}, {machine["cores"]} cores',
        f'  python   {machine["python"]} ({sys.executable})',
        f'  ROS 2    {ros}',
        f'  cache    {facts["cache"]["folder"]} ({facts["cache"]["bytes"] / 1e6:.1f} MB)',
        f'  weights  {weights}',
        f'  models   {models}',
        'engines',
    ]
    for engine in facts['engines']:
        state = 'ready' if engine['available'] else f'no: {engine["reason"]}'
        lines.append(f'  {engine["name"]:<12} {state}')
    choice = facts['auto']['choice']
    lines.append(f'auto picks {choice}' if choice else 'auto picks nothing: ' + _NO_CHOICE)
    lines.append('libraries')
    lines += [f'  {name:<24} {version}' for name, version in facts['libraries'].items()]
    return '\n'.join(lines)


_NO_CHOICE = 'no engine here runs a network; geometry is chosen by name (--backend geometric)'


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _models(cache: Path) -> list[str]:
    """Return the exported models in the cache with their sizes."""
    from mast3r_ros.models.folder import models_in

    return [
        f'{model.description.variant.value} {model.description.precision.value} '
        f'({model.sizes_in_words()})'
        for model in models_in(cache)
    ]


def _checkpoints(cache: Path) -> list[str]:
    """Return the networks whose published weights lie in the cache."""
    from mast3r_ros.models.catalogue import MODELS

    return [
        variant.value
        for variant, model in MODELS.items()
        if all(path.is_file() for path in model.paths(cache))
    ]


def _size_of(folder: Any) -> int:
    return sum(item.stat().st_size for item in folder.rglob('*') if item.is_file())


if __name__ == '__main__':
    sys.exit(main())
