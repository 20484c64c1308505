# SPDX-License-Identifier: Apache-2.0
"""Work shared out over threads gives the answers that one thread would."""

from __future__ import annotations

import threading

import pytest

from mast3r_ros.core.parallel import both

PATIENCE_S = 30.0


@pytest.mark.parametrize('threads', [1, 2])
def test_both_answers_come_in_order(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mast3r_ros.core.parallel.thread_count', lambda: threads)
    assert both(lambda: 'first', lambda: 2) == ('first', 2)


def test_two_jobs_run_at_the_same_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mast3r_ros.core.parallel.thread_count', lambda: 2)
    meeting = threading.Barrier(2, timeout=PATIENCE_S)
    assert sorted(both(meeting.wait, meeting.wait)) == [0, 1]


def test_one_core_does_one_job_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr('mast3r_ros.core.parallel.thread_count', lambda: 1)
    assert set(both(threading.get_ident, threading.get_ident)) == {threading.get_ident()}


@pytest.mark.parametrize('failing', [0, 1])
def test_the_error_of_either_job_reaches_the_caller(
    failing: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr('mast3r_ros.core.parallel.thread_count', lambda: 2)
    jobs = [lambda: 1.0, lambda: 1.0]
    jobs[failing] = lambda: 1.0 / 0.0
    with pytest.raises(ZeroDivisionError):
        both(*jobs)
