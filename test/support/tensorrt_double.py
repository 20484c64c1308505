# SPDX-License-Identifier: Apache-2.0
"""The module ``tensorrt`` as its published interface says, on a simulated card.

Every call is held against the signatures of one version; what the interface lacks is not there.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from cuda_python_double import FACTS
from installed_modules import installed_modules
from simulated_card import SimulatedCard, Violation
from tensorrt_build_double import BuilderBody, ConfigBody, ParserBody
from tensorrt_run_double import RuntimeBody

VERSIONS = ('10.3', '11.4')
_PLAIN = {
    'int': int,
    'typing.SupportsInt': int,
    'bool': bool,
    'str': str,
    'tuple': tuple,
    'list': list,
    'buffer': (bytes, bytearray, memoryview),
    'typing_extensions.Buffer': (bytes, bytearray, memoryview),
}


@dataclass(frozen=True)
class Parameter:
    """One argument of a signature."""

    name: str
    type: str
    needed: bool


class Double:
    """A version of TensorRT, and what was used of it.

    :param breaks: names of calls that fail: ``parse_from_file``, ``build_serialized_network``,
        ``deserialize_cuda_engine``, ``execute_async_v3``.
    """

    def __init__(self, version: str, card: SimulatedCard) -> None:
        self.version = version
        self.card = card
        text = (FACTS / f'tensorrt_{version}.json').read_text(encoding='utf-8')
        self.facts: dict[str, dict[str, Any]] = json.loads(text)
        self.used: set[tuple[str, str]] = set()
        self.breaks: set[str] = set()
        self.builds: list[str] = []
        self.queued: list[str] = []  # stages, call by call or while a graph is captured
        self.done: list[str] = []  # stages, when the card got to them
        self.configs: list[ConfigBody] = []
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.spoil: dict[str, float] = {}  # added to an output, by its name
        self.module = self._module()

    @contextmanager
    def installed(self) -> Iterator[ModuleType]:
        """Have it found as ``tensorrt``."""
        with installed_modules([self.module]):
            yield self.module

    def hold(self, name: str, body: Any) -> Held:
        """Return an object of a class that has what the interface says and does as the body."""
        return Held(self, name, body)

    def fails(self, call: str, listener: Any) -> bool:
        """Tell the listener of a failure, if the call is one that fails."""
        if call in self.breaks:
            self.complain(listener, f'{call} was told to fail')
        return call in self.breaks

    def complain(self, listener: Any, text: str) -> None:
        """Log an error as TensorRT does."""
        listener.log(self.module.ILogger.ERROR, text)

    def check(
        self, owner: str, member: str, given: tuple[Any, ...], named: dict[str, Any]
    ) -> None:
        """Raise unless a call fits one of the signatures."""
        signatures = self.facts[owner].get(member)
        if not isinstance(signatures, list):
            raise Violation(f'TensorRT {self.version}: {owner}.{member} is no method')
        self.used.add((owner, member))
        if not any(self._fits(_parameters(each), given, named) for each in signatures):
            raise Violation(
                f'TensorRT {self.version}: {owner}.{member}{given} {named} fits none of '
                f'{signatures}'
            )

    def _fits(
        self, parameters: list[Parameter], given: tuple[Any, ...], named: dict[str, Any]
    ) -> bool:
        names = [each.name for each in parameters]
        if len(given) > len(names) or not set(named) <= set(names[len(given) :]):
            return False
        values = {**dict(zip(names, given, strict=False)), **named}
        return all(
            self._is_a(values[each.name], each.type) if each.name in values else not each.needed
            for each in parameters
        )

    def _is_a(self, value: Any, kind: str) -> bool:
        if kind in _PLAIN:
            right = isinstance(value, _PLAIN[kind])  # type: ignore[arg-type]
            return right and (kind == 'bool' or not isinstance(value, bool))
        name = kind.rpartition('.')[2]
        if isinstance(value, Held):
            return value._name == name
        if isinstance(value, Member):
            return value.owner == name
        return isinstance(value, getattr(self.module, name, ()))

    def _module(self) -> ModuleType:
        module: Any = ModuleType('tensorrt')
        module.__version__ = f'{self.version}.0'
        for name, members in self.facts.items():
            if 'member' in members.values():
                setattr(module, name, _enumeration(self, name, members))
        module.Builder = self._maker('Builder', BuilderBody)
        module.OnnxParser = self._maker('OnnxParser', ParserBody)
        module.Runtime = self._maker('Runtime', RuntimeBody)
        levels = module.ILogger
        module.ILogger = _base(self, 'ILogger', ('log',))
        for level in ('INTERNAL_ERROR', 'ERROR', 'WARNING', 'INFO', 'VERBOSE'):
            setattr(module.ILogger, level, getattr(levels, level))
        calls = ('phase_start', 'phase_finish', 'step_complete')
        module.IProgressMonitor = _base(self, 'IProgressMonitor', calls)
        return module

    def _maker(self, name: str, body: Any) -> Any:
        def make(*given: Any, **named: Any) -> Held:
            self.check(name, '__init__', given, named)
            return self.hold(name, body(self, *given, **named))

        return make


class Held:
    """An object that has exactly the members of a class of TensorRT."""

    def __init__(self, double: Double, name: str, body: Any) -> None:
        object.__setattr__(self, '_double', double)
        object.__setattr__(self, '_name', name)
        object.__setattr__(self, '_body', body)
        double.alive.add(self)

    def __getattr__(self, member: str) -> Any:
        fact = self._double.facts[self._name].get(member)
        if fact is None:
            raise Violation(f'TensorRT {self._double.version}: {self._name} has no {member}')
        if not isinstance(fact, list):
            self._double.used.add((self._name, member))
            return getattr(self._body, member)

        def call(*given: Any, **named: Any) -> Any:
            self._double.check(self._name, member, given, named)
            return getattr(self._body, member)(*given, **named)

        return call

    def __setattr__(self, member: str, value: Any) -> None:
        if self._double.facts[self._name].get(member) != 'settable':
            raise Violation(
                f'TensorRT {self._double.version}: {self._name}.{member} cannot be set'
            )
        self._double.used.add((self._name, member))
        setattr(self._body, member, value)


@dataclass(frozen=True)
class Member:
    """A member of an enumeration."""

    owner: str
    name: str
    value: int


def _enumeration(double: Double, owner: str, members: dict[str, Any]) -> Any:
    names = [name for name, kind in members.items() if kind == 'member']
    made = {name: Member(owner, name, value) for value, name in enumerate(names)}

    class Enumeration:
        def __getattr__(self, name: str) -> Member:
            if name not in made:
                raise Violation(f'TensorRT {double.version}: {owner} has no {name}')
            double.used.add((owner, name))
            return made[name]

    return Enumeration()


def _base(double: Double, name: str, calls: tuple[str, ...]) -> Any:
    """Return a class that programs derive from; TensorRT crashes where they forget its start."""

    class Base:
        def __init__(self) -> None:
            double.used.add((name, '__init__'))
            self._started = True

        def __init_subclass__(cls) -> None:
            for call in calls:
                assert call in double.facts[name], (name, call)
                if call not in vars(cls):
                    raise Violation(f'{cls} of {name} lacks {call}')

    return Base


def _parameters(signature: str) -> list[Parameter]:
    """Read the arguments of a signature, without the object itself."""
    inner = signature[signature.index('(') + 1 : signature.rindex(')')]
    found, depth, start = [], 0, 0
    for place, letter in enumerate(inner + ','):
        depth += letter in '[(<'
        depth -= letter in '])>'
        if letter == ',' and depth == 0:
            found.append(inner[start:place].strip())
            start = place + 1
    made = []
    for text in found:
        name, _, rest = text.partition(':')
        kind, equals, _ = rest.partition('=')
        if name != 'self':
            made.append(Parameter(name.strip(), kind.strip(), not equals))
    return made
