# SPDX-License-Identifier: Apache-2.0
"""make pictures: what README and docs show, drawn anew from the simulated flight.

All are the same bytes on every run with the same libraries, but for the browser's page.
"""

from __future__ import annotations

import contextlib
import io
import json
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import yaml
from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / 'docs' / 'pictures'
sys.path.append(str(ROOT / 'test'))

from mast3r_ros.cli import match  # noqa: E402
from mast3r_ros.core.views import ImageArray  # noqa: E402
from mast3r_ros.sim.config import SimConfig  # noqa: E402
from mast3r_ros.viewer.lettering import write  # noqa: E402
from mast3r_ros.viewer.value_maps import TITLE_PX  # noqa: E402

MOST_BYTES = 200_000
"""What one picture may take in the repository."""

PAIR = 40
"""Frame of the flight of which depth, confidence and error are shown."""

FLIGHT = SimConfig(width=480, height=360)
LOOP_HZ = 5.0  # of the frames whose path is followed, once around
_GEOMETRIC = ('--backend', 'geometric')
_MATCH_STEP_PX = 24  # wider than usual, so that the picture below the matches can be seen
_COLOURS = 256  # of a PNG with a palette
_JPEG_QUALITY = 82
_SAME_PAGE = 6.0  # mean difference in grey levels of two pages that show the same
_DIAGRAM_PX = 260  # the first of four diagrams of errors: that of the position
_PAGE_FRAMES = range(20, 41, 2)
_PAGE_PORT = 18900
_FEED_S = 0.5
_SETTLE_S = 4.0


def main() -> int:
    """Draw every picture that this machine can draw."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        of_a_pair(Path(folder))
        of_two_frames(Path(folder))
    of_a_way()
    of_the_page()
    return 0


def of_a_pair(folder: Path) -> None:
    """Draw what mast3r-match draws of one stereo pair and its true depth."""
    report = run_match(words_for_a_pair(folder))
    print(f'error of the depth: {report["depth_error"]}')
    drawn = {name: read(folder / f'{name}.png') for name in ('depth', 'confidence', 'error')}
    for name, picture in drawn.items():
        save(f'{name}.png', picture)
    left = titled('left image', read(folder / 'left.png'))
    save('overview.jpg', side_by_side([left, drawn['depth'], drawn['error']]))


def of_two_frames(folder: Path) -> None:
    """Draw what mast3r-match finds between two frames of one camera, half a second apart."""
    from support.drone_flight import flight

    shots = flight(PAIR + 1, width=FLIGHT.width)
    words = [str(folder / 'earlier.png'), str(folder / 'later.png')]
    for path, shot in zip(words, (shots[PAIR - 7], shots[PAIR]), strict=True):
        Image.fromarray(shot.left).save(path)
    settings = folder / 'settings.yaml'
    settings.write_text(yaml.safe_dump({'matching': {'subsample': _MATCH_STEP_PX}}))
    picture = str(folder / 'matches.png')
    run_match([*words, '--picture', picture, '--config', str(settings), *_GEOMETRIC])
    save('matches.jpg', read(folder / 'matches.png'))


def run_match(words: list[str]) -> dict[str, Any]:
    """Run mast3r-match and return what it reports."""
    with contextlib.redirect_stdout(io.StringIO()) as said:
        code = match.main([*words, '--json'])
    if code != 0:
        raise SystemExit('mast3r-match failed')
    return dict(json.loads(said.getvalue()))


def words_for_a_pair(folder: Path) -> list[str]:
    """Write a stereo pair, its calibration and its true depth; return what matches it."""
    from mast3r_ros.sim.pair_files import write_pair

    write_pair(folder, FLIGHT, PAIR)
    words = [str(folder / 'left.png'), str(folder / 'right.png')]
    for number, name in enumerate(('left', 'right'), 1):
        words += [f'--calibration-{number}', str(folder / f'{name}.yaml')]
    for option in ('depth', 'confidence', 'error'):
        words += [f'--{option}', str(folder / f'{option}.png')]
    words += ['--picture', '', '--truth', str(folder / 'depth.npy'), '--rectified']
    return [*words, *_GEOMETRIC]


def of_a_way() -> None:
    """Draw the path of the whole flight, as it was followed and as it was."""
    from support.drone_flight import flight

    from mast3r_ros.config import PipelineConfig
    from mast3r_ros.core.worker import EngineWorker
    from mast3r_ros.engines.geometric.engine import GeometricEngine
    from mast3r_ros.sequence.accuracy import evaluate
    from mast3r_ros.sequence.accuracy_picture import draw_errors, draw_paths
    from mast3r_ros.sequence.answers import EngineAnswers
    from mast3r_ros.sequence.tracker import Tracker
    from mast3r_ros.sequence.trajectory import Trajectory

    shots = flight(round(16.0 * LOOP_HZ), width=320, rate_hz=LOOP_HZ)
    config = PipelineConfig()
    with EngineWorker(lambda: GeometricEngine(config)) as worker:
        worker.wait_ready()
        tracker = Tracker(EngineAnswers(worker, config))
        found = [tracker.track(shot.frame()) for shot in shots]
    placed = [frame for frame in found if frame.keyframe is not None]
    accuracy = evaluate(
        Trajectory.of([frame.stamp_ns for frame in placed], [f.T_world_camera for f in placed]),
        Trajectory.of([shot.stamp_ns for shot in shots], [shot.T_world_left for shot in shots]),
        with_scale=False,
    )
    error = accuracy.summary()['ate_m']
    print(
        f'{len(placed)} of {len(shots)} frames placed over {accuracy.truth.length:.2f} m, '
        f'ATE RMSE {error.rmse:.4f} m'
    )
    of_position = draw_errors(accuracy)[:_DIAGRAM_PX]
    save('trajectory.png', np.vstack([draw_paths(accuracy), of_position]))


def of_the_page() -> None:
    """Take a picture of the browser's page, where there is a browser."""
    from support import browser

    if browser.found() is None:
        print('page.jpg stays as it is: it needs chromium')
        return
    with tempfile.TemporaryDirectory() as folder, browser.browser(Path(folder)) as running:
        picture = shot_of_the_page(running)
    path = FOLDER / 'page.jpg'
    if path.is_file() and looks_the_same(read(path), picture):
        print('page.jpg stays as it is: nothing but its figures changed')
        return
    save('page.jpg', picture)


