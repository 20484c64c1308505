# SPDX-License-Identifier: Apache-2.0
"""The sums of the test run: nothing that failed, crashed or was skipped goes missing in them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from test_reports import Report, crashed, read_junit

ALLOWED = Path(__file__).resolve().parents[2] / '.ci' / 'allowed_skips.txt'
JUNIT = """<testsuites><testsuite>
<testcase classname="a" name="test_good"/>
<testcase classname="a" name="test_bad"><failure message="assert 1 == 2&#10;more"/></testcase>
<testcase classname="a" name="test_broken"><error message="fixture failed"/></testcase>
<testcase classname="a" name="test_absent"><skipped message="needs a GPU of ours"/></testcase>
</testsuite></testsuites>"""


@pytest.fixture
def report(tmp_path):
    path = tmp_path / 'report.xml'
    path.write_text(JUNIT)
    return read_junit('unit', path)


def test_every_outcome_is_counted(report):
    assert report.closing_line() == '1 passed, 2 failed, 1 skipped'


def test_failures_and_skips_are_named_with_their_first_line(report):
    assert report.failures == [
        'unit::test_bad: assert 1 == 2',
        'unit::test_broken: fixture failed',
    ]
    assert report.skips == [('unit::test_absent', 'needs a GPU of ours')]


@pytest.mark.parametrize('why', ['a why', "could not import 'it'", 'no "it" here'])
def test_a_module_that_skips_itself_says_why(tmp_path, why):
    (tmp_path / 'test_it.py').write_text(
        f'import pytest\npytest.importorskip("_no", reason={why!r})'
    )
    subprocess.run(
        [sys.executable, '-m', 'pytest', '-q', '--junitxml=report.xml', 'test_it.py'],
        cwd=tmp_path,
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert read_junit('unit', tmp_path / 'report.xml').skips == [('unit::test_it', why)]


def test_a_process_without_a_report_is_a_failure(tmp_path):
    assert read_junit('ros/test_node', tmp_path / 'absent.xml').failed == 1


def test_processes_are_summed(report):
    report += crashed('ros/test_node', 'ended with exit code -11')
    report += Report(passed=5)
    assert report.closing_line() == '6 passed, 3 failed, 1 skipped'
    assert 'FAILED ros/test_node: ended with exit code -11' in report.summary()


def test_a_reason_that_the_list_lacks_is_a_stray(report):
    assert report.stray_skips(ALLOWED) == ['needs a GPU of ours']


def test_a_reason_that_the_list_knows_is_allowed():
    report = Report(skips=[('a', 'MAST3R_ROS_DATA does not name a folder with euroc_stereo_bag')])
    assert report.stray_skips(ALLOWED) == []
