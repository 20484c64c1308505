# SPDX-License-Identifier: Apache-2.0
"""The web server behind the page: this machine alone unless asked, no internet, no strangers."""

from __future__ import annotations

import http
import ipaddress
import re
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from mast3r_ros.errors import InvalidInput, Mast3rError

LOOPBACK = '127.0.0.1'
PORT = 8080

_LOCAL_NAMES = ('localhost', '::1')
_building = threading.Lock()


def open_server(host: str = LOOPBACK, port: int = PORT) -> Any:
    """Return a running ``viser.ViserServer``; a port in use is passed over for the next free one.

    :param host: address to listen on; any but a loopback one shows the view to the network.
    :raises Mast3rError: viser is not installed.
    :raises InvalidInput: nothing can listen there.
    """
    try:
        import rich
        import viser
    except ImportError as error:
        raise Mast3rError(
            "the view needs the library viser; install it with `pip install 'mast3r_ros[viewer]'`"
        ) from error
    check_address(host, port)
    rich.get_console().quiet = True  # its banner names an address that may not be the true one
    with _building, _strangers_refused(host):
        server = viser.ViserServer(host=host, port=port, verbose=False)
    # A page could ask to be shared over a relay in the internet: never.
    server.request_share_url = lambda verbose=True: None  # type: ignore[method-assign]
    return server


def address_of(server: Any) -> str:
    """Return what to type into a browser on this machine."""
    host = server.get_host()
    shown = LOOPBACK if host in ('', '0.0.0.0', '::') else host
    return f'http://{f"[{shown}]" if ":" in shown else shown}:{server.get_port()}'


def is_loopback(host: str) -> bool:
    """Return whether only this machine reaches that address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host in _LOCAL_NAMES


def check_address(host: str, port: int) -> None:
    """Raise :class:`InvalidInput` unless something can listen there.

    viser itself would try for ever.
    """
    if not 1 <= port <= 65535 - 1000:  # viser looks through the thousand above
        raise InvalidInput(f'port is {port}; allowed are 1 to {65535 - 1000}')
    try:
        kind, _, _, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
        with socket.socket(kind, socket.SOCK_STREAM) as probe:
            probe.bind(address)
    except OSError as error:
        raise InvalidInput(
            f'nothing can listen on {host!r} ({error.strerror or error}); give an address of this '
            f'machine: {LOOPBACK} for itself alone, 0.0.0.0 for its whole network'
        ) from error


def may_connect(host: str, origin: str | None) -> bool:
    """Return whether a page of that origin may read the view.

    Any web page may open a socket to this machine, so a browser says where its page came from.
    What listens on loopback answers pages of loopback only, on any port (a tunnel changes it).

    :param host: what the server listens on.
    :param origin: nothing where no browser asks.
    """
    if origin is None or not is_loopback(host):
        return True
    name = urlsplit(origin).hostname if re.match(r'https?://', origin) else None
    return name is not None and is_loopback(name)


@contextmanager
def _strangers_refused(host: str) -> Iterator[None]:
    """Have the server made meanwhile ask :func:`may_connect`; viser has no option for it."""
    import websockets.asyncio.server as websockets_server

    real_serve = websockets_server.serve

    def serve(*values: Any, **options: Any) -> Any:
        options['process_request'] = _checked(options.get('process_request'), host)
        return real_serve(*values, **options)

    websockets_server.serve = serve  # type: ignore[assignment, misc]
    try:
        yield
    finally:
        websockets_server.serve = real_serve  # type: ignore[misc]


def _checked(inner: Callable[[Any, Any], Any] | None, host: str) -> Callable[[Any, Any], Any]:
    def process_request(connection: Any, request: Any) -> Any:
        is_socket = request.headers.get('Upgrade', '').lower() == 'websocket'
        if is_socket and not may_connect(host, request.headers.get('Origin')):
            return connection.respond(http.HTTPStatus.FORBIDDEN, 'not for pages of elsewhere\n')
        return None if inner is None else inner(connection, request)

    return process_request
