# SPDX-License-Identifier: Apache-2.0
"""Reading a JSON object entry by entry, each of a stated kind, with errors in words."""

from __future__ import annotations

from collections.abc import Mapping
from enum import Enum
from typing import Any, TypeVar

from mast3r_ros.errors import ModelError

ChoiceT = TypeVar('ChoiceT', bound=Enum)
KindT = TypeVar('KindT')

_NAMES = {
    str: 'text',
    bool: 'true or false',
    int: 'a whole number',
    list: 'a list',
    dict: 'a group',
}


class Entries:
    """The entries of one JSON object; every one must be asked for before :meth:`finish`.

    :param where: what the object is called in an error.
    """

    def __init__(self, values: Any, where: str) -> None:
        if not isinstance(values, dict):
            raise ModelError(f'{where} holds {_shown(values)}; it must be a JSON object')
        self._values = values
        self._where = where
        self._asked: set[str] = set()

    def text(self, name: str) -> str:
        """Return a text."""
        return self._get(name, str)

    def text_if_any(self, name: str) -> str:
        """Return a text, empty where there is no such entry."""
        return self.text(name) if name in self._values else ''

    def boolean(self, name: str) -> bool:
        """Return true or false."""
        return self._get(name, bool)

    def integer(self, name: str) -> int:
        """Return a whole number from 0 up."""
        value = self._get(name, int)
        if value < 0:
            raise ModelError(f'{self._where}: {name} is {value}; it must be at least 0')
        return value

    def mapping(self, name: str) -> Mapping[str, Any]:
        """Return a group whose entries are somebody else's."""
        return self._get(name, dict)

    def group(self, name: str) -> Entries:
        """Return a group to be read in turn."""
        return Entries(self._get(name, dict), f'{self._where}: {name}')

    def items(self, name: str) -> list[Any]:
        """Return a list."""
        return self._get(name, list)

    def groups(self, name: str) -> list[Entries]:
        """Return a list of groups to be read in turn."""
        return [
            Entries(item, f'{self._where}: {name}[{number}]')
            for number, item in enumerate(self.items(name))
        ]

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a list of texts."""
        values = self.items(name)
        for value in values:
            if not isinstance(value, str):
                raise ModelError(f'{self._where}: {name} holds {_shown(value)}; it lists texts')
        return tuple(values)

    def choice(self, name: str, choices: type[ChoiceT]) -> ChoiceT:
        """Return one of a closed list."""
        value = self.text(name)
        for member in choices:
            if member.value == value:
                return member
        allowed = ', '.join(str(member.value) for member in choices)
        raise ModelError(f'{self._where}: {name} is {value!r}; it must be one of {allowed}')

    def finish(self) -> None:
        """Raise if an entry was never asked for."""
        unknown = sorted(set(self._values) - self._asked)
        if unknown:
            raise ModelError(
                f'{self._where} has the unknown entry {unknown[0]!r}; was it written by a newer '
                'mast3r_ros? Update, or export the model anew'
            )

    def _get(self, name: str, kind: type[KindT]) -> KindT:
        self._asked.add(name)
        if name not in self._values:
            raise ModelError(f'{self._where} lacks {name}; export the model anew')
        value = self._values[name]
        if type(value) is not kind:  # True is no number here
            raise ModelError(
                f'{self._where}: {name} is {_shown(value)}; it must be {_NAMES[kind]}'
            )
        return value


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + '...'
