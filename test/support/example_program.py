# SPDX-License-Identifier: Apache-2.0
"""An installed example as its users run it: a process of its own, read line by line."""

from __future__ import annotations

import json
import signal
import subprocess
import tempfile
import threading
from pathlib import Path

from ament_index_python import get_package_share_directory

EXAMPLES = Path(get_package_share_directory('mast3r_ros')) / 'examples'
PATIENCE_S = 30.0


class ExampleProgram:
    """A running example; ``lines`` are the lines of JSON that it has printed so far.

    :param command: the program and its arguments.
    """

    def __init__(self, *command):
        self.lines = []
        self._complaints = tempfile.TemporaryFile('w+')  # noqa: SIM115 (closed in __exit__)
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._process.kill()
        self._process.wait()
        self._reader.join()
        self._process.stdout.close()
        self._complaints.close()

    def of_stamps(self, *stamps_ns):
        """Return the line of the pair of these two stamps, or None."""
        names = [f'{ns // 10**9}.{ns % 10**9:09d}' for ns in stamps_ns]
        return next((line for line in self.lines if line['stamps'] == names), None)

    def says(self):
        """Return what it has complained about, and whether it has ended, in words."""
        self._complaints.seek(0)
        return f'exit code {self._process.poll()}, it printed: {self._complaints.read()}'

    def end(self):
        """End it as Ctrl-C does; return its exit code and what it complained about."""
        self._process.send_signal(signal.SIGINT)
        code = self._process.wait(PATIENCE_S)
        return code, self.says()

    def _read(self):
        for line in self._process.stdout:
            self.lines.append(json.loads(line))
