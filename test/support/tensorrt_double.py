# SPDX-License-Identifier: Apache-2.0
"""The module ``tensorrt`` as its published interface says, on a simulated card.

Every call is held against the signatures of one version; what the interface lacks is not there.
Engines run their graph with ONNX Runtime on the card's memory, when the card gets to it.
"""

from __future__ import annotations

import json
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
from cuda_double import FACTS, SimulatedCard, Violation, installed_module

VERSIONS = ('10.3', '11.4')
_KINDS = {'tensor(float)': 'FLOAT', 'tensor(float16)': 'HALF', 'tensor(uint8)': 'UINT8'}
_TYPES = {'FLOAT': np.float32, 'HALF': np.float16, 'UINT8': np.uint8}
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
        self.configs: list[ConfigBody] = []
        self.alive: weakref.WeakSet[Any] = weakref.WeakSet()
        self.spoil: dict[str, float] = {}  # added to an output, by its name
        self.module = self._module()

    @contextmanager
    def installed(self) -> Iterator[ModuleType]:
        """Have it found as ``tensorrt``."""
        with installed_module(self.module):
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


class HostMemory(bytes):
    """What TensorRT serialises into."""

    @property
    def nbytes(self) -> int:
        return len(self)


class BuilderBody:
    def __init__(self, double: Double, logger: Any) -> None:
        assert logger._started
        self._double = double
        self._listener = weakref.ref(logger)

    def create_network(self, flags: int = 0) -> Held:
        strongly = self._double.module.NetworkDefinitionCreationFlag.STRONGLY_TYPED
        if not flags & 1 << strongly.value:
            raise Violation('the network is not strongly typed')
        return self._double.hold('INetworkDefinition', NetworkBody())

    def create_builder_config(self) -> Held:
        body = ConfigBody(self._double)
        self._double.configs.append(body)
        return self._double.hold('IBuilderConfig', body)

    def build_serialized_network(self, network: Held, config: Held) -> HostMemory | None:
        listener = self._listener()
        if listener is None:
            raise Violation('the logger is gone while a builder is used')
        settings: ConfigBody = config._body
        graph: NetworkBody = network._body
        self._double.card.check_current()
        if self._double.fails('build_serialized_network', listener):
            return None
        monitor = settings.progress_monitor
        monitor.phase_start('Building Engine', None, 2)
        for step in range(2):
            monitor.phase_start('Timing', 'Building Engine', 1)
            if not monitor.step_complete('Timing', 0):
                return None
            monitor.phase_finish('Timing')
            if not monitor.step_complete('Building Engine', step):
                return None
        monitor.phase_finish('Building Engine')
        self._double.builds.append(Path(graph.path).name)
        settings.measured.append(graph.path)
        head = {'tensorrt': self._double.version, 'graph': graph.path}
        return HostMemory(b'plan' + json.dumps(head).encode())


class NetworkBody:
    path = ''


class ParserBody:
    def __init__(self, double: Double, network: Held, logger: Any) -> None:
        self._double = double
        self._network: NetworkBody = network._body
        self._listener = logger
        self.num_errors = 0

    def parse_from_file(self, model: str) -> bool:
        if not Path(model).is_file() or self._double.fails('parse_from_file', self._listener):
            self.num_errors = 1
            return False
        self._network.path = model
        return True

    def get_error(self, index: int) -> Held:
        assert index < self.num_errors
        return self._double.hold('ParserError', ParserErrorBody())


class ParserErrorBody:
    def desc(self) -> str:
        return 'no importer for it'

    def node_name(self) -> str:
        return ''

    def node_operator(self) -> str:
        return 'Odd'


class ConfigBody:
    builder_optimization_level = 3
    progress_monitor: Any = None

    def __init__(self, double: Double) -> None:
        self._double = double
        self.limits: dict[str, int] = {}
        self.flags_on = {'TF32'}
        self.measured: list[str] = []

    def set_memory_pool_limit(self, pool: Member, pool_size: int) -> None:
        self.limits[pool.name] = pool_size

    def set_flag(self, flag: Member) -> None:
        self.flags_on.add(flag.name)

    def clear_flag(self, flag: Member) -> None:
        self.flags_on.discard(flag.name)

    def create_timing_cache(self, serialized_timing_cache: bytes) -> Held | None:
        if serialized_timing_cache and not serialized_timing_cache.startswith(b'timing'):
            return None
        return self._double.hold('ITimingCache', TimingBody(self, serialized_timing_cache))

    def set_timing_cache(self, cache: Held, ignore_mismatch: bool) -> bool:
        return bool(not cache._body.start or cache._body.start.endswith(self._tag()))

    def _tag(self) -> bytes:
        return self._double.version.encode()


class TimingBody:
    def __init__(self, config: ConfigBody, start: bytes) -> None:
        self._config = config
        self.start = start

    def serialize(self) -> HostMemory:
        return HostMemory(b'timing' + self._config._tag())


