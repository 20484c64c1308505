# SPDX-License-Identifier: Apache-2.0
"""A real HTTP server on this machine that misbehaves on request."""

from __future__ import annotations

import re
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class Served:
    """A file of the server."""

    content: bytes
    etag: str = '"one"'


@dataclass(frozen=True)
class Manner:
    """How the server treats one request; the usual way where nothing is set.

    :param cut_at: closes the connection after so many bytes of the body.
    :param stall_at: falls silent after so many bytes, until the test ends.
    :param length_lie: is added to the length that it announces.
    :param headers: are sent besides, or instead of its own; an empty text leaves one out.
    """

    status: int = 0
    body: bytes = b''
    cut_at: int = -1
    stall_at: int = -1
    length_lie: int = 0
    ignores_range: bool = False
    headers: dict[str, str] = field(default_factory=dict)


class HttpWorld:
    """The server's files, how it treats the next requests, and what it was asked.

    ``manners`` are used up one a request; afterwards it behaves.
    """

    def __init__(self) -> None:
        self.files: dict[str, Served] = {}
        self.manners: deque[Manner] = deque()
        self.always: Manner | None = None
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.ended = threading.Event()
        self.stalled = threading.Event()
        self.url = ''

    def ranges(self) -> list[str]:
        """Return the ranges that were asked for, '' for a whole file."""
        return [headers.get('range', '') for _, headers in self.asked]


@contextmanager
def http_world() -> Iterator[HttpWorld]:
    """Run a server for as long as the block lasts."""
    world = HttpWorld()

    class Handler(_Handler):
        pass

    Handler.world = world
    server = ThreadingHTTPServer(('127.0.0.1', 0), Handler)
    server.daemon_threads = True
    world.url = f'http://127.0.0.1:{server.server_port}'
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield world
    finally:
        world.ended.set()
        server.shutdown()
        server.server_close()
        thread.join()


class _Handler(BaseHTTPRequestHandler):
    world: HttpWorld
    protocol_version = 'HTTP/1.1'

    def do_GET(self) -> None:
        world = self.world
        world.asked.append((self.path, {key.lower(): text for key, text in self.headers.items()}))
        manner = world.manners.popleft() if world.manners else (world.always or Manner())
        self.close_connection = True
        served = world.files.get(self.path)
        if manner.status:
            self._answer(manner, manner.status, manner.body, {})
        elif served is None:
            self._answer(manner, 404, b'<html>not found</html>', {})
        else:
            self._send(manner, served)

    def _send(self, manner: Manner, served: Served) -> None:
        whole = served.content
        headers = {'ETag': served.etag, 'Accept-Ranges': 'bytes'}
        found = re.fullmatch(r'bytes=(\d+)-', self.headers.get('Range', ''))
        same = self.headers.get('If-Range', served.etag) == served.etag
        if found is None or manner.ignores_range or not same:
            self._answer(manner, 200, whole, headers)
            return
        first = int(found[1])
        if first >= len(whole):
            self._answer(manner, 416, b'', {'Content-Range': f'bytes */{len(whole)}'})
            return
        headers['Content-Range'] = f'bytes {first}-{len(whole) - 1}/{len(whole)}'
        self._answer(manner, 206, whole[first:], headers)

    def _answer(self, manner: Manner, status: int, body: bytes, headers: dict[str, str]) -> None:
        length = str(len(body) + manner.length_lie)
        headers = {'Content-Length': length, 'Connection': 'close', **headers, **manner.headers}
        self.send_response(status)
        for name, text in headers.items():
            if text:
                self.send_header(name, text)
        self.end_headers()
        try:
            self._write(manner, body)
        except OSError:
            return  # the client has left

    def _write(self, manner: Manner, body: bytes) -> None:
        if manner.cut_at >= 0:
            self.wfile.write(body[: manner.cut_at])
            return
        if manner.stall_at >= 0:
            self.wfile.write(body[: manner.stall_at])
            self.wfile.flush()
            self.world.stalled.set()
            self.world.ended.wait(60)
            return
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""
