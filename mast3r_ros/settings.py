# SPDX-License-Identifier: Apache-2.0
"""The base class of all settings: pydantic 1.10 or 2 underneath, YAML in and out, errors in words.

Ubuntu 24.04 ships pydantic 1.10 and pip installs 2; all that differs between them stays here.
"""

from __future__ import annotations

import difflib
import enum
import numbers
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pydantic
import yaml

from mast3r_ros.errors import ConfigError

PYDANTIC_2 = pydantic.VERSION.startswith('2.')
SettingsT = TypeVar('SettingsT', bound='Settings')

_MISFIT = object()  # fits no setting


@dataclass(frozen=True)
class Setting:
    """What is known of one setting: what parameters, YAML comments and tables are made from."""

    name: str
    type: Any
    default: Any
    meaning: str
    low: float | None
    high: float | None
    unit: str
    dynamic: bool  # may change while running; otherwise only before the engine loads

    @property
    def nothing(self) -> Any:
        """What stands for None in files and ROS parameters, which have no null; else None."""
        return _nothing(self.type)

    @property
    def allowed(self) -> str:
        """The allowed values in words."""
        return _allowed(self.type, self.low, self.high)


def setting(
    default: Any,
    meaning: str,
    *,
    low: float | None = None,
    high: float | None = None,
    unit: str = '',
    dynamic: bool = False,
) -> Any:
    """Declare one setting of a :class:`Settings` class.

    :param default: its value when nothing is said.
    :param meaning: one sentence for users.
    :param low: smallest allowed value.
    :param high: largest allowed value.
    :param unit: unit in words, empty where there is none.
    :param dynamic: whether it may change while running.
    """
    facts = {'low': low, 'high': high, 'unit': unit, 'dynamic': dynamic}
    extra: dict[str, Any] = {'json_schema_extra': facts} if PYDANTIC_2 else facts
    return pydantic.Field(default, description=meaning, ge=low, le=high, **extra)


class Settings(pydantic.BaseModel):
    """A group of settings: immutable, no unknown keys, every problem a :class:`ConfigError`."""

    if PYDANTIC_2:
        model_config = pydantic.ConfigDict(
            extra='forbid', frozen=True, validate_default=True, protected_namespaces=()
        )
    else:

        class Config:  # noqa: D106 - pydantic 1's way to set these
            extra = 'forbid'
            frozen = True
            validate_all = True

    def __init__(self, **values: Any) -> None:
        hints = typing.get_type_hints(type(self))
        given = {name: _as_given(value, hints.get(name)) for name, value in values.items()}
        try:
            super().__init__(**given)
        except pydantic.ValidationError as error:
            raise ConfigError(_problems(type(self), error, values)) from None

    @classmethod
    def describe(cls) -> list[Setting]:
        """Every setting of this group, in the order of declaration."""
        hints = typing.get_type_hints(cls)
        return [_describe_field(name, hints[name], field) for name, field in _fields(cls).items()]

    def replace(self: SettingsT, **changes: Any) -> SettingsT:
        """Return a copy with some settings changed, checked like any other."""
        current = {name: getattr(self, name) for name in _fields(type(self))}
        return type(self)(**{**current, **changes})

    def to_dict(self) -> dict[str, Any]:
        """Return plain dictionaries, numbers and strings, ready for YAML or JSON."""
        hints = typing.get_type_hints(type(self))
        values = {name: _plain(getattr(self, name)) for name in _fields(type(self))}
        return {
            name: _nothing(hints[name]) if value is None else value
            for name, value in values.items()
        }

    def to_yaml(self, path: str | Path | None = None) -> str:
        """Return these settings as YAML and, given a path, write them there."""
        text = yaml.safe_dump(self.to_dict(), sort_keys=False, default_flow_style=None)
        if path is not None:
            Path(path).write_text(text, encoding='utf-8')
        return text

    @classmethod
    def from_yaml(cls: type[SettingsT], path: str | Path) -> SettingsT:
        """Read settings from a YAML file; what it leaves out keeps its default."""
        try:
            values = yaml.safe_load(Path(path).read_text(encoding='utf-8'))
        except OSError as error:
            raise ConfigError(
                [('', f'cannot read the settings file {path}: {error.strerror}')]
            ) from error
        except (yaml.YAMLError, UnicodeDecodeError) as error:
            where = ' '.join(str(error).split())
            raise ConfigError([('', f'{path} is not valid YAML: {where}')]) from error
        if values is None:
            values = {}
        if not isinstance(values, dict) or not all(isinstance(key, str) for key in values):
            kind = type(values).__name__
            raise ConfigError([('', f'{path} must hold "key: value" lines, not a {kind}')])
        return cls(**_unwrapped(values))


def _unwrapped(values: dict[str, Any]) -> dict[str, Any]:
    """Take a ROS parameter file's ``node: {ros__parameters: {...}}`` off, where it is there."""
    inner = next(iter(values.values()), None)
    if len(values) == 1 and isinstance(inner, dict) and set(inner) == {'ros__parameters'}:
        return dict(inner['ros__parameters'] or {})
    return values


