# SPDX-License-Identifier: Apache-2.0
"""``make demo``: a simulated drone, the node on real DDS, and a live line of how it does."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import rclpy
from rclpy.signals import SignalHandlerOptions

from mast3r_ros.errors import Mast3rError
from mast3r_ros.ros.dds_profile import give_pictures_room
from mast3r_ros.ros.demo_monitor import DemoMonitor
from mast3r_ros.ros.executable import EXIT_FAILED, EXIT_INTERRUPTED
from mast3r_ros.ros.simulator import show_progress
from mast3r_ros.sim.config import SimConfig
from mast3r_ros.sim.recording import Recording

START_DELAY_S = 3.0
"""Time for both processes to start before the flight's first frame."""

_LIVE_PERIOD_S = 0.5  # of the line in a terminal
_LOG_PERIOD_S = 5.0  # of the lines in a file

_EXAMPLES = """examples:
  make demo
  make demo SECONDS=10
  python -m mast3r_ros.ros.demo --seconds 30 --raw

exit codes: 0 done, 1 the node answered no pair, 130 stopped by Ctrl-C or another signal"""


def main(argv: Sequence[str] | None = None) -> int:
    """Fly, watch, and write down what was seen."""
    arguments = _parser().parse_args(argv)
    # Nothing of this leaves the machine, and nobody else's nodes get mixed up in it.
    os.environ.setdefault('ROS_AUTOMATIC_DISCOVERY_RANGE', 'LOCALHOST')
    os.environ.setdefault('ROS_DOMAIN_ID', str(1 + os.getpid() % 100))
    give_pictures_room()
    _stop_on_signals()
    try:
        return _fly(arguments)
    except KeyboardInterrupt:
        print()
        return EXIT_INTERRUPTED
    except Mast3rError as error:
        print(f'error: {error}', file=sys.stderr)
        return EXIT_FAILED


def _stop_on_signals() -> None:
    """Have the first signal end the demo as Ctrl-C does, and no other disturb that end.

    A terminal that is closed, or a service manager, would else end this process alone.
    """

    def stop(_number: int, _frame: Any) -> None:
        for number in watched:
            signal.signal(number, lambda *_: None)
        raise KeyboardInterrupt

    watched = [
        number
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
        if signal.getsignal(number) is not signal.SIG_IGN  # as nohup asks for
    ]
    for number in watched:
        signal.signal(number, stop)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog='demo',
        description='Fly a simulated stereo drone past the node and show how it does.',
        epilog=_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        '--seconds', type=_seconds, default=0.0, help='how long; 0 until Ctrl-C (0)'
    )
    parser.add_argument('--engine', default='geometric', help='engine of the node (geometric)')
    parser.add_argument(
        '--loop',
        type=float,
        default=SimConfig.duration_s,
        help='seconds of the flight that is rendered and flown again and again (%(default)g)',
    )
    parser.add_argument('--raw', action='store_true', help='distorted lenses, not rectified')
    parser.add_argument('--no-view', action='store_true', help='without the view in a browser')
    parser.add_argument(
        '--flights', type=Path, default=Path('build/flights'), help='where flights are kept'
    )
    parser.add_argument(
        '--output', type=Path, default=Path('build/demo'), help='where summary.json goes'
    )
    return parser


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.0 <= value < float('inf'):
        raise argparse.ArgumentTypeError(f'{text} is no length of time; give 0 or more seconds')
    return value


def _fly(arguments: argparse.Namespace) -> int:
    config = SimConfig(raw=arguments.raw, duration_s=arguments.loop)
    recording = Recording.open_or_render(arguments.flights, config, show_progress)
    start_ns = time.time_ns() + int(START_DELAY_S * 1e9)
    # rclpy's own handlers would end its context under the monitor's feet.
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    monitor = DemoMonitor(recording, start_ns)
    try:
        needed = _commands(arguments, start_ns)
        with _processes([*needed, *_view_commands(arguments)]) as running:
            _watch(monitor, running[: len(needed)], arguments.seconds)
    finally:
        summary = monitor.tally.summary()
        monitor.destroy_node()
        rclpy.try_shutdown()
        _write(arguments.output, summary)
    return 0 if summary['pairs'] else EXIT_FAILED


def _commands(arguments: argparse.Namespace, start_ns: int) -> list[list[str]]:
    rectified = 'false' if arguments.raw else 'true'
    simulator = {
        'folder': arguments.flights,
        'raw': str(arguments.raw).lower(),
        'duration_s': float(arguments.loop),
    }
    perception = {'runtime.backend': arguments.engine, 'input.rectified': rectified}
    return [
        _command('simulator', {**simulator, 'start_ns': start_ns}),
        _command('perception', perception),
    ]


def _view_commands(arguments: argparse.Namespace) -> list[list[str]]:
    if arguments.no_view:
        return []
    if find_spec('viser') is None:
        print("there is no view: install it with `pip install 'mast3r_ros[viewer]'`")
        return []
    return [[sys.executable, '-m', 'mast3r_ros.ros.viewer', '--pose', '/left/true_pose']]


def _command(module: str, parameters: dict[str, Any]) -> list[str]:
    words = [word for name, value in parameters.items() for word in ('-p', f'{name}:={value}')]
    return [sys.executable, '-m', f'mast3r_ros.ros.{module}', '--ros-args', *words]


@contextmanager
def _processes(commands: list[list[str]]) -> Iterator[list[subprocess.Popen[bytes]]]:
    """Run commands beside this one and end them all with it."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        for command in commands:
            # In a session of its own: Ctrl-C comes to us alone and we end them in order.
            running.append(subprocess.Popen(command, start_new_session=True))
        yield running
    finally:
        for process in running:
            process.send_signal(signal.SIGINT)
        for process in running:
            try:
                process.wait(5.0)
            except subprocess.TimeoutExpired:
                process.kill()


def _watch(monitor: DemoMonitor, running: list[subprocess.Popen[bytes]], seconds: float) -> None:
    """Show the latest figures until the time is up or a process ends."""
    end = time.monotonic() + START_DELAY_S + seconds if seconds else float('inf')
    is_live = sys.stdout.isatty()
    period_s = _LIVE_PERIOD_S if is_live else _LOG_PERIOD_S
    shown = time.monotonic()
    while time.monotonic() < end:
        rclpy.spin_once(monitor, timeout_sec=0.1)
        if any(process.poll() is not None for process in running):
            raise Mast3rError('a process of the demo ended by itself; see its words above')
        if time.monotonic() - shown > period_s:
            shown = time.monotonic()
            line = monitor.tally.line()
            print(f'\r{line:<90}' if is_live else line, end='' if is_live else '\n', flush=True)
    if is_live:
        print()


def _write(folder: Path, summary: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / 'summary.json'
    path.write_text(json.dumps(summary, indent=2) + '\n', encoding='utf-8')
    print()
    for name, value in summary.items():
        print(f'  {name:<20} {_in_words(value)}')
    print(f'written to {path}')


def _in_words(value: Any) -> str:
    if isinstance(value, dict):
        return ', '.join(f'{name} {number}' for name, number in value.items()) or 'none'
    return 'not known' if value is None else str(value)


if __name__ == '__main__':
    sys.exit(main())
