# SPDX-License-Identifier: Apache-2.0
"""The view itself: takes parts in from any thread, and draws the newest in a thread of its own.

What comes faster than it is drawn is left out before it costs anything: sources offer a function
that makes the part, and only the newest offer is ever taken up.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from typing import Any

from mast3r_ros.errors import Mast3rError
from mast3r_ros.viewer.controls import Actions
from mast3r_ros.viewer.drawing import Drawing
from mast3r_ros.viewer.flow import Flow
from mast3r_ros.viewer.history import History
from mast3r_ros.viewer.page import Page
from mast3r_ros.viewer.parts import (
    CloudPart,
    ImagePart,
    MatchPart,
    PosePart,
    Sentence,
    StatsPart,
)
from mast3r_ros.viewer.words import Situation

_log = logging.getLogger(__name__)

RATE_HZ = 5.0
"""New clouds and pictures a second, at most."""

_WORDS_PERIOD_S = 0.5
_STALE_S = 2.0  # without a result, the view is waiting
_OF_A_PAIR = frozenset({'cloud', 'matches'})

ImagesOf = Callable[[int, int | None], ImagePart | None]
"""Finds the images of a pair by the stamps of view 1 and, where known, of view 2."""


class Scene:
    """One view and its page.

    :param server: viser's, as :func:`open_server` gives it.
    :param title: the node's or the bag's name.
    :param flow: pause and step; where the source itself waits for its turns, say ``gated`` false.
    :param images_of: finds the images of a pair; without them the cloud's colours stand in.
    """

    def __init__(
        self,
        server: Any,
        title: str,
        *,
        flow: Flow | None = None,
        gated: bool = True,
        rate_hz: float = RATE_HZ,
        images_of: ImagesOf | None = None,
    ) -> None:
        self.flow = flow or Flow()
        self.ended = False
        self._title = title
        self._server = server
        self._gated = gated
        self._period_s = 1.0 / rate_hz
        self._offers: dict[str, Callable[[], Any]] = {}
        self._owed: set[str] = set()  # what the step that is under way still brings
        self._lock = threading.Lock()  # offers, statistics and sentences; held for microseconds
        self._history = History()
        self._stats: StatsPart | None = None
        self._stats_at_s = float('-inf')
        self._sentences: list[Sentence] = []
        self._trouble: Sentence | None = None
        self._wake = threading.Event()
        self._closing = False
        self.page = Page(server, self._actions())
        self._drawing = Drawing(self.page, images_of or (lambda first, second: None))
        self._words_at_s = 0.0
        server.on_client_connect(self._on_browser)
        self._thread = threading.Thread(target=self._run, name='view', daemon=True)
        self._thread.start()

    @property
    def watched(self) -> bool:
        """Whether any browser is open; without one nothing is drawn."""
        return self.page.watched > 0

    def offer_cloud(self, make: Callable[[], CloudPart]) -> None:
        """Offer a newer cloud."""
        self._offer('cloud', make)

    def offer_matches(self, make: Callable[[], MatchPart]) -> None:
        """Offer newer matches."""
        self._offer('matches', make)

    def offer_map(self, make: Callable[[], CloudPart]) -> None:
        """Offer a newer map, in the world; it replaces the one that the view grows by itself."""
        self._offer('map', make)

    def add_pose(self, pose: PosePart) -> None:
        """Take in where camera 1 is."""
        self._drawing.add_pose(pose)

    def add_stats(self, stats: StatsPart) -> None:
        """Take in how a pair went."""
        now_s = time.monotonic()
        with self._lock:
            self._history.add(stats, now_s)
            self._stats, self._stats_at_s = stats, now_s
        self._drawing.scale_source = stats.scale_source

    def say(self, sentences: list[Sentence]) -> None:
        """Replace what is said about the source's health."""
        with self._lock:
            self._sentences = list(sentences)

    def close(self) -> None:
        """Stop drawing and serving."""
        self._closing = True
        self.flow.end()
        self._wake.set()
        self._thread.join(5.0)
        self._server.stop()

    def _offer(self, part: str, make: Callable[[], Any]) -> None:
        with self._lock:
            self._offers[part] = make
        self._wake.set()

    def _run(self) -> None:
        while not self._closing:
            self._wake.wait(_WORDS_PERIOD_S)
            self._wake.clear()
            start_s = time.monotonic()
            try:
                self._draw(start_s)
            except Exception as error:  # the view must outlive whatever it is fed
                _log.exception('the view could not draw')
                self._trouble = Sentence(2, f'the view could not draw: {error!r}')
            rest_s = self._period_s - (time.monotonic() - start_s)
            if rest_s > 0 and not self._closing:
                time.sleep(rest_s)

    def _draw(self, now_s: float) -> None:
        if not self.watched:
            return
        with self._lock:
            offers = {part: self._offers.pop(part) for part in self._due()}
        parts = {part: made for part, make in offers.items() if (made := self._made(make))}
        self._drawing.draw(parts)
        if now_s - self._words_at_s >= _WORDS_PERIOD_S:
            self._words_at_s = now_s
            self._say_all(now_s)

    def _due(self) -> set[str]:
        """Return which offers are taken up now."""
        waiting = set(self._offers)
        if not self._gated or not self.flow.paused:
            return waiting
        if not waiting & self._owed and waiting & _OF_A_PAIR and self.flow.take_turn():
            self._owed = set(_OF_A_PAIR)
        due = waiting & self._owed
        self._owed -= due
        return due

    def _made(self, make: Callable[[], Any]) -> Any:
        """Return the part, or say why it cannot be shown."""
        try:
            part = make()
        except Mast3rError as error:
            self._trouble = Sentence(2, f'a message cannot be shown: {error}')
            return None
        self._trouble = None
        return part

    def _say_all(self, now_s: float) -> None:
        with self._lock:
            self._history.advance(now_s)
            columns = self._history.plotted()
            found = [*self._sentences, *([self._trouble] if self._trouble else [])]
            stats, silent_s = self._stats, now_s - self._stats_at_s
            rate_hz, age_ms = self._history.rate_hz(), self._history.age_ms()
        shown, kept, in_map = self._drawing.counts()
        state = 'waiting' if silent_s > _STALE_S else 'live'
        if self.ended:
            state = 'ended'
        elif self.flow.paused:
            state = 'paused'
        if state == 'waiting' and stats is not None and silent_s < 3600:
            found.append(Sentence(1, f'no new result for {silent_s:.0f} s; the last one is shown'))
        now = Situation(state, self._title, rate_hz, age_ms, stats, shown, kept, in_map)
        self.page.show_words(now, found)
        self.page.controls.show_paused(self.flow.paused)
        self.page.show_history(columns)

    def _actions(self) -> Actions:
        def then(action: Callable[[], None]) -> Callable[[Any], None]:
            def act(_: Any) -> None:
                action()
                self._words_at_s = 0.0
                self._wake.set()

            return act

        return Actions(
            pause=then(lambda: self.flow.toggle()),
            step=then(lambda: self.flow.step()),
            save=self._save,
            look=lambda event: self.page.world.look_from_behind(event.client),
            clear_map=then(lambda: self._drawing.clear_map()),
            changed=then(lambda: self._drawing.redraw()),
        )

    def _save(self, event: Any) -> None:
        """Send the cloud to the browser that asked, which keeps it as a file."""
        if event.client is None:
            return
        file = self._drawing.cloud_file()
        if file is None:
            event.client.add_notification('Nothing to save', 'no cloud has come yet')
        else:
            event.client.send_file_download(*file, save_immediately=True)

    def _on_browser(self, client: Any) -> None:
        self._drawing.redraw()
        self._words_at_s = 0.0
        self._wake.set()
