# SPDX-License-Identifier: Apache-2.0
"""What a file says of a tensor, without its values: enough to judge a file before using it."""

from __future__ import annotations

import math
from dataclasses import dataclass

ITEM_BYTES = {
    'bool': 1,
    'uint8': 1,
    'int8': 1,
    'int16': 2,
    'int32': 4,
    'int64': 8,
    'float16': 2,
    'bfloat16': 2,
    'float32': 4,
    'float64': 8,
}
FLOATS = frozenset({'float16', 'bfloat16', 'float32', 'float64'})


@dataclass(frozen=True)
class TensorOutline:
    """Shape and number format of a tensor, and where its values lie.

    :param storage: name of the block of values in its file; tensors may share one.
    :param first: index in that block of the first value.
    :param contiguous: whether the values lie in the order of the shape, without gaps.
    """

    shape: tuple[int, ...]
    dtype: str
    storage: str = ''
    first: int = 0
    contiguous: bool = True

    @property
    def count(self) -> int:
        """The number of values."""
        return math.prod(self.shape)

    @property
    def bytes(self) -> int:
        """The size of the values."""
        return self.count * ITEM_BYTES[self.dtype]