class RuntimeBody:
    def __init__(self, double: Double, logger: Any) -> None:
        assert logger._started
        self._double = double
        self._listener = weakref.ref(logger)

    def deserialize_cuda_engine(self, serialized_engine: bytes) -> Held | None:
        listener = self._listener()
        if listener is None:
            raise Violation('the logger is gone while a runtime is used')
        self._double.card.check_current()
        if self._double.fails('deserialize_cuda_engine', listener):
            return None
        try:
            head = json.loads(bytes(serialized_engine).removeprefix(b'plan'))
        except ValueError:
            head = {}
        if head.get('tensorrt') != self._double.version:
            self._double.complain(listener, 'the plan is of another version')
            return None
        body = EngineBody(self._double, Path(head['graph']), self)
        return self._double.hold('ICudaEngine', body)


class EngineBody:
    """A graph in ONNX Runtime."""

    def __init__(self, double: Double, graph: Path, runtime: RuntimeBody) -> None:
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            str(graph), options, providers=['CPUExecutionProvider']
        )
        self.double = double
        self.runtime = weakref.ref(runtime)
        self.inputs = {item.name: item for item in self.session.get_inputs()}
        self.outputs = {item.name: item for item in self.session.get_outputs()}
        self.ports = {**self.inputs, **self.outputs}
        self.num_io_tensors = len(self.ports)
        stage = graph.stem.partition('_')[2]
        self.device_memory_size_v2 = 1000 + 1000 * len(stage)  # another one for each stage

    def get_tensor_name(self, index: int) -> str:
        return list(self.ports)[index]

    def get_tensor_mode(self, name: str) -> Member:
        modes = self.double.module.TensorIOMode
        mode: Member = modes.INPUT if name in self.inputs else modes.OUTPUT
        return mode

    def get_tensor_dtype(self, name: str) -> Member:
        kind: Member = getattr(self.double.module.DataType, _KINDS[self.ports[name].type])
        return kind

    def get_tensor_shape(self, name: str) -> tuple[int, ...]:
        return tuple(self.ports[name].shape)

    def create_execution_context(self, strategy: Member | None = None) -> Held:
        assert strategy is not None
        assert strategy.name == 'USER_MANAGED'
        return self.double.hold('IExecutionContext', ContextBody(self))


class ContextBody:
    def __init__(self, engine: EngineBody) -> None:
        self._engine = weakref.ref(engine)
        self._card = engine.double.card
        self._addresses: dict[str, int] = {}
        self._shapes: dict[str, tuple[int, ...]] = {}
        self._scratch = (0, 0)
        self._runs = 0

    def set_device_memory(self, memory: int, size: int) -> None:
        self._card.view(memory, size)
        self._scratch = (memory, size)

    def set_input_shape(self, name: str, shape: tuple[int, ...]) -> bool:
        engine = self._alive()
        self._shapes[name] = tuple(shape)
        return name in engine.inputs and tuple(engine.inputs[name].shape) == tuple(shape)

    def set_tensor_address(self, name: str, memory: int) -> bool:
        engine = self._alive()
        self._card.view(memory, self._nbytes(engine, name))
        self._addresses[name] = memory
        return name in engine.ports

    def execute_async_v3(self, stream_handle: int) -> bool:
        engine, card = self._alive(), self._card
        if stream_handle not in card.streams:
            raise Violation('the work is not for the queue of the engine')
        if set(self._addresses) != set(engine.ports) or set(self._shapes) != set(engine.inputs):
            raise Violation('a tensor has no place or no shape')
        if self._scratch[1] < engine.device_memory_size_v2:
            raise Violation(f'the scratch memory of {self._scratch[1]} bytes is too small')
        if card.captured is not None and not self._runs:
            raise Violation('the first run is captured, in which TensorRT sets itself up')
        listener = engine.runtime()
        if listener is None:
            raise Violation('the runtime is gone while its engine is used')
        self._runs += 1
        if engine.double.fails('execute_async_v3', listener._listener()):
            return False
        addresses, scratch = dict(self._addresses), self._scratch
        card.enqueue(lambda: self._work(addresses, scratch))
        return True

    def _work(self, addresses: dict[str, int], scratch: tuple[int, int]) -> None:
        """Read the inputs from the card, run the graph, write the outputs to the card."""
        engine = self._alive()
        self._card.view(*scratch)[:] = 0x5A
        values = {}
        for name, item in engine.inputs.items():
            memory = self._card.view(addresses[name], self._nbytes(engine, name))
            values[name] = memory.view(_TYPES[_KINDS[item.type]]).reshape(item.shape).copy()
        for name, made in zip(engine.outputs, engine.session.run(None, values), strict=True):
            made = made + np.asarray(engine.double.spoil.get(name, 0.0), made.dtype)
            memory = self._card.view(addresses[name], made.nbytes)
            memory[:] = np.ascontiguousarray(made).view(np.uint8).ravel()

    def _alive(self) -> EngineBody:
        engine = self._engine()
        if engine is None:
            raise Violation('a context is used whose engine is gone')
        return engine

    def _nbytes(self, engine: EngineBody, name: str) -> int:
        item = engine.ports[name]
        return int(np.prod(item.shape)) * np.dtype(_TYPES[_KINDS[item.type]]).itemsize
