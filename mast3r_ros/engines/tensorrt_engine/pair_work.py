# SPDX-License-Identifier: Apache-2.0
"""All that one pair has the card do, as one row of calls: stages, and copies between them."""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence

from mast3r_ros.engines.tensorrt_engine.cuda_access import CudaAccess
from mast3r_ros.engines.tensorrt_engine.graphs import Work
from mast3r_ros.engines.tensorrt_engine.stage import Port, Stage
from mast3r_ros.engines.tensorrt_engine.stages import DeviceTensor, StagesOfSize
from mast3r_ros.errors import InvalidInput
from mast3r_ros.models.description import DECODER, ENCODER, Shape

IMAGE, TOKENS = 'image', 'tokens'


class DeviceTokens:
    """A view's tokens on the card; until a pair needs them, the picture that they come of.

    :param image: the picture on the card, a place of its own.
    :param port: what the tokens will be.
    """

    def __init__(self, image: DeviceTensor, port: Port) -> None:
        self._image: DeviceTensor | None = image
        self._values: DeviceTensor | None = None
        self.port = port
        self.shape: Shape = (image.port.shape[1], image.port.shape[2])

    @property
    def values(self) -> DeviceTensor | None:
        """The tokens, once they are made or queued to be."""
        return self._values

    @property
    def source(self) -> DeviceTensor:
        """What there is: the tokens, or the picture."""
        found = self._values or self._image
        assert found is not None
        return found

    def keep(self, values: DeviceTensor) -> None:
        """Take the tokens; the picture's place is free for what is queued later."""
        self._values = values
        if self._image is not None:
            self._image.block.release()
            self._image = None


class PairWork(Work):
    """The stages that one pair needs, in one row.

    What differs from pair to pair is copied to a fixed place before: tokens that are there, or
    the pictures of views without. So one graph serves all pairs that need the same stages.

    :param size: where decoder and heads lie.
    :param encoders: of the views that have no tokens yet, where theirs lies.
    """

    name = 'the pair'

    def __init__(
        self,
        cuda: CudaAccess,
        size: StagesOfSize,
        encoders: Mapping[int, StagesOfSize],
        heads: Sequence[str],
        shapes: tuple[Shape, Shape],
    ) -> None:
        self._cuda = cuda
        self._size = size
        self._encoders = encoders
        self._heads = tuple(heads)
        self._shapes = shapes
        for view, encoder in encoders.items():
            size.reserve(_image(view), encoder.tensor(IMAGE).port)
            _check_fit(f'tokens_{view}', encoder.tensor(TOKENS), size)
        for head in heads:
            size.host(head)  # none may be asked for while a graph is made

    @property
    def key(self) -> Hashable:
        """Return the sizes, the views that are encoded, and the heads."""
        return self._shapes, tuple(self._encoders), self._heads

    @property
    def places(self) -> tuple[int, ...]:
        """Return the stages, and where they and the copies have their memory."""
        found = [place for stage in self._stages() for place in stage.places]
        for view, encoder in self._encoders.items():
            found += [encoder.tensor(name).block.address for name in (IMAGE, TOKENS)]
            found += [self._size.tensor(_image(view)).block.address]
        found += [self._size.host(head).memory.ctypes.data for head in self._heads]
        return tuple(found)

    @property
    def is_settled(self) -> bool:
        """Whether every stage has run."""
        return all(stage.runs for stage in self._stages())

    def put(self, view: int, tokens: DeviceTokens) -> None:
        """Queue a copy of what there is of a view to the place where its pair has it."""
        name = _image(view) if view in self._encoders else f'tokens_{view}'
        self._copy(self._size, name, tokens.source)

    def queue(self, in_graph: bool) -> None:
        """Queue every stage, and each head's way back right behind it."""
        for view, encoder in self._encoders.items():
            self._copy(encoder, IMAGE, self._size.tensor(_image(view)))
            encoder.stages[ENCODER].queue()
            self._copy(self._size, f'tokens_{view}', encoder.tensor(TOKENS))
        self._size.stages[DECODER].queue()
        for head in self._heads:
            self._size.stages[head].queue()
            self._size.host(head).fetch(self._size.tensor(head).block.address, in_graph)

    def expect(self) -> None:
        """Note that the answers are on their way."""
        for head in self._heads:
            self._size.host(head).expect()

    def _copy(self, size: StagesOfSize, name: str, source: DeviceTensor) -> None:
        _check_fit(name, source, size)
        target = size.tensor(name)
        self._cuda.copy_inside(target.block.address, source.block.address, target.port.nbytes)

    def _stages(self) -> Iterator[Stage]:
        for encoder in self._encoders.values():
            yield encoder.stages[ENCODER]
        for name in (DECODER, *self._heads):
            yield self._size.stages[name]


def _image(view: int) -> str:
    return f'{IMAGE}_{view}'


def _check_fit(name: str, source: DeviceTensor, size: StagesOfSize) -> None:
    port, wanted = source.port, size.tensor(name).port
    if (port.shape, port.kind) != (wanted.shape, wanted.kind):
        raise InvalidInput(
            f'{name} is {port.kind} {port.shape} and the stage takes {wanted.kind} '
            f'{wanted.shape}; encode the view with this engine'
        )
