# SPDX-License-Identifier: Apache-2.0
"""Memory of the card and page-locked memory: who holds it, and that all of it is given back."""

from __future__ import annotations

from collections import defaultdict

import numpy as np

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess, HostBytes
from mast3r_ros.errors import EngineFailed

_LEAST_BYTES = 256  # CUDA aligns no finer


class DeviceBlock:
    """A piece of the card's memory; it goes back to its pool with the last who holds it."""

    def __init__(self, pool: DevicePool, address: int, nbytes: int) -> None:
        self._pool = pool
        self._address: int | None = address
        self.nbytes = nbytes

    @property
    def address(self) -> int:
        """Where it lies."""
        if self._address is None or self._pool.closed:
            raise EngineFailed('this memory of the card was given back; make what it held anew')
        return self._address

    def release(self) -> None:
        """Give it back; whoever gets it next writes after what is queued."""
        address, self._address = self._address, None
        if address is not None:
            self._pool.give_back(address, self.nbytes)

    def __del__(self) -> None:
        self.release()


class DevicePool:
    """Lends memory of the card and keeps what comes back for the next of that size.

    All work on it stands in one queue, so memory may be lent anew before the card is done with
    what it held. Giving back calls no function of CUDA: any thread may do it.
    """

    def __init__(self, cuda: CudaAccess) -> None:
        self._cuda = cuda
        self._all: dict[int, int] = {}
        self._idle: defaultdict[int, list[int]] = defaultdict(list)
        self.closed = False

    @property
    def held_bytes(self) -> int:
        """Memory that it has from the card, lent or idle."""
        return sum(self._all.values())

    def take(self, nbytes: int) -> DeviceBlock:
        """Lend a block."""
        nbytes = max(nbytes, _LEAST_BYTES)
        try:
            return DeviceBlock(self, self._idle[nbytes].pop(), nbytes)
        except IndexError:
            address = self._cuda.allocate(nbytes)
        self._all[address] = nbytes
        return DeviceBlock(self, address, nbytes)

    def give_back(self, address: int, nbytes: int) -> None:
        """Take a block back."""
        if not self.closed:
            self._idle[nbytes].append(address)

    def trim(self) -> None:
        """Return to the card what nobody holds; nothing may be queued."""
        for addresses in self._idle.values():
            while addresses:
                address = addresses.pop()
                del self._all[address]
                self._cuda.free(address)

    def close(self) -> None:
        """Return everything to the card, lent or not; nothing may be queued."""
        self.closed = True
        while self._all:
            self._cuda.free(self._all.popitem()[0])
        self._idle.clear()


class HostBlock:
    """Page-locked memory with a mark for when the card is done with it."""

    def __init__(self, cuda: CudaAccess, nbytes: int) -> None:
        self._cuda = cuda
        self.memory: HostBytes = cuda.allocate_host(nbytes)
        self.event = cuda.make_event()
        self.in_use = False

    def view(
        self, shape: tuple[int, ...], kind: np.dtype[np.generic]
    ) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        """Return it as an array."""
        return self.memory.view(kind).reshape(shape)

    def send(self, address: int) -> None:
        """Queue a copy to the card."""
        self._cuda.copy_in(address, self.memory)
        self._mark()

    def fetch(self, address: int, in_graph: bool = False) -> None:
        """Queue a copy from the card.

        :param in_graph: it is kept for a graph; whoever launches that calls :meth:`expect`.
        """
        self._cuda.copy_out(self.memory, address)
        if in_graph:
            self._cuda.record_in_graph(self.event)
        else:
            self._mark()

    def expect(self) -> None:
        """Say that a graph is queued that copies into it."""
        self.in_use = True

    def is_free(self) -> bool:
        """Return whether the card is done with the last copy."""
        if self.in_use and self._cuda.is_reached(self.event):
            self.in_use = False
        return not self.in_use

    def close(self) -> None:
        """Give it back; nothing may be queued."""
        self._cuda.free_event(self.event)
        self._cuda.free_host(self.memory)
        self.memory = np.empty(0, np.uint8)

    def _mark(self) -> None:
        self._cuda.record(self.event)
        self.in_use = True
