# SPDX-License-Identifier: Apache-2.0
"""What TensorRT builds engines with, as far as its stand-in has it: nothing is compared."""

from __future__ import annotations

import json
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, Any

from simulated_card import Violation

if TYPE_CHECKING:
    from tensorrt_double import Double, Held, Member


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
