# SPDX-License-Identifier: Apache-2.0
"""What `make setup` says about a machine that lacks something: one sentence, with the cure."""

from __future__ import annotations

import ast
from dataclasses import replace
from pathlib import Path

import pytest
from development import requirements
from development.machine import TOOLS, Machine, choose_distro, problem

ROOT = Path(__file__).resolve().parents[2]
READY = Machine(
    system='Linux',
    architecture='x86_64',
    python=Path('/usr/bin/python3.11'),
    python_version=(3, 11),
    has_venv=True,
    has_headers=True,
    tools=frozenset(TOOLS),
    ros_distro='',
    has_rclpy=False,
)
SOURCED = replace(READY, ros_distro='jazzy', has_rclpy=True)
ROBOT = replace(SOURCED, architecture='aarch64')


def assert_is_one_sentence(text: str | None) -> None:
    assert text is not None
    assert '\n' not in text
    assert text.endswith('.')
    assert '. ' not in text


@pytest.mark.parametrize('distro', ['jazzy', 'kilted'])
def test_a_complete_machine_is_accepted(distro):
    assert problem(READY, distro) is None


@pytest.mark.parametrize(
    ('tool', 'cure'),
    [
        ('C compiler', 'apt install build-essential'),
        ('C++ compiler', 'apt install build-essential'),
        ('CMake', 'apt install cmake'),
        ('make', 'apt install make'),
    ],
)
def test_a_missing_tool_is_named_with_its_cure(tool, cure):
    sentence = problem(replace(READY, tools=frozenset(TOOLS) - {tool}), 'jazzy')
    assert_is_one_sentence(sentence)
    assert tool in sentence
    assert cure in sentence


def test_everything_that_is_missing_is_named_at_once():
    sentence = problem(replace(READY, tools=frozenset(), has_headers=False), 'jazzy')
    assert_is_one_sentence(sentence)
    assert 'apt install build-essential cmake make python3.11-dev' in sentence


def test_a_python_without_venv_is_told_the_package():
    sentence = problem(replace(READY, has_venv=False), 'jazzy')
    assert_is_one_sentence(sentence)
    assert 'apt install python3.11-venv' in sentence


@pytest.mark.parametrize(
    ('system', 'architecture'), [('Linux', 'aarch64'), ('Darwin', 'arm64'), ('Linux', 'riscv64')]
)
def test_a_platform_without_builds_is_told_to_source_ros(system, architecture):
    sentence = problem(replace(READY, system=system, architecture=architecture), 'jazzy')
    assert_is_one_sentence(sentence)
    assert architecture in sentence
    assert 'source' in sentence


def test_an_unknown_distribution_is_told_the_known_ones():
    sentence = problem(READY, 'melodic')
    assert_is_one_sentence(sentence)
    assert 'DISTRO=jazzy or DISTRO=kilted' in sentence


def test_a_sourced_ros_makes_any_architecture_good():
    assert problem(ROBOT, 'jazzy') is None


def test_a_sourced_ros_makes_its_own_distribution_good():
    humble = replace(SOURCED, ros_distro='humble')
    assert choose_distro(humble, '') == 'humble'
    assert problem(humble, 'humble') is None


def test_another_distribution_than_the_sourced_one_is_refused():
    sentence = problem(SOURCED, 'kilted')
    assert_is_one_sentence(sentence)
    assert 'jazzy is sourced' in sentence
    assert 'DISTRO=kilted' in sentence


def test_a_sourced_ros_of_another_python_counts_as_none():
    machine = replace(READY, ros_distro='humble', has_rclpy=False)
    assert machine.sourced is None
    assert choose_distro(machine, '') == 'jazzy'
    assert problem(machine, 'jazzy') is None


def test_nothing_asked_and_nothing_sourced_is_jazzy():
    assert choose_distro(READY, '') == 'jazzy'


def test_a_sourced_ros_needs_a_compiler_as_well():
    assert_is_one_sentence(problem(replace(ROBOT, tools=frozenset({'make', 'CMake'})), 'jazzy'))


def test_the_entry_stays_readable_by_python_3_6():
    """An old Python must get as far as the sentence that says it is too old."""
    ast.parse((ROOT / '.ci' / 'environment.py').read_text(), feature_version=(3, 6))


def test_the_environment_installs_what_the_library_says_it_needs():
    library = requirements.library(ROOT)
    assert set(library) == set(requirements.MODULES)
    assert set(library.values()) <= set(requirements.from_pypi(ROOT, 'jazzy'))


def test_every_requirement_has_a_range_or_a_distribution_in_its_name():
    everything = {
        *requirements.from_pypi(ROOT, 'jazzy'),
        *requirements.from_pypi(ROOT, 'kilted'),
        *requirements.oldest(),
    }
    loose = [line for line in everything if not any(sign in line for sign in '<>=')]
    assert loose
    assert all(line.startswith(('ros-jazzy-', 'ros-kilted-')) for line in loose)


def test_what_a_sourced_ros_brings_is_not_installed_again():
    present = frozenset({'numpy', 'cv2', 'PIL', 'yaml'})
    wanted = requirements.beside_ros(ROOT, present)
    names = {line.split('>')[0] for line in wanted}
    assert 'pydantic' in names
    assert not names & {'numpy', 'opencv-python-headless', 'pillow', 'pyyaml'}
    assert not any(name.startswith('ros-') for name in names)
