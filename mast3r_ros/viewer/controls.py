# SPDX-License-Identifier: Apache-2.0
"""What a person can set on the page; all browsers share it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mast3r_ros.viewer.selection import COLOUR_BY

POINT_BUDGET = 60_000
"""Points sent at once unless the page asks for others; 9 bytes each."""
MAP_BUDGET = 150_000
"""Points of the map shown, likewise; 15 bytes each."""


@dataclass(frozen=True)
class Settings:
    """Where the page's controls stand."""

    colour_by: str = COLOUR_BY[0]
    hidden_percent: float = 5.0
    farthest: float = 30.0
    point_size: float = 1.0  # times the distance of neighbours
    budget: int = POINT_BUDGET
    follow: bool = True
    show_map: bool = True
    map_budget: int = MAP_BUDGET


@dataclass(frozen=True)
class Actions:
    """What the page's buttons do; each is handed the event of the browser that pressed it."""

    pause: Callable[[Any], None]
    step: Callable[[Any], None]
    save: Callable[[Any], None]
    look: Callable[[Any], None]
    clear_map: Callable[[Any], None]
    changed: Callable[[Any], None]


class Controls:
    """Buttons and sliders, in the panel where they are made.

    :param gui: viser's.
    """

    def __init__(self, gui: Any, actions: Actions) -> None:
        start = Settings()
        self._pause = gui.add_button('Pause', hint='Let the page stand still; the node goes on')
        self._step = gui.add_button('One more pair', hint='Show the next pair and stand still')
        self._save = gui.add_button(
            'Save cloud (PLY)', hint='All points of this pair that the limits below let pass'
        )
        with gui.add_folder('Cloud'):
            self._colour_by = gui.add_dropdown('Colour', COLOUR_BY, initial_value=start.colour_by)
            self._hidden = gui.add_slider(
                'Hide worst %', 0, 95, 1, start.hidden_percent,
                hint='The share of the points with the least confidence that is not shown',
            )  # fmt: skip
            self._farthest = gui.add_slider(
                'Farthest', 1, 100, 1, start.farthest,
                hint='Points farther ahead are not shown: metres, or tenths of the median depth '
                'where there is no unit',
            )  # fmt: skip
            self._size = gui.add_slider('Point size', 0.2, 4, 0.1, start.point_size)
            self._budget = gui.add_slider(
                'Points at most', 5_000, 300_000, 5_000, start.budget,
                hint='More is finer and needs a faster network and browser',
            )  # fmt: skip
            self._follow = gui.add_checkbox('Follow camera', start.follow)
            look = gui.add_button('Look from behind the camera')
        self._map_folder = gui.add_folder('Map', visible=False)
        with self._map_folder:
            self._show_map = gui.add_checkbox('Show the map', start.show_map)
            self._map_budget = gui.add_slider(
                'Map points at most', 10_000, 600_000, 10_000, start.map_budget
            )
            clear = gui.add_button('Clear the map')
        for button, action in (
            (self._pause, actions.pause),
            (self._step, actions.step),
            (self._save, actions.save),
            (look, actions.look),
            (clear, actions.clear_map),
        ):
            button.on_click(action)
        for handle in (
            self._colour_by, self._hidden, self._farthest, self._size, self._budget,
            self._follow, self._show_map, self._map_budget,
        ):  # fmt: skip
            handle.on_update(actions.changed)

    @property
    def settings(self) -> Settings:
        """Where the controls stand now."""
        return Settings(
            self._colour_by.value,
            float(self._hidden.value),
            float(self._farthest.value),
            float(self._size.value),
            int(self._budget.value),
            bool(self._follow.value),
            bool(self._show_map.value),
            int(self._map_budget.value),
        )

    def show_paused(self, paused: bool) -> None:
        """Have the button say what it does next."""
        self._pause.label = 'Go on' if paused else 'Pause'

    def show_map_controls(self) -> None:
        """Bring the map's controls up, once there is a map."""
        self._map_folder.visible = True
