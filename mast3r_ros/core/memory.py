# SPDX-License-Identifier: Apache-2.0
"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes
import gc


def give_back_memory() -> None:
    """Have the C library return what it keeps of freed memory; large models leave it a lot.

    Does nothing where the C library is not GNU's.
    """
    gc.collect()
    try:
        trim = ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return
    trim(0)
