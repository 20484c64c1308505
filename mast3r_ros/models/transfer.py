# SPDX-License-Identifier: Apache-2.0
"""The way of one file over the network: in several attempts, each going on where one broke off."""

from __future__ import annotations

import http.client
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mast3r_ros.errors import DownloadError
from mast3r_ros.models.http_requests import Interrupted, RangeRefused, open_address
from mast3r_ros.models.part_file import PartFile

_BLOCK_BYTES = 1 << 20
_SPARE_BYTES = 64 << 20  # room that is left to others on the disk
_LARGEST_PAUSE_S = 30.0
_CONTENT_RANGE = re.compile(r'^bytes (\d+)-(\d+)/(\d+)$')

Told = Callable[[int, int], None]
"""Is called with how many bytes have come, and how many there will be (0: not known)."""


@dataclass(frozen=True)
class Patience:
    """How long to wait and how often to try.

    :param timeout_s: a server that is silent so long has stalled.
    :param retries: attempts in a row that may bring nothing new before it is given up.
    :param pause_s: before the first of them; each next pause is twice as long.
    """

    timeout_s: float = 30.0
    retries: int = 4
    pause_s: float = 1.0


def transfer(
    url: str,
    part: PartFile,
    about_bytes: int,
    told: Told,
    *,
    patience: Patience,
    say: Callable[[str], None] = lambda _sentence: None,
    allow_http: bool = False,
) -> None:
    """Bring the whole file into the part, or raise and keep what has come.

    :param about_bytes: the published size; more than twice of it is refused.
    :param say: is told why another attempt is made.
    """
    if (
        part.size_bytes
        and part.state.get('total') == str(part.size_bytes)
        and part.state.get('url') == url
    ):
        return  # it had come whole, and was interrupted while it was checked
    attempt = _Attempt(url, part, about_bytes, told, patience, allow_http)
    failures, best = 0, part.size_bytes
    while True:
        try:
            attempt.run()
            return
        except RangeRefused:
            part.begin({})  # longer than the file: it was of another one
            reason = 'the file has changed'
        except Interrupted as error:
            reason = str(error)
        failures = 0 if part.size_bytes > best else failures + 1
        best = max(best, part.size_bytes)
        if failures > patience.retries:
            come = (
                f'resumes at {_megabytes(part.size_bytes)}' if part.size_bytes else 'tries again'
            )
            raise DownloadError(f'{reason}; the same command {come}')
        say(f'{reason}; trying again')
        pause_s = patience.pause_s * 2 ** max(failures - 1, 0)
        time.sleep(min(pause_s, _LARGEST_PAUSE_S))


@dataclass(frozen=True)
class _Attempt:
    url: str
    part: PartFile
    about_bytes: int
    told: Told
    patience: Patience
    allow_http: bool

    def run(self) -> None:
        """Ask for what is missing and write it down."""
        with open_address(
            self.url,
            self._headers(),
            timeout_s=self.patience.timeout_s,
            allow_http=self.allow_http,
        ) as answer:
            self._receive(answer, self._place(answer))

    def _headers(self) -> dict[str, str]:
        """Return the request for the rest, if the server can tell that its file is the same."""
        state = self.part.state
        validator = state.get('validator', '')
        if not self.part.size_bytes or not validator or state.get('url') != self.url:
            return {}
        return {'Range': f'bytes={self.part.size_bytes}-', 'If-Range': validator}

    def _place(self, answer: Any) -> int:
        """Get ready to write what comes, and return the size of the whole file (0: unknown)."""
        if answer.headers.get('Content-Encoding', 'identity') != 'identity':
            raise DownloadError(f'{self.url} comes encoded although it was not asked to')
        if answer.status == 206:
            found = _CONTENT_RANGE.match(answer.headers.get('Content-Range', ''))
            if found is None or not self._continues(answer, int(found[1]), found[3]):
                raise RangeRefused(f'{self.url} answers with another part than was asked for')
            self._check_size(int(found[3]), self.part.size_bytes)
            self.part.go_to_end()
            return int(found[3])
        if answer.status != 200:
            raise DownloadError(f'{self.url}: the server answers {answer.status}')
        total = _whole_number(answer.headers.get('Content-Length', ''))
        self._check_size(total, 0)
        self.part.begin({'url': self.url, 'validator': _validator(answer), 'total': str(total)})
        return total

    def _continues(self, answer: Any, first: int, total: str) -> bool:
        """Return whether a partial answer is the rest of the file that the part is of."""
        state = self.part.state
        same_file = _validator(answer) in ('', state.get('validator'))
        same_size = state.get('total', '0') in ('0', total)
        return same_file and same_size and first == self.part.size_bytes

    def _check_size(self, total: int, kept: int) -> None:
        """Raise unless the file can be the published one and has room beside what is kept."""
        if total > 2 * self.about_bytes + _SPARE_BYTES:
            raise DownloadError(
                f'{self.url} has {_megabytes(total)}, the published file has '
                f'{_megabytes(self.about_bytes)}: it is not the same'
            )
        missing = (total or self.about_bytes) - kept
        free = self.part.free_bytes() + self.part.size_bytes - kept
        if missing + _SPARE_BYTES > free:
            raise DownloadError(
                f'{self.part.target.parent} has {_megabytes(free)} free, and '
                f'{_megabytes(missing + _SPARE_BYTES)} are needed; make room or use --cache-dir'
            )

    def _receive(self, answer: Any, total: int) -> None:
        limit = total or 2 * self.about_bytes + _SPARE_BYTES
        come = self.part.size_bytes
        self.told(come, total)
        while True:
            try:
                block = answer.read1(_BLOCK_BYTES)
            except TimeoutError:
                raise Interrupted(
                    f'{self.url} sent nothing for {self.patience.timeout_s:g} s'
                ) from None
            except (OSError, http.client.HTTPException) as error:
                raise Interrupted(f'{self.url} broke off ({type(error).__name__})') from None
            if not block:
                break
            come += len(block)
            if come > limit:
                self.part.begin({})
                raise DownloadError(f'{self.url} sends more than it said; nothing of it is kept')
            self.part.write(block)
            self.told(come, total)
        if come < total:
            raise Interrupted(f'{self.url} broke off at {_megabytes(come)} of {_megabytes(total)}')


def _validator(answer: Any) -> str:
    """Return what tells this file from a later one under the same address."""
    etag = str(answer.headers.get('ETag', ''))
    if etag and not etag.startswith('W/'):
        return etag
    return str(answer.headers.get('Last-Modified', ''))


def _whole_number(text: str) -> int:
    return int(text) if text.isdecimal() and len(text) < 20 else 0


def _megabytes(count: int) -> str:
    return f'{count / 1e6:.1f} MB'
