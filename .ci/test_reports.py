# SPDX-License-Identifier: Apache-2.0
"""What the test processes reported, summed up: counts, failures, every skip with its reason."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from xml.etree import ElementTree

LONGEST_LINE = 200  # characters of a reason


@dataclass
class Report:
    """The outcome of one test process or of several."""

    passed: int = 0
    failures: list[str] = field(default_factory=list)  # one line each
    skips: list[tuple[str, str]] = field(default_factory=list)  # test, reason

    @property
    def failed(self) -> int:
        """How many tests failed, could not be set up or never ended."""
        return len(self.failures)

    def __iadd__(self, other: Report) -> Report:
        self.passed += other.passed
        self.failures += other.failures
        self.skips += other.skips
        return self

    def summary(self) -> list[str]:
        """Return a line for each reason of a skip and for each failure."""
        reasons = Counter(reason for _, reason in self.skips)
        skipped = [f'SKIPPED {count:3} x {reason}' for reason, count in sorted(reasons.items())]
        return ['', *skipped, *(f'FAILED {failure}' for failure in self.failures)]

    def closing_line(self) -> str:
        """Return the sum, as the last line of a run."""
        return f'{self.passed} passed, {self.failed} failed, {len(self.skips)} skipped'

    def stray_skips(self, allowed: Path) -> list[str]:
        """Return the reasons that no pattern of the file allows."""
        patterns = _patterns(allowed)
        reasons = sorted({reason for _, reason in self.skips})
        return [one for one in reasons if not any(pattern.search(one) for pattern in patterns)]


def crashed(name: str, how: str) -> Report:
    """Return the report of a process that wrote none."""
    return Report(failures=[f'{name}: {how}'])


def read_junit(name: str, path: Path) -> Report:
    """Read what one pytest process wrote."""
    if not path.is_file():
        return crashed(name, 'ended without a report')
    report = Report()
    for case in ElementTree.parse(path).getroot().iter('testcase'):
        test = f'{name}::{case.get("name") or case.get("classname")}'
        skipped = case.find('skipped')
        wrong = [case.find(kind) for kind in ('failure', 'error')]
        broken = next((item for item in wrong if item is not None), None)
        if broken is not None:
            report.failures.append(f'{test}: {_first_line(broken.get("message"))}')
        elif skipped is not None:
            report.skips.append((test, _first_line(_skip_reason(skipped))))
        else:
            report.passed += 1
    return report


def _skip_reason(skipped: ElementTree.Element) -> str | None:
    """Return why; for a whole module it stands in the text: (file, line, 'Skipped: why')."""
    whole_module = re.search(r"""['\"]Skipped: (.*)['\"]\)""", skipped.text or '')
    return whole_module.group(1) if whole_module else skipped.get('message')


def _first_line(message: str | None) -> str:
    line = (message or 'no reason given').strip().splitlines()[0]
    return line if len(line) <= LONGEST_LINE else line[: LONGEST_LINE - 3] + '...'


def _patterns(path: Path) -> list[re.Pattern[str]]:
    lines = path.read_text(encoding='utf-8').splitlines()
    return [re.compile(line) for line in lines if line.strip() and not line.startswith('#')]
