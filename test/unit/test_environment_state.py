# SPDX-License-Identifier: Apache-2.0
"""Which stages of a setup run again: those that changed, those that were cut short, no other."""

from __future__ import annotations

import pytest
from development.state import STAGES, State, package_fingerprint

WANTED = {'venv': 'v', 'requirements': 'r', 'package': 'p'}


@pytest.fixture
def finished(tmp_path):
    state = State(tmp_path)
    for stage in STAGES:
        state.begin(stage)
        state.finish(stage, WANTED[stage])
    return tmp_path


@pytest.fixture
def sources(tmp_path):
    for name, text in {
        'CMakeLists.txt': 'project(x)',
        'package.xml': '<package/>',
        'msg/A.msg': 'int32 a',
        'mast3r_ros/core/views.py': 'a = 1',
        'mast3r_ros/core/__pycache__/views.pyc': '',
        'config/a.yaml': 'a: 1',
    }.items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_new_environment_needs_every_stage(tmp_path):
    assert State(tmp_path / 'absent').needed(WANTED) == list(STAGES)


def test_a_finished_environment_needs_nothing(finished):
    assert State(finished).needed(WANTED) == []


@pytest.mark.parametrize('position', range(len(STAGES)))
def test_a_change_repeats_its_stage_and_those_after_it(finished, position):
    changed = {**WANTED, STAGES[position]: 'changed'}
    assert State(finished).needed(changed) == list(STAGES[position:])


def test_an_interrupted_installation_begins_anew(finished):
    State(finished).begin('requirements')
    assert State(finished).needed(WANTED) == list(STAGES)


def test_an_interrupted_first_stage_begins_anew_and_stays_ours(tmp_path):
    State(tmp_path / 'venv').begin('venv')
    again = State(tmp_path / 'venv')
    assert again.ours
    assert again.needed(WANTED) == list(STAGES)


def test_an_interrupted_build_is_repeated_alone_and_from_scratch(finished):
    State(finished).begin('package')
    again = State(finished)
    assert again.needed(WANTED) == ['package']
    assert not again.has('package')


def test_a_damaged_record_means_everything_anew(finished):
    for path in finished.iterdir():
        path.write_text('{"venv": ')
    assert State(finished).needed(WANTED) == list(STAGES)


def test_somebody_elses_folder_is_not_ours(tmp_path):
    (tmp_path / 'pyvenv.cfg').write_text('home = /usr/bin')
    assert not State(tmp_path).ours


@pytest.mark.parametrize('name', ['CMakeLists.txt', 'package.xml', 'msg/A.msg'])
def test_what_is_built_counts_by_its_contents(sources, name):
    before = package_fingerprint(sources)
    (sources / name).write_text('changed')
    assert package_fingerprint(sources) != before


def test_a_deleted_and_a_renamed_module_count(sources):
    module = sources / 'mast3r_ros/core/views.py'
    before = package_fingerprint(sources)
    renamed = module.rename(module.with_name('pictures.py'))
    after_rename = package_fingerprint(sources)
    renamed.unlink()
    assert len({before, after_rename, package_fingerprint(sources)}) == 3


def test_a_new_launch_file_counts(sources):
    before = package_fingerprint(sources)
    (sources / 'launch').mkdir()
    (sources / 'launch/drone.launch.py').write_text('')
    assert package_fingerprint(sources) != before


def test_an_edit_of_a_linked_module_needs_no_build(sources):
    before = package_fingerprint(sources)
    (sources / 'mast3r_ros/core/views.py').write_text('a = 2')
    (sources / 'mast3r_ros/core/__pycache__/new.pyc').write_text('')
    assert package_fingerprint(sources) == before
