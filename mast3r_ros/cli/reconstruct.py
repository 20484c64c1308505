# SPDX-License-Identifier: Apache-2.0
"""mast3r-reconstruct: from a video, images or a bag to a trajectory, a map and a run folder."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mast3r_ros.cli.command import (
    add_engine_options,
    engine_config,
    make_parser,
    run_command,
)
from mast3r_ros.cli.progress import Progress
from mast3r_ros.errors import InvalidInput

if TYPE_CHECKING:
    from mast3r_ros.config import NodeConfig
    from mast3r_ros.core.cameras import Camera
    from mast3r_ros.sequence.picture_sources import FrameSource, Selection
    from mast3r_ros.sequence.run import SequenceRun
    from mast3r_ros.sequence.run_folder import RunFolder

_EXAMPLES = """\
  mast3r-reconstruct walk.mp4 --backend geometric --calibration camera.yaml
  mast3r-reconstruct frames/ --rate 15 --stride 2 --frames 200 --size 640
  mast3r-reconstruct flight --mode stereo --backend geometric --output run
  mast3r-reconstruct a.png b.png c.png --keep depth,rgb --confidence 2
"""
_PARTS = ('depth', 'depth_color', 'confidence', 'rgb', 'dynamic')


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = make_parser(
        'mast3r-reconstruct',
        'Follow a moving camera: poses of all frames, depth of each, and a map of all of them, '
        'written to a run folder.',
        _EXAMPLES,
    )
    parser.add_argument(
        'input', nargs='+', metavar='INPUT', help='a video, images, a folder of images, or a bag'
    )
    parser.add_argument('--output', metavar='DIR', help='the run folder (INPUT_run, here)')
    parser.add_argument('--force', action='store_true', help='replace an older run there')
    parser.add_argument(
        '--resume', action='store_true', help='go on with a run there that was interrupted'
    )
    parser.add_argument(
        '--keep',
        default=','.join(_PARTS),
        metavar='A,B',
        help=f"what is written of each frame, '' for nothing ({','.join(_PARTS)})",
    )
    parser.add_argument('--json', action='store_true', help='print JSON instead of text')
    _add_input_options(parser)
    add_engine_options(parser)
    return run_command(parser, _run, argv)


def _add_input_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group('input')
    group.add_argument('--stride', type=int, default=1, metavar='N', help='every n-th frame (1)')
    group.add_argument('--frames', type=int, metavar='N', help='end after so many')
    group.add_argument('--size', type=int, metavar='PX', help='scale down to this long side')
    group.add_argument('--rate', type=float, metavar='HZ', help='of images (30), or of the video')
    group.add_argument(
        '--calibration', metavar='YAML', help='ROS camera calibration of the video or images'
    )
    group.add_argument(
        '--rectified', action='store_true', help='they are rectified: use P, no distortion'
    )
    group.add_argument(
        '--confidence', type=float, metavar='C', help='leave points below out (1 is none)'
    )
    group.add_argument(
        '--tracking-resolution',
        type=int,
        metavar='PX',
        help='place frames with a smaller input of this long side, keyframes with --resolution',
    )
    group.add_argument('--mode', choices=('stereo', 'sequence'), help='bag: cameras to use')
    for name in ('left', 'right', 'image'):
        group.add_argument(f'--{name}', metavar='TOPIC', help=f'bag: images of the camera {name}')
        group.add_argument(f'--{name}-info', metavar='TOPIC', help='bag: its calibration')


def _run(arguments: argparse.Namespace) -> int:
    from mast3r_ros.cli.following import follow, tell

    config = _config(arguments)
    progress = Progress(sys.stderr, 'mast3r-reconstruct')
    settings = _settings(arguments, config)
    path = Path(arguments.output or f'{Path(arguments.input[0]).resolve().stem}_run')
    try:
        with _source(arguments, config, progress) as source:
            report = follow(
                source,
                config,
                lambda run: _folder(arguments, path, run, settings),
                ' '.join(arguments.input),
                progress,
                settings,
            )
        return tell(report, path, progress, as_json=arguments.json)
    finally:
        progress.close()


def _folder(
    arguments: argparse.Namespace, path: Path, run: SequenceRun, settings: str
) -> RunFolder:
    """Return the run folder, a new one or that of the run that goes on."""
    from mast3r_ros.sequence.checkpoint import read_checkpoint
    from mast3r_ros.sequence.run_folder import RunFolder

    parts = [name.strip() for name in arguments.keep.split(',') if name.strip()]
    if not arguments.resume or not path.exists():
        return RunFolder(path, parts, replace=arguments.force)
    resumed = read_checkpoint(path)
    if resumed is None:
        raise InvalidInput(f'{path} holds no interrupted run; there is nothing to go on with')
    if resumed.settings != settings:
        raise InvalidInput(
            f'the run in {path} was begun with other input or settings; repeat the same command '
            'with --resume, or begin anew with --force'
        )
    run.restore(resumed)
    return RunFolder(path, parts, resume_at=resumed.done)


def _settings(arguments: argparse.Namespace, config: NodeConfig) -> str:
    """Return what must be the same for a run to go on; it may go on for longer."""
    options = vars(arguments)
    names = ('input', 'stride', 'size', 'rate', 'calibration', 'rectified', 'keep')
    return json.dumps([{name: options[name] for name in names}, config.to_dict()], sort_keys=True)


def _config(arguments: argparse.Namespace) -> NodeConfig:
    config = engine_config(arguments)
    if arguments.confidence is not None:
        limit = arguments.confidence
        config = config.replace(
            cloud=config.cloud.replace(confidence_threshold=limit),
            sequence=config.sequence.replace(map_confidence=limit),
        )
    if arguments.tracking_resolution is not None:
        small = {'tracking_resolution': arguments.tracking_resolution}
        config = config.replace(model=config.model.replace(**small))
    if arguments.mode is not None:
        config = config.replace(pairing=config.pairing.replace(mode=arguments.mode))
    return config


@contextmanager
def _source(
    arguments: argparse.Namespace, config: NodeConfig, progress: Progress
) -> Iterator[FrameSource]:
    from mast3r_ros.sequence.picture_sources import (
        VIDEO_ENDINGS,
        ImageFiles,
        Selection,
        Video,
        images_in,
    )

    selection = Selection(arguments.stride, arguments.frames, arguments.size)
    paths = [Path(name) for name in arguments.input]
    first = paths[0]
    missing = [path for path in paths if not path.exists()]
    if missing:
        raise InvalidInput(f'{missing[0]} does not exist')
    if len(paths) == 1 and _is_bag(first):
        with _bag_frames(arguments, config, selection, progress) as source:
            yield source
        return
    camera = _camera(arguments)
    if len(paths) == 1 and first.suffix.lower() in VIDEO_ENDINGS:
        yield Video(first, camera, selection, arguments.rate)
        return
    files = images_in(first) if len(paths) == 1 and first.is_dir() else paths
    yield ImageFiles(files, arguments.rate or 30.0, camera, selection)


def _is_bag(path: Path) -> bool:
    if path.is_dir():
        return (path / 'metadata.yaml').is_file() or any(path.glob('*.mcap'))
    return path.suffix.lower() in ('.mcap', '.db3')


@contextmanager
def _bag_frames(
    arguments: argparse.Namespace, config: NodeConfig, selection: Selection, progress: Progress
) -> Iterator[FrameSource]:
    from mast3r_ros.bags.bag import Bag
    from mast3r_ros.bags.camera_topics import Asked, choose_cameras
    from mast3r_ros.bags.recorded import Notices
    from mast3r_ros.bags.sequence_frames import BagFrames

    if arguments.calibration:
        raise InvalidInput('--calibration is for videos and images; a bag has its camera_info')
    options = vars(arguments)
    asked = {
        name: Asked(options[name], options[f'{name}_info'], None)
        for name in ('left', 'right', 'image')
    }
    notices = Notices(progress.say)
    with Bag(arguments.input[0], notices) as bag:
        cameras = choose_cameras(bag.topics, config, asked)
        for camera in cameras:
            progress.say(str(camera))
        yield BagFrames(bag, cameras, config, selection, notices)


def _camera(arguments: argparse.Namespace) -> Camera | None:
    from mast3r_ros.core.calibration_files import load_camera

    if not arguments.calibration:
        return None
    return load_camera(arguments.calibration, rectified=arguments.rectified)


if __name__ == '__main__':
    sys.exit(main())