def shot_of_the_page(running: Any) -> ImageArray:
    """Return the page after a piece of the flight with known poses."""
    from mast3r_ros.viewer.image_store import ImageStore
    from mast3r_ros.viewer.scene import Scene
    from mast3r_ros.viewer.server import address_of, open_server

    store, server = ImageStore(), open_server(port=_PAGE_PORT)
    scene = Scene(server, 'simulated flight', images_of=store.find)
    page = running.open(address_of(server))
    try:
        page.until(lambda: scene.watched, 'the browser looking')
        results = answered(_PAGE_FRAMES)
        for result in results:
            feed(scene, store, result)
            time.sleep(0.4)
        page.until(lambda: ' in the map' in page.text(), 'the map')
        with fed_on(lambda: feed(scene, store, results[-1])):  # else the page says that it waits
            time.sleep(_SETTLE_S)  # the last pair stays, and is drawn whatever else is going on
            page.run(_CLOSE_NOTICES)
            page.until(lambda: is_at_rest(page.text()), 'the page being live, without notices')
            return np.asarray(page.screenshot(), np.uint8)
    finally:
        page.close()
        scene.close()


def is_at_rest(text: str) -> bool:
    """Return whether the page shows the newest pair and nothing lies over it."""
    return 'LIVE' in text and 'Software WebGL' not in text


@contextlib.contextmanager
def fed_on(feed_once: Callable[[], None]) -> Iterator[None]:
    """Go on feeding the page meanwhile: to take its picture can take seconds."""
    over = threading.Event()

    def work() -> None:
        while not over.wait(_FEED_S):
            feed_once()

    thread = threading.Thread(target=work, name='feeding the page')
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


_CLOSE_NOTICES = """(() => {
  const notices = '[class*="Notification-closeButton"]';
  document.querySelectorAll(notices).forEach(button => button.click());
})()"""  # viser's, that a browser without a graphics card draws slowly


