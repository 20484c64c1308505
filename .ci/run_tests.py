# SPDX-License-Identifier: Apache-2.0
"""Runs every test layer, ROS files in a process and a ROS domain each, and sums up in one line.

Runs inside a development environment; `make test` starts it there.
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from importlib.util import find_spec
from pathlib import Path

from test_reports import Report, crashed, read_junit

ROOT = Path(__file__).resolve().parents[1]
ALLOWED_SKIPS = Path(__file__).with_name('allowed_skips.txt')
TEST_TIMEOUT_S = 300  # of one test
PROCESS_TIMEOUT_S = 1800  # of one process
SOAK_TIMEOUT_S = 7200
# `python -m pytest` would put the sources before the installed package, which has the messages.
PYTEST = (
    'import sys; sys.path = [path for path in sys.path if path]; '
    'import pytest; sys.exit(pytest.main())'
)
NOTHING_SELECTED = 5  # pytest's exit code where the markers leave no test

LAYERS = ('unit', 'engines', 'ros', 'e2e', 'gpu')
FILE_BY_FILE = ('ros', 'e2e')  # rclpy's state is global, so files must not share a process
# Over two processes, whole files each; most of them use one core, or wait.
SPREAD = ('unit', 'engines')


def main() -> int:
    """Run the layers; return 1 where a test failed or a skip is not allowed."""
    options, for_pytest = _parser().parse_known_args()
    # Shells start background jobs deaf to it, and so would be all programs that tests interrupt.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    total = Report()
    for report in _reports(options.layers, soak=options.soak, arguments=for_pytest):
        total += report
    strays = total.stray_skips(ALLOWED_SKIPS) if options.strict_skips else []
    for line in total.summary():
        print(line)
    for reason in strays:
        print(f'SKIP NOT ALLOWED: {reason} ({ALLOWED_SKIPS.relative_to(ROOT)} has no line for it)')
    print(total.closing_line(), flush=True)
    return 1 if total.failed or strays else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        epilog='Every other argument goes to pytest.',
        allow_abbrev=False,
    )
    parser.add_argument(
        '--layers',
        type=_layers,
        default=LAYERS,
        metavar='A,B',
        help=f'only these of {", ".join(LAYERS)}; unit and engines need no ROS',
    )
    parser.add_argument('--soak', action='store_true', help='only the long tests')
    parser.add_argument(
        '--strict-skips', action='store_true', help='fail on a skip that the list does not allow'
    )
    return parser


def _layers(text: str) -> tuple[str, ...]:
    chosen = tuple(text.split(','))
    for layer in chosen:
        if layer not in LAYERS:
            raise argparse.ArgumentTypeError(f'{layer!r} is none of {", ".join(LAYERS)}')
    return chosen


def _reports(layers: Sequence[str], *, soak: bool, arguments: Sequence[str]) -> Iterator[Report]:
    """Run layer by layer; files that need a process each run two at a time."""
    number = 0
    for layer in layers:
        files = sorted((ROOT / 'test' / layer).rglob('test_*.py'))
        if not files:
            continue
        by_file = layer in FILE_BY_FILE
        processes = [[file] for file in files] if by_file else [[ROOT / 'test' / layer]]
        at_once = 2 if by_file and not soak and len(os.sched_getaffinity(0)) > 1 else 1
        with ThreadPoolExecutor(at_once) as pool:
            numbers = range(number, number + len(processes))
            run = partial(_run, soak=soak, arguments=arguments, aside=at_once > 1)
            yield from pool.map(run, processes, numbers)
        number += len(processes)


def _run(
    paths: Sequence[Path], number: int, *, soak: bool, arguments: Sequence[str], aside: bool
) -> Report:
    """Run a process of pytest.

    :param number: of the process, which gives it a ROS domain.
    :param aside: another one runs beside it, so what it prints comes in one piece when it ends.
    """
    name = str(paths[0].relative_to(ROOT / 'test').with_suffix(''))
    reports = ROOT / 'build' / os.environ.get('MAST3R_ROS_ENVIRONMENT', 'other') / 'reports'
    junit = reports / (name.replace('/', '.') + '.xml')
    junit.unlink(missing_ok=True)
    if not aside:
        print(f'== {name}', flush=True)
    started = time.monotonic()
    limit_s = SOAK_TIMEOUT_S if soak else PROCESS_TIMEOUT_S
    command = [
        *(sys.executable, '-c', PYTEST, '-q', '--no-header', f'--junitxml={junit}'),
        *('-m', 'soak' if soak else 'not soak'),
        f'--timeout={limit_s if soak else TEST_TIMEOUT_S}',
        *(('-n', '2', '--dist', 'loadfile') if name in SPREAD and _can_spread() else ()),
        *(*arguments, *paths),
    ]
    try:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=ROOT,
            env=_variables(number, reports),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE if aside else None,
            stderr=subprocess.STDOUT if aside else None,
            text=True,
            timeout=limit_s,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        if error.stdout is not None:  # bytes, whatever was asked for
            print(f'== {name}\n{bytes(error.stdout).decode(errors="replace")}', flush=True)
        return crashed(name, f'did not end within {limit_s} s')
    said = f'== {name}\n{done.stdout}' if aside else ''
    print(f'{said}   {time.monotonic() - started:.1f} s', flush=True)
    report = read_junit(name, junit)
    if done.returncode not in (0, NOTHING_SELECTED) and not report.failed:
        report += crashed(name, f'ended with exit code {done.returncode}')
    return report


def _can_spread() -> bool:
    return find_spec('xdist') is not None and len(os.sched_getaffinity(0)) > 1


def _variables(number: int, reports: Path) -> dict[str, str]:
    """Keep each process's ROS traffic on this machine and in a domain of its own."""
    domain = 1 + (os.getpid() + number) % 100  # of 0 to 101, which are free on every platform
    humble = os.environ.get('ROS_DISTRO') == 'humble'  # which has another name for it
    return {
        **os.environ,
        **({'ROS_LOCALHOST_ONLY': '1'} if humble else {}),
        'ROS_AUTOMATIC_DISCOVERY_RANGE': 'LOCALHOST',
        'ROS_DOMAIN_ID': str(domain),
        'ROS_LOG_DIR': str(reports / 'ros_log'),
    }


if __name__ == '__main__':
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        print('Interrupted.', file=sys.stderr)
        sys.exit(130)
