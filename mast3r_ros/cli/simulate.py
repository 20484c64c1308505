# SPDX-License-Identifier: Apache-2.0
"""mast3r-simulate: pictures, calibrations, a bag and the truth of them, to try all else with."""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.cli.command import make_parser, run_command, size_option
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.sim.config import SimConfig

_NAME = 'mast3r-simulate'
_EXAMPLES = """\
  mast3r-simulate                       (left.png, right.png, ... in this folder)
  mast3r-simulate try --size 1280x720
  mast3r-simulate try --bag             (also a bag try/flight, and the true path try/truth.txt)
"""
_BAG, _PATH = 'flight', 'truth.txt'
_RATE_HZ = 10.0
_LONGEST_S = 16.0  # one loop over the scene
_PAIR = 27  # of the flight: boxes near and far


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        _NAME,
        'Write a rectified stereo pair of the simulated drone, its calibration and true depth; '
        'with --bag also a piece of its flight, and the true path.',
        _EXAMPLES,
    )
    parser.add_argument(
        'folder', metavar='DIR', nargs='?', default='.', help='folder for the files (this one)'
    )
    parser.add_argument(
        '--size', type=size_option, default=(640, 480), metavar='WxH', help='of images (640x480)'
    )
    parser.add_argument(
        '--bag', action='store_true', help=f'also write a rosbag2 bag: DIR/{_BAG} and DIR/{_PATH}'
    )
    parser.add_argument(
        '--seconds', type=float, default=5.0, metavar='S', help='length of the bag (5)'
    )
    parser.add_argument('--force', action='store_true', help='replace older files of these names')
    return run_command(parser, _run, argv)


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.sim.config import SimConfig
    from mast3r_ros.sim.pair_files import PAIR_FILES, write_pair

    if not 1.0 / _RATE_HZ <= arguments.seconds <= _LONGEST_S:
        raise InvalidInput(
            f'--seconds is {arguments.seconds:g}; allowed are {1.0 / _RATE_HZ:g} to {_LONGEST_S:g}'
        )
    width, height = arguments.size
    config = SimConfig(width=width, height=height, rate_hz=_RATE_HZ, duration_s=_LONGEST_S)
    folder = Path(arguments.folder)
    names = (*PAIR_FILES, *((_BAG, _PATH) if arguments.bag else ()))
    _check(folder, names, replace=arguments.force)
    with _arriving_in(folder, names) as unfinished:
        write_pair(unfinished, config, _PAIR)
        if arguments.bag:
            _write_bag(unfinished, config, round(arguments.seconds * _RATE_HZ))
    for name in names:
        print(folder / name)
    return 0


def _write_bag(folder: Path, config: SimConfig, pairs: int) -> None:
    from mast3r_ros.bags.flight_bag import write_flight
    from mast3r_ros.cli.progress import Progress
    from mast3r_ros.sequence.trajectory import write_tum

    progress = Progress(sys.stderr, _NAME)
    try:
        path = write_flight(
            folder / _BAG,
            config,
            pairs,
            lambda done: progress.show(done / pairs, f'{done} pairs'),
        )
    finally:
        progress.close()
    write_tum(folder / _PATH, path)


def _check(folder: Path, names: Sequence[str], *, replace: bool) -> None:
    """Refuse to write over what is there; ask before the work."""
    from mast3r_ros.bags.result_bag import check_target

    for name in names:
        path = folder / name
        if name == _BAG:
            check_target(path, folder, replace=replace)
        elif path.is_dir() or (path.exists() and not replace):
            raise InvalidInput(
                f'{path} exists already; give another folder, or --force to replace it'
            )


@contextmanager
def _arriving_in(folder: Path, names: Sequence[str]) -> Iterator[Path]:
    """Give a folder to work in; what is made there takes its place when all of it is done."""
    from mast3r_ros.bags.result_bag import clear_target

    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix='.unfinished-', dir=folder) as unfinished:
            yield Path(unfinished)
            for name in names:
                if name == _BAG:
                    clear_target(folder / name)
                (Path(unfinished) / name).replace(folder / name)
    except OSError as error:
        raise InvalidInput(f'cannot write into {folder}: {error.strerror or error}') from error


if __name__ == '__main__':
    sys.exit(main())
