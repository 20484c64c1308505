# SPDX-License-Identifier: Apache-2.0
"""The stages of a model that are on the card, with the memory through which they hand on."""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess
from mast3r_ros.engines.tensorrt_engine.graphs import Graphs
from mast3r_ros.engines.tensorrt_engine.memory import DeviceBlock, DevicePool, HostBlock
from mast3r_ros.engines.tensorrt_engine.stage import Port, Stage
from mast3r_ros.errors import ModelError
from mast3r_ros.models.description import DECODER, ENCODER, Shape

_log = logging.getLogger(__name__)

SizeKey = tuple[bool, Shape, Shape]
"""Whether it is of the encoder, and the shapes of the views."""


@dataclass(frozen=True, eq=False)
class DeviceTensor:
    """Values on the card."""

    port: Port
    block: DeviceBlock


class StagesOfSize:
    """The stages that a view or a pair of one size passes.

    Tensors of one name are one place in memory, so what a stage makes lies where the next one
    reads it.
    """

    def __init__(self, cuda: CudaAccess, pool: DevicePool) -> None:
        self._cuda = cuda
        self._pool = pool
        self._tensors: dict[str, DeviceTensor] = {}
        self._host: dict[str, HostBlock] = {}
        self.stages: dict[str, Stage] = {}

    def add(self, stage: Stage) -> None:
        """Take a stage over; its tensors must fit those of the others."""
        for port in stage.ports:
            known = self._tensors.get(port.name)
            if known is None:
                block = self._pool.take(port.nbytes)
                self._tensors[port.name] = DeviceTensor(port, block)
            elif (known.port.shape, known.port.kind) != (port.shape, port.kind):
                raise ModelError(
                    f'{stage.name} has {port.name} as {port.kind} {port.shape} and another stage '
                    f'as {known.port.kind} {known.port.shape}: the stages of this model do not '
                    'fit each other; export it anew'
                )
        stage.bind({port.name: self._tensors[port.name].block.address for port in stage.ports})
        self.stages[stage.name] = stage

    def tensor(self, name: str) -> DeviceTensor:
        """Return the place of a tensor."""
        return self._tensors[name]

    def host(self, name: str) -> HostBlock:
        """Return the page-locked memory beside a tensor."""
        if name not in self._host:
            self._host[name] = HostBlock(self._cuda, self._tensors[name].port.nbytes)
        return self._host[name]

    def host_array(self, name: str) -> NDArray[Any]:
        """Return the same as an array."""
        port = self._tensors[name].port
        return self.host(name).view(port.shape, port.kind)

    def copy_of(self, name: str) -> DeviceTensor:
        """Queue a copy of a tensor to a place of its own."""
        made = self.empty_like(name)
        self._cuda.copy_inside(
            made.block.address, self._tensors[name].block.address, made.port.nbytes
        )
        return made

    def empty_like(self, name: str) -> DeviceTensor:
        """Return a place of its own for such a tensor."""
        port = self._tensors[name].port
        return DeviceTensor(port, self._pool.take(port.nbytes))

    def reserve(self, name: str, port: Port) -> None:
        """Have a place for a tensor that no stage of this size takes by that name."""
        if name not in self._tensors:
            self._tensors[name] = DeviceTensor(port, self._pool.take(port.nbytes))

    def drop(self, name: str) -> None:
        """Give a stage back; what it made and others read stays. Nothing may be queued."""
        self.stages.pop(name).close()
        if name in self._host:
            self._host.pop(name).close()

    def close(self) -> None:
        """Give everything back; nothing may be queued."""
        for stage in self.stages.values():
            stage.close()
        for host in self._host.values():
            host.close()
        for tensor in self._tensors.values():
            tensor.block.release()
        self.stages.clear()
        self._host.clear()
        self._tensors.clear()


class LoadedStages:
    """All stages on the card; they run one at a time and share one scratch memory.

    :param kept_sizes: of views and of pairs: each has its own copy of the weights on the card.
    """

    def __init__(self, cuda: CudaAccess, kept_sizes: int = 2) -> None:
        self._cuda = cuda
        self._kept_sizes = kept_sizes
        self.pool = DevicePool(cuda)
        self._sizes: OrderedDict[SizeKey, StagesOfSize] = OrderedDict()
        self.graphs = Graphs(cuda)
        self._scratch: DeviceBlock | None = None

    def get(self, stage: str, shape_1: Shape, shape_2: Shape) -> StagesOfSize | None:
        """Return the size that a stage belongs to, if the stage is loaded."""
        key = _key(stage, shape_1, shape_2)
        size = self._sizes.get(key)
        if size is None or stage not in size.stages:
            return None
        self._sizes.move_to_end(key)
        return size

    def add(self, stage: Stage, shape_1: Shape, shape_2: Shape) -> None:
        """Take a stage over; the size that was used longest ago makes room for a new one."""
        key = _key(stage.name, shape_1, shape_2)
        if key not in self._sizes:
            self._make_room(key)
            self._sizes[key] = StagesOfSize(self._cuda, self.pool)
        try:
            self._share_scratch(stage)
            self._sizes[key].add(stage)
        except BaseException:
            stage.close()
            raise

    def drop_heads(self) -> None:
        """Give every stage back but encoders and decoders."""
        self._cuda.wait_for_all()
        self.graphs.clear()
        for size in self._sizes.values():
            for name in [name for name in size.stages if name not in (ENCODER, DECODER)]:
                size.drop(name)

    def close(self) -> None:
        """Give everything back."""
        self._cuda.wait_for_all()
        self.graphs.clear()
        while self._sizes:
            self._sizes.popitem()[1].close()
        self._scratch = None
        self.pool.close()

    def _make_room(self, key: SizeKey) -> None:
        alike = [other for other in self._sizes if other[0] == key[0]]
        for old in alike[: max(0, len(alike) - self._kept_sizes + 1)]:
            _log.info('%s makes room for %s', old[1:], key[1:])
            self._cuda.wait_for_all()
            self.graphs.clear()
            self._sizes.pop(old).close()
            self.pool.trim()

    def _share_scratch(self, stage: Stage) -> None:
        """Give a stage the common scratch memory; where it is too small, all get a larger one."""
        held = self._scratch
        if held is None or held.nbytes < stage.scratch_bytes:
            self._cuda.wait_for_all()
            larger = self._scratch = self.pool.take(stage.scratch_bytes)
            for other in self._all():
                other.use_scratch(larger.address, larger.nbytes)
            if held is not None:
                held.release()
                self.pool.trim()
            held = larger
        stage.use_scratch(held.address, held.nbytes)

    def _all(self) -> Iterator[Stage]:
        for size in self._sizes.values():
            yield from size.stages.values()


def _key(stage: str, shape_1: Shape, shape_2: Shape) -> SizeKey:
    return (True, shape_1, shape_1) if stage == ENCODER else (False, shape_1, shape_2)
