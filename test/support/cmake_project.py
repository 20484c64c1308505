# SPDX-License-Identifier: Apache-2.0
"""C++ programs on the packages of this environment: looked for, built, skipped with a reason."""

from __future__ import annotations

import os
import subprocess

import pytest

PROBE = 'cmake_minimum_required(VERSION 3.20)\nproject(probe CXX)\nfind_package({} REQUIRED)\n'


def needs_packages(*names, folder):
    """Skip the test, naming the first of these CMake packages that is not here."""
    for name in names:
        source = folder / f'probe_{name}'
        source.mkdir()
        (source / 'CMakeLists.txt').write_text(PROBE.format(name))
        answer = _run('cmake', '-S', source, '-B', source / 'build')
        if answer.returncode:
            assert f'Find{name}.cmake' in answer.stderr, answer.stderr  # it is broken, not absent
            pytest.skip(f'needs {name}')


def build(source, folder):
    """Build a CMake project; return the folder that its programs lie in."""
    for step in (('-S', source, '-B', folder), ('--build', folder)):
        answer = _run('cmake', *step)
        assert answer.returncode == 0, answer.stdout + answer.stderr
    return folder


def _run(*command):
    env = dict(os.environ)
    prefixes = [env.get(name, '') for name in ('CMAKE_PREFIX_PATH', 'AMENT_PREFIX_PATH')]
    env['CMAKE_PREFIX_PATH'] = os.pathsep.join(filter(None, prefixes))
    # The libraries of ROS 2 from PyPI find what they need only once they are loaded.
    env['LDFLAGS'] = env.get('LDFLAGS', '') + ' -Wl,--allow-shlib-undefined'
    words = [str(word) for word in command]
    return subprocess.run(words, env=env, capture_output=True, text=True, check=False)
