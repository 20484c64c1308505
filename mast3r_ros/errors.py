# SPDX-License-Identifier: Apache-2.0
"""The errors this package raises on purpose: one class for each thing a caller can do about it.

Every message is one sentence or two: what is wrong, which value, what is allowed, what to do.
"""

from __future__ import annotations


class Mast3rError(Exception):
    """Anything that this package raises on purpose."""


class ConfigError(Mast3rError, ValueError):
    """A setting is unknown or out of range.

    :param problems: pairs of the setting's dotted name and the sentence about it.
    """

    def __init__(self, problems: list[tuple[str, str]]) -> None:
        self.problems = list(problems)
        super().__init__('; '.join(sentence for _, sentence in self.problems))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[list[tuple[str, str]]]]:
        return type(self), (self.problems,)


class InvalidInput(Mast3rError, ValueError):
    """An image, camera, mask or array does not fit what was asked of it."""


class EngineUnavailable(Mast3rError, RuntimeError):
    """An engine cannot run here: no library, device or driver, or no model in its precision."""


class EngineFailed(Mast3rError, RuntimeError):
    """An engine broke while running: it raised, returned nonsense or was declared dead."""


class EngineCancelled(EngineFailed):
    """A running call was cancelled on request."""


class ModelNotFound(Mast3rError, FileNotFoundError):
    """The model that the settings name is not on this machine."""


class ModelError(Mast3rError, ValueError):
    """A model folder is damaged, incomplete or of another make than its description says."""


class CheckpointError(Mast3rError, ValueError):
    """A file of published weights is damaged, unsafe, or not the one that is needed."""


class DownloadError(Mast3rError, OSError):
    """A file could not be fetched: the network, the server, the disk or an unaccepted licence."""
