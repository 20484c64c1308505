# SPDX-License-Identifier: Apache-2.0
"""The page: pictures and plots on the left, the world in the middle, words and controls right."""

from __future__ import annotations

from typing import Any

import numpy as np

from mast3r_ros.core.views import ImageArray
from mast3r_ros.viewer import words
from mast3r_ros.viewer.colours import CONFIDENCE, DEPTH
from mast3r_ros.viewer.controls import Actions, Controls
from mast3r_ros.viewer.parts import Sentence
from mast3r_ros.viewer.pictures import WIDTH
from mast3r_ros.viewer.plots import Plots
from mast3r_ros.viewer.world import World

_LEFT_PX = 400
_RIGHT_PX = 290
_JPEG_QUALITY = 80


class Page:
    """Everything a browser sees.

    :param server: viser's, as :func:`open_server` gives it.
    """

    def __init__(self, server: Any, actions: Actions) -> None:
        self._server = server
        gui = server.gui
        gui.configure_theme(
            dark_mode=True, show_logo=False, show_share_button=False, brand_color=(86, 180, 233)
        )
        gui.set_panel_label('mast3r_ros')
        self.world = World(server)
        left = gui.add_panel()
        with left.add_tab('What the cameras see'):
            self._pair_caption = gui.add_html(words.caption('Waiting for images'))
            self._pair = gui.add_image(_blank(300), jpeg_quality=_JPEG_QUALITY)
            self._maps = gui.add_image(_blank(300), jpeg_quality=_JPEG_QUALITY)
            self._scales = gui.add_html('')
            self._plots = Plots(gui)
        self._headline = gui.add_html('')
        self._sentences = gui.add_html('')
        self.controls = Controls(gui, actions)
        left.dock_left()
        left.set_width(_LEFT_PX)
        gui.main_panel.dock_right()
        gui.main_panel.set_width(_RIGHT_PX)

    @property
    def watched(self) -> int:
        """How many browsers are open."""
        return len(self._server.get_clients())

    def look_from_behind(self) -> None:
        """Put every eye behind the camera: those of open browsers and of later ones."""
        self.world.look_from_behind()
        for client in self._server.get_clients().values():
            self.world.look_from_behind(client)

    def show_words(self, now: words.Situation, found: list[Sentence]) -> None:
        """Show state, figures and sentences."""
        self._headline.content = words.headline(now)
        self._sentences.content = words.sentences(found)

    def show_pair(self, picture: ImageArray, caption: str) -> None:
        """Show both images with their matches."""
        self._pair_caption.content = words.caption(caption)
        self._pair.image = picture

    def show_maps(
        self,
        picture: ImageArray,
        depth_ends: tuple[float, float],
        confidence_ends: tuple[float, float],
        shown_from: float,
        unit: str,
    ) -> None:
        """Show depth beside confidence, each over its scale."""
        self._maps.image = picture
        near, far = depth_ends
        self._scales.content = words.scales(
            words.scale('Depth: bright is near', far, near, unit, DEPTH),
            words.scale(
                f'Confidence: shown from {shown_from:.2f}', *confidence_ends, '', CONFIDENCE
            ),
        )

    def show_history(self, columns: tuple[Any, ...]) -> None:
        """Show the plots."""
        self._plots.show(columns)


def _blank(height: int) -> ImageArray:
    return np.full((height, WIDTH, 3), 40, np.uint8)