def answered(frames: range) -> list[SimpleNamespace]:
    """Return pairs of the flight: what was seen, from where, and the engine's answer."""
    from support.drone_flight import flight

    from mast3r_ros.config import NodeConfig
    from mast3r_ros.core.pipeline import Pipeline
    from mast3r_ros.core.worker import EngineWorker
    from mast3r_ros.engines.geometric.engine import GeometricEngine

    config = NodeConfig()
    shots = flight(frames.stop, width=FLIGHT.width)
    found = []
    with EngineWorker(lambda: GeometricEngine(config)) as worker:
        worker.wait_ready()
        pipeline = Pipeline(worker, config)
        for number in frames:
            frame = shots[number].frame()
            pipeline.pair_up('left', frame.view)
            assert frame.right is not None
            (pair,) = pipeline.pair_up('right', frame.right)
            found.append(SimpleNamespace(shot=shots[number], result=pipeline.process(pair)))
    return found


def feed(scene: Any, store: Any, answer: SimpleNamespace) -> None:
    """Hand one answer to the view, as a node would."""
    from mast3r_ros.viewer.parts import CloudPart, MatchPart, PosePart, StatsPart

    shot, result, stamp = answer.shot, answer.result, answer.shot.stamp_ns
    cloud, matches = result.cloud_1, result.matches
    size = (shot.left.shape[1], shot.left.shape[0])
    for camera, image in (('left', shot.left), ('right', shot.right)):
        store.add(camera, stamp, image.nbytes, lambda image=image: image)
    scene.add_pose(PosePart(stamp, shot.T_world_left))
    scene.offer_cloud(lambda: CloudPart(stamp, cloud.points, cloud.grid.image, cloud.confidence))
    scene.offer_matches(
        lambda: MatchPart(stamp, stamp, size, size, matches.uv_1, matches.uv_2, matches.confidence)
    )
    info, spent = result.engine, sum(result.timing_ms[name] for name in ('encode', 'decode'))
    scene.add_stats(
        StatsPart(
            stamp,
            info.name,
            info.device,
            age_ms=spent + 5.0,
            stages_ms={'decode': spent},
            matches=len(matches),
            scale_source=result.scale.source.value,
        )
    )


def titled(title: str, picture: ImageArray) -> ImageArray:
    """Return a picture below its title, placed as the maps are."""
    height, width = picture.shape[:2]
    sheet = np.full((TITLE_PX + height, width, 3), 255, np.uint8)
    sheet[TITLE_PX:] = picture
    write(sheet, title, 8, TITLE_PX / 2)
    return sheet


def side_by_side(pictures: list[ImageArray], gap: int = 12) -> ImageArray:
    """Return pictures in a row on white, level at the top."""
    height = max(picture.shape[0] for picture in pictures)
    columns = []
    for picture in pictures:
        column = np.full((height, picture.shape[1] + gap, 3), 255, np.uint8)
        column[: picture.shape[0], : picture.shape[1]] = picture
        columns.append(column)
    return np.hstack(columns)


def looks_the_same(one: ImageArray, other: ImageArray) -> bool:
    """Return whether two pages differ in figures and noise alone."""
    if one.shape != other.shape:
        return False
    return float(np.abs(one.astype(int) - other).mean()) < _SAME_PAGE


def read(path: Path) -> ImageArray:
    """Return a picture as RGB (H, W, 3)."""
    with Image.open(path) as picture:
        return np.array(picture.convert('RGB'))


def save(name: str, picture: ImageArray) -> None:
    """Write a picture small: drawings with a palette, photographs as JPEG."""
    path = FOLDER / name
    image = Image.fromarray(picture)
    encode: dict[str, Callable[[], None]] = {
        '.png': lambda: image.quantize(_COLOURS).save(path, optimize=True),
        '.jpg': lambda: image.save(path, quality=_JPEG_QUALITY, optimize=True),
    }
    encode[path.suffix]()
    size = path.stat().st_size
    print(f'{path.relative_to(ROOT)}: {picture.shape[1]}x{picture.shape[0]}, {size} bytes')
    if size > MOST_BYTES:
        raise SystemExit(f'{name} takes {size} bytes; at most {MOST_BYTES} may go in')


if __name__ == '__main__':
    sys.exit(main())
