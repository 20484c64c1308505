# SPDX-License-Identifier: Apache-2.0
"""What all commands share: help with examples, one-line errors, exit codes, settings options."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from mast3r_ros import __version__
from mast3r_ros.errors import Mast3rError

if TYPE_CHECKING:
    from mast3r_ros.config import NodeConfig

EXIT_FAILED = 1
EXIT_INTERRUPTED = 130

_EXIT_CODES = (
    'exit codes: 0 done, 1 it failed (one line says why), 2 wrong use of the command, '
    '130 stopped by Ctrl-C'
)


def make_parser(name: str, purpose: str, examples: str) -> argparse.ArgumentParser:
    """Return a parser whose help ends with examples and the exit codes."""
    parser = argparse.ArgumentParser(
        prog=name,
        description=purpose,
        epilog=f'examples:\n{examples}\n{_EXIT_CODES}',
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument('--version', action='version', version=f'mast3r_ros {__version__}')
    parser.add_argument('--debug', action='store_true', help='show the whole trace of an error')
    parser.add_argument('-v', '--verbose', action='store_true', help='say what is being done')
    return parser


def run_command(
    parser: argparse.ArgumentParser,
    work: Callable[[argparse.Namespace], int],
    argv: Sequence[str] | None,
) -> int:
    """Parse the words, do the work and turn every outcome into an exit code."""
    arguments = parser.parse_args(argv)
    level = logging.INFO if arguments.verbose else logging.WARNING
    logging.basicConfig(level=level, format=f'{parser.prog}: %(message)s', stream=sys.stderr)
    try:
        return work(arguments)
    except KeyboardInterrupt:
        print(f'{parser.prog}: stopped', file=sys.stderr)
        return EXIT_INTERRUPTED
    except BrokenPipeError:
        # Whoever read our output has left; nothing more is to be said to them.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILED
    except (Mast3rError, OSError) as error:
        if arguments.debug:
            raise
        print(f'{parser.prog}: error: {error}', file=sys.stderr)
        return EXIT_FAILED
    finally:
        # Under `python -m`, CPython dies of SIGINT in place of our exit code if Ctrl-C once struck
        # inside exec() of a text, even when it was caught. Another exec() makes it forget that.
        exec('')


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose network and engine."""
    group = parser.add_argument_group('engine')
    group.add_argument('--config', metavar='FILE', help='settings as YAML; options override them')
    group.add_argument('--backend', help='engine: auto, geometric, ... (mast3r-info lists them)')
    group.add_argument('--variant', help='network, such as dune_vit_small')
    group.add_argument(
        '--model', metavar='DIR', help="exported model folder, instead of the variant's own"
    )
    group.add_argument('--resolution', type=int, metavar='PX', help='long side of the input')
    group.add_argument('--threads', type=int, metavar='N', help='processor threads, 0 for all')


def engine_config(arguments: argparse.Namespace) -> NodeConfig:
    """Return the settings that file and options amount to."""
    from mast3r_ros.config import NodeConfig

    path = arguments.config
    config = NodeConfig.from_yaml(path) if path else NodeConfig()
    model = _given(
        variant=arguments.variant, resolution=arguments.resolution, path=arguments.model
    )
    runtime = _given(backend=arguments.backend, num_threads=arguments.threads)
    return config.replace(
        model=config.model.replace(**model), runtime=config.runtime.replace(**runtime)
    )


def size_option(text: str) -> tuple[int, int]:
    """Read ``640x480`` as width and height."""
    width, _, height = text.partition('x')
    if not (width.isdigit() and height.isdigit() and int(width) and int(height)):
        raise argparse.ArgumentTypeError(f'{text!r} is no size; write it like 640x480')
    return int(width), int(height)


def _given(**options: object) -> dict[str, object]:
    return {name: value for name, value in options.items() if value is not None}
