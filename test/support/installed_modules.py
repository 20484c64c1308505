# SPDX-License-Identifier: Apache-2.0
"""Modules made by tests, found by their names as if their libraries were installed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.machinery import ModuleSpec
from types import ModuleType


@contextmanager
def installed_modules(modules: Sequence[ModuleType], hidden: Sequence[str] = ()) -> Iterator[None]:
    """Have modules found by their names, and others not found.

    :param hidden: names that cannot be imported meanwhile.
    """
    before = dict(sys.modules)
    for name in hidden:
        sys.modules[name] = None  # type: ignore[assignment]  # importing it fails
    for module in modules:
        module.__spec__ = ModuleSpec(module.__name__, None)
        sys.modules[module.__name__] = module
    try:
        yield
    finally:
        for name in [*hidden, *(module.__name__ for module in modules)]:
            sys.modules.pop(name, None)
            if name in before:
                sys.modules[name] = before[name]
