# SPDX-License-Identifier: Apache-2.0
"""A headless Chromium, driven by its DevTools protocol: pages, clicks, scripts, screenshots."""

from __future__ import annotations

import base64
import io
import json
import shutil
import subprocess
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

NAMES = ('chromium', 'chromium-browser', 'google-chrome')
SIZE = (1280, 800)
_FLAGS = (
    '--headless=new',
    '--no-sandbox',
    '--disable-dev-shm-usage',
    '--no-first-run',
    '--disable-extensions',
    '--disable-background-networking',
    '--disable-component-update',
    '--mute-audio',
    '--use-gl=angle',
    '--use-angle=swiftshader',
    '--enable-unsafe-swiftshader',
    # Nothing but this machine answers: what would be fetched from elsewhere fails.
    '--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost',
    f'--window-size={SIZE[0]},{SIZE[1]}',
    '--remote-debugging-port=0',
)
DEADLINE_S = 90.0


def found() -> str | None:
    """Return the browser's path, or None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


@contextmanager
def browser(folder: Path):
    """Run a browser; ``folder`` keeps its profile."""
    path = found()
    assert path is not None
    profile = folder / 'profile'
    process = subprocess.Popen(
        [path, *_FLAGS, f'--user-data-dir={profile}', 'about:blank'],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield Browser(_devtools_port(profile, process))
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _devtools_port(profile: Path, process: subprocess.Popen) -> int:
    end = time.monotonic() + DEADLINE_S
    file = profile / 'DevToolsActivePort'
    while time.monotonic() < end and process.poll() is None:
        if file.exists() and (words := file.read_text().split()):
            return int(words[0])
        time.sleep(0.1)
    raise RuntimeError('the browser did not start')


class BrowserError(Exception):
    """The browser refused a command."""


class Browser:
    """A running browser."""

    def __init__(self, port: int) -> None:
        self._port = port

    def open(self, address: str) -> Page:
        """Open a page in a tab of its own."""
        request = urllib.request.Request(
            f'http://127.0.0.1:{self._port}/json/new?about:blank', method='PUT'
        )
        with urllib.request.urlopen(request, timeout=DEADLINE_S) as answer:
            target = json.load(answer)
        page = Page(target['webSocketDebuggerUrl'])
        page.go_to(address)
        return page


class Page:
    """One tab; collects what the page complains of and what it asks the network for."""

    def __init__(self, address: str) -> None:
        from websockets.sync.client import connect

        self.errors: list[str] = []
        self.requests: list[str] = []
        self._socket = connect(address, max_size=None)
        self._number = 0
        for domain in ('Page', 'Runtime', 'Log', 'Network'):
            self.call(f'{domain}.enable')
        self.call(
            'Emulation.setDeviceMetricsOverride',
            width=SIZE[0],
            height=SIZE[1],
            deviceScaleFactor=1,
            mobile=False,
        )

    def go_to(self, address: str) -> None:
        self.call('Page.bringToFront')
        self.call('Page.navigate', url=address)

    def call(self, method: str, **params: Any) -> dict[str, Any]:
        """Send a command and return its result."""
        self._number += 1
        self._socket.send(json.dumps({'id': self._number, 'method': method, 'params': params}))
        while True:
            message = json.loads(self._socket.recv(timeout=DEADLINE_S))
            if message.get('id') == self._number:
                if 'error' in message:
                    raise BrowserError(f'{method}: {message["error"]}')
                return message['result']
            self._note(message)

    def run(self, script: str) -> Any:
        """Return what a JavaScript expression gives."""
        answer = self.call('Runtime.evaluate', expression=script, returnByValue=True)
        assert 'exceptionDetails' not in answer, answer['exceptionDetails']
        return answer['result'].get('value')

    def text(self) -> str:
        """Return all the words on the page."""
        return str(self.run('document.body ? document.body.innerText : ""'))

    def until(self, condition, what: str, timeout_s: float = DEADLINE_S) -> Any:
        """Wait for a condition and return what it gave."""
        end = time.monotonic() + timeout_s
        while time.monotonic() < end:
            if given := condition():
                return given
            time.sleep(0.25)
        raise AssertionError(f'{what} did not happen; the page says: {self.text()[:2000]}')

    def screenshot(self, path: Path | None = None) -> np.ndarray:
        """Return the page as RGB (H, W, 3)."""
        data = base64.b64decode(self._capture())
        if path is not None:
            path.write_bytes(data)
        with Image.open(io.BytesIO(data)) as picture:
            return np.asarray(picture.convert('RGB'))

    def _capture(self) -> str:
        end = time.monotonic() + DEADLINE_S
        while True:
            try:
                return str(self.call('Page.captureScreenshot', format='png')['data'])
            except BrowserError:  # between two pages there is none to be shot
                if time.monotonic() > end:
                    raise
                time.sleep(0.25)

    def click(self, x: float, y: float) -> None:
        for kind in ('mousePressed', 'mouseReleased'):
            self.call('Input.dispatchMouseEvent', type=kind, x=x, y=y, button='left', clickCount=1)

    def click_on(self, words: str) -> None:
        """Click on the button that says these words."""
        place = self.until(lambda: self.run(_BUTTON % json.dumps(words)), f'a button {words!r}')
        self.click(*place)

    def close(self) -> None:
        self._socket.close()

    def _note(self, message: dict[str, Any]) -> None:
        params = message.get('params', {})
        kind = message.get('method')
        if kind == 'Runtime.exceptionThrown':
            self.errors.append(json.dumps(params['exceptionDetails'])[:500])
        elif kind == 'Runtime.consoleAPICalled' and params['type'] == 'error':
            self.errors.append(json.dumps(params['args'])[:500])
        elif kind == 'Log.entryAdded' and params['entry']['level'] == 'error':
            self.errors.append(json.dumps(params['entry'])[:500])
        elif kind == 'Network.requestWillBeSent':
            self.requests.append(params['request']['url'][:200])


_BUTTON = """(() => {
  const found = [...document.querySelectorAll('button')].find(b => b.innerText.trim() === %s);
  if (!found) return null;
  found.scrollIntoView({block: 'center'});
  const box = found.getBoundingClientRect();
  return [box.x + box.width / 2, box.y + box.height / 2];
})()"""
