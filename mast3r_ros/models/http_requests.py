# SPDX-License-Identifier: Apache-2.0
"""HTTP requests with rules: what may be asked, where a redirect may lead, what a refusal means."""

from __future__ import annotations

import http.client
import ipaddress
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from mast3r_ros import __version__
from mast3r_ros.errors import DownloadError

MAX_REDIRECTS = 5
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class NotThere(DownloadError):
    """The server has no such file."""


class Interrupted(DownloadError):
    """The transfer broke off in a way that another attempt may mend."""


class RangeRefused(DownloadError):
    """The server has nothing behind the place where the transfer broke off."""


def check_address(url: str, *, allow_http: bool = False) -> None:
    """Raise unless an address may be asked: https, or http on this machine or when allowed."""
    try:
        parts = urlsplit(url)
        host, _port = parts.hostname, parts.port
    except ValueError:
        parts, host = None, None
    if parts is None or not host or any(not 32 < ord(letter) < 127 for letter in url):
        raise DownloadError(f'{url!r} is no address; write it like https://mirror.example/models')
    if parts.username is not None or parts.password is not None:
        raise DownloadError(f'the address of {host} carries a user name, which is not supported')
    if parts.scheme == 'https':
        return
    if parts.scheme != 'http':
        raise DownloadError(f'{url} begins with {parts.scheme}:; only https: can be fetched')
    if not allow_http and not is_this_machine(host):
        raise DownloadError(
            f'{url} is not encrypted, so anybody on the way could change the weights; use https, '
            'or --allow-http if you trust that network'
        )


def is_this_machine(host: str) -> bool:
    """Return whether a host is this machine, by its name or address."""
    if host == 'localhost':
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def open_address(
    url: str, headers: Mapping[str, str], *, timeout_s: float, allow_http: bool = False
) -> Any:
    """Return the answer of a server, its body not yet read.

    :raises NotThere: if the server does not have it.
    :raises RangeRefused: if it has not the part that was asked for.
    :raises Interrupted: if another attempt makes sense.
    :raises DownloadError: if none does.
    """
    check_address(url, allow_http=allow_http)
    request = urllib.request.Request(
        url,
        headers={
            'User-Agent': f'mast3r_ros/{__version__}',
            'Accept-Encoding': 'identity',
            **headers,
        },
    )
    handlers: list[urllib.request.BaseHandler] = [_Redirects(url, allow_http)]
    if is_this_machine(urlsplit(url).hostname or ''):
        handlers.append(urllib.request.ProxyHandler({}))  # a proxy has no way to this machine
    try:
        return urllib.request.build_opener(*handlers).open(request, timeout=timeout_s)
    except urllib.error.HTTPError as error:
        error.close()
        raise _refusal(url, error.code) from None
    except urllib.error.URLError as error:
        raise _unreachable(url, error.reason) from None
    except DownloadError:
        raise
    except (OSError, http.client.HTTPException) as error:
        raise _unreachable(url, error) from None


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows a few redirects, and none to a less safe address than the first."""

    def __init__(self, first: str, allow_http: bool) -> None:
        self._first = first
        self._was_safe = urlsplit(first).scheme == 'https'
        self._allow_http = allow_http
        self._followed = 0

    def redirect_request(
        self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request:
        fp.close()
        self._followed += 1
        if code not in _REDIRECTS or self._followed > MAX_REDIRECTS:
            raise DownloadError(
                f'{self._first} redirects more than {MAX_REDIRECTS} times; use another address'
            )
        if self._was_safe and urlsplit(newurl).scheme != 'https':
            raise DownloadError(f'{self._first} redirects to {newurl[:200]}, which is not https')
        try:
            check_address(newurl, allow_http=self._allow_http)
        except DownloadError as error:
            raise DownloadError(f'{self._first} redirects elsewhere: {error}') from None
        # Not header_items(): they hold what the library added for the first address, Host too.
        return urllib.request.Request(newurl, headers=dict(req.headers))

    # Python 3.10 does not know 308 yet.
    http_error_308 = urllib.request.HTTPRedirectHandler.http_error_302


def _refusal(url: str, code: int) -> DownloadError:
    reason = http.client.responses.get(code, 'unknown')
    said = f'{url}: the server answers {code} ({reason})'
    if code in (404, 410):
        return NotThere(said)
    if code == 416:
        return RangeRefused(said)
    if code in _AGAIN:
        return Interrupted(said)
    if code in _REDIRECTS:
        return DownloadError(f'{url} redirects in a circle, or to what cannot be fetched')
    if code in (401, 403):
        return DownloadError(
            f'{said}; the file may want a log-in: fetch it with a browser, or use --url'
        )
    return DownloadError(said)


def _unreachable(url: str, reason: object) -> DownloadError:
    host = urlsplit(url).hostname
    if isinstance(reason, ssl.SSLCertVerificationError):
        return DownloadError(
            f'{host} does not prove who it is ({reason.verify_message}); check the clock of this '
            'machine and the certificates of its system'
        )
    if isinstance(reason, TimeoutError):
        return Interrupted(f'{host} does not answer')
    said = str(reason) or type(reason).__name__
    return Interrupted(f'{host} cannot be reached: {said}')
