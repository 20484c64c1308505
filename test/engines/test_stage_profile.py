# SPDX-License-Identifier: Apache-2.0
"""mast3r-benchmark --profile: the work of each stage, its time, and the share of the peak."""

from __future__ import annotations

import json

import pytest

pytest.importorskip('torch', reason='needs torch')
pytest.importorskip('onnxscript', reason='needs onnxscript')
pytest.importorskip('onnxruntime', reason='needs onnxruntime')

from tiny_model import QUICK, QUICK_SHAPE, quick_model

from mast3r_ros.cli.benchmark import main
from mast3r_ros.core.product_peak import measured_peak
from mast3r_ros.models.work import pair_work

ARGUMENTS = ['--backend', 'onnxruntime', '--size', '160x120', '-n', '2', '--profile']


def profile(capsys: pytest.CaptureFixture[str], *more: str) -> dict:
    model = ['--model', str(quick_model()), '--resolution', '112']
    assert main([*ARGUMENTS, *model, '--json', *more]) == 0
    return json.loads(capsys.readouterr().out)[0]['profile']


def test_every_stage_has_its_work_and_its_share(capsys: pytest.CaptureFixture[str]) -> None:
    found = profile(capsys)
    work = pair_work(QUICK, QUICK_SHAPE, QUICK_SHAPE)
    assert {name: value['gflop'] * 1e9 for name, value in found['stages'].items()} == (
        pytest.approx({**work, 'total': sum(work.values())})
    )
    for value in found['stages'].values():
        assert value['gflops'] == pytest.approx(value['gflop'] / value['ms'] * 1e3)
        assert value['share_of_peak'] == pytest.approx(value['gflops'] / found['peak_gflops'])


def test_one_cloud_is_half_the_points_and_no_descriptors(
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole = pair_work(QUICK, QUICK_SHAPE, QUICK_SHAPE)
    found = profile(capsys, '--outputs', 'cloud')['stages']
    assert found['points']['gflop'] * 1e9 == pytest.approx(whole['points'] / 2)
    assert 'descriptors' not in found


def test_geometry_has_no_operations_to_count(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(['--backend', 'geometric', '-n', '1', '--profile']) != 0
    assert 'runs no network' in capsys.readouterr().err


def test_the_peak_is_a_speed_that_a_processor_can_have() -> None:
    assert 1e8 < measured_peak() < 1e15