def _nothing(kind: Any) -> Any:
    """Return what stands for None in a setting of an optional type."""
    args = typing.get_args(kind)
    if type(None) not in args:
        return None
    inner = next(arg for arg in args if arg is not type(None))
    if typing.get_origin(inner) is tuple:
        return [0] * len(typing.get_args(inner))
    return 0 if inner in (int, float) else ''


def _as_given(value: Any, kind: Any) -> Any:
    """Return what pydantic is to see: None for what stands for it, a misfit for what it bends."""
    nothing = _nothing(kind)
    plain = list(value) if isinstance(value, tuple) else value
    if nothing is not None and plain == nothing and plain is not False:
        return None
    return value if _fits(value, kind) else _MISFIT


def _fits(value: Any, kind: Any) -> bool:
    """Whether a value is of its setting's kind; pydantic takes 'yes' for true and True for 1."""
    args = typing.get_args(kind)
    if type(None) in args:
        return value is None or all(_fits(value, arg) for arg in args if arg is not type(None))
    if typing.get_origin(kind) is tuple:
        return isinstance(value, (list, tuple)) and all(_fits(item, args[0]) for item in value)
    if isinstance(kind, type) and issubclass(kind, Settings):
        return isinstance(value, (dict, kind))
    if kind is bool:
        return isinstance(value, bool)
    if kind in (int, float) and isinstance(value, bool):
        return False
    if kind is int:
        whole = isinstance(value, numbers.Integral)
        return whole or (isinstance(value, float) and value.is_integer())
    return True  # a float may be text: YAML reads 1e-3 as such


def _fields(cls: type[Settings]) -> dict[str, Any]:
    fields: Any = cls.model_fields if PYDANTIC_2 else cls.__fields__
    return dict(fields)


def _describe_field(name: str, hint: Any, field: Any) -> Setting:
    info = field if PYDANTIC_2 else field.field_info
    facts = (info.json_schema_extra if PYDANTIC_2 else info.extra) or {}
    return Setting(
        name=name,
        type=hint,
        default=field.default,
        meaning=info.description or '',
        low=facts.get('low'),
        high=facts.get('high'),
        unit=facts.get('unit', ''),
        dynamic=facts.get('dynamic', False),
    )


def _problems(
    cls: type[Settings], error: pydantic.ValidationError, values: Mapping[str, Any]
) -> list[tuple[str, str]]:
    known = {item.name: item for item in cls.describe()}
    problems: dict[str, str] = {}
    for name, nested in _failed_fields(error):
        if name not in known:
            problems[name] = _unknown_key(name, known)
        elif nested is not None:
            for inner, sentence in nested.problems:
                problems[f'{name}.{inner}'] = f'{name}.{sentence}' if inner else sentence
        else:
            allowed = known[name].allowed
            problems[name] = f'{name} is {_shown(values.get(name))}, allowed is {allowed}'
    return list(problems.items())


def _failed_fields(error: pydantic.ValidationError) -> list[tuple[str, ConfigError | None]]:
    """Return the name of each failed field, and the nested group's own error where it has one."""
    if PYDANTIC_2:
        entries = [(item['loc'], item.get('ctx', {}).get('error')) for item in error.errors()]
    else:
        entries = [(item.loc_tuple(), item.exc) for item in _flat(error.raw_errors)]  # type: ignore[attr-defined]
    return [
        (str(loc[0]) if loc else '', inner if isinstance(inner, ConfigError) else None)
        for loc, inner in entries
    ]


def _flat(entries: Any) -> list[Any]:
    if isinstance(entries, (list, tuple)):
        return [item for entry in entries for item in _flat(entry)]
    return [entries]


def _unknown_key(name: str, known: Mapping[str, Setting]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    hint = f'did you mean {close[0]}? ' if close else ''
    return f'{name} is not a setting; {hint}known are {", ".join(known)}'


def _allowed(kind: Any, low: float | None, high: float | None) -> str:
    args = typing.get_args(kind)
    if type(None) in args:
        inner = next(arg for arg in args if arg is not type(None))
        return f'{_nothing(kind)!r} for nothing, or ' + _allowed(inner, low, high)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return 'one of ' + ', '.join(str(member.value) for member in kind)
    if isinstance(kind, type) and issubclass(kind, Settings):
        return 'a group of ' + ', '.join(_fields(kind))
    if kind is bool:
        return 'true or false'
    if kind in (int, float):
        return ('a whole number' if kind is int else 'a number') + _range(low, high)
    if typing.get_origin(kind) is tuple:
        return f'a list of {len(args)} values, each ' + _allowed(args[0], low, high)
    return 'a path' if kind is Path else 'text'


def _range(low: float | None, high: float | None) -> str:
    if low is not None and high is not None:
        return f' from {_number(low)} to {_number(high)}'
    if low is not None:
        return f' of at least {_number(low)}'
    return f' of at most {_number(high)}' if high is not None else ''


def _number(value: float) -> str:
    return str(int(value)) if float(value).is_integer() else f'{value:g}'


def _shown(value: Any) -> str:
    text = repr(value.value if isinstance(value, enum.Enum) else value)
    return text if len(text) <= 60 else text[:57] + '...'


def _plain(value: Any) -> Any:
    if isinstance(value, Settings):
        return value.to_dict()
    if isinstance(value, enum.Enum):
        return value.value
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_plain(item) for item in value]
    return value
