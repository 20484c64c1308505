# SPDX-License-Identifier: Apache-2.0
"""Importing the package costs nothing, and every public name is there when it is used."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

import mast3r_ros

ROOT = Path(__file__).parents[2]


def loaded_by(statement: str) -> set[str]:
    """Return the top-level modules that a statement loads in a fresh interpreter."""
    code = (
        'import sys; before = set(sys.modules)\n'
        f'{statement}\n'
        'print(*{name.partition(".")[0] for name in set(sys.modules) - before})'
    )
    done = subprocess.run(
        [sys.executable, '-c', code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    return set(done.stdout.split())


def test_importing_the_package_loads_nothing_but_itself() -> None:
    heavy = loaded_by('import mast3r_ros') - set(sys.stdlib_module_names)
    assert heavy == {'mast3r_ros'}


def test_importing_the_package_loads_no_slow_part_of_the_standard_library() -> None:
    slow = {'typing', 'dataclasses', 'enum', 'logging', 'inspect', 're', 'json', 'pathlib'}
    assert not loaded_by('import mast3r_ros') & slow


def test_settings_and_errors_load_no_numpy() -> None:
    statement = 'from mast3r_ros import MASt3RRuntimeConfig, ConfigError'
    assert not loaded_by(statement) & {'numpy', 'cv2', 'PIL'}


@pytest.mark.parametrize('name', mast3r_ros.__all__)
def test_every_public_name_resolves(name: str) -> None:
    assert getattr(mast3r_ros, name) is not None


def test_a_public_name_is_the_very_thing_its_module_holds() -> None:
    from mast3r_ros.core.cameras import Camera

    assert mast3r_ros.Camera is Camera


def test_type_checkers_see_every_public_name() -> None:
    source = Path(mast3r_ros.__file__).read_text()
    declared = set(re.findall(r'\b(\w+) as \1\b', source))
    assert declared == set(mast3r_ros.__all__) - {'__version__'}


def test_public_names_are_listed_for_completion() -> None:
    assert set(mast3r_ros.__all__) <= set(dir(mast3r_ros))


def test_an_unknown_name_is_an_attribute_error_that_names_it() -> None:
    with pytest.raises(AttributeError, match='Camrea'):
        _ = mast3r_ros.Camrea
