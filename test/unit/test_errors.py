# SPDX-License-Identifier: Apache-2.0
"""The errors this package raises can be caught as one, and as what Python calls their kind."""

from __future__ import annotations

import pickle

import pytest

from mast3r_ros import errors
from mast3r_ros.errors import ConfigError, EngineCancelled, EngineFailed, Mast3rError

OWN_ERRORS = [
    value
    for value in vars(errors).values()
    if isinstance(value, type) and issubclass(value, Exception)
]


@pytest.mark.parametrize('error', OWN_ERRORS, ids=lambda error: error.__name__)
def test_every_error_is_a_mast3r_error_with_a_meaning(error: type[Exception]) -> None:
    assert issubclass(error, Mast3rError)
    assert error.__doc__


@pytest.mark.parametrize(
    ('error', 'kind'),
    [
        (errors.ConfigError, ValueError),
        (errors.InvalidInput, ValueError),
        (errors.EngineUnavailable, RuntimeError),
        (errors.EngineFailed, RuntimeError),
        (errors.ModelNotFound, FileNotFoundError),
    ],
)
def test_each_error_is_also_what_python_calls_its_kind(
    error: type[Exception], kind: type[Exception]
) -> None:
    assert issubclass(error, kind)


def test_a_cancelled_call_counts_as_a_failed_one() -> None:
    assert issubclass(EngineCancelled, EngineFailed)


def test_a_model_that_is_not_found_says_its_sentence() -> None:
    assert str(errors.ModelNotFound('there is no model at /x')) == 'there is no model at /x'


def test_a_config_error_says_every_problem_and_lists_them() -> None:
    error = ConfigError([('a', 'a is 1, allowed is 2'), ('b.c', 'b.c is 3, allowed is 4')])
    assert str(error) == 'a is 1, allowed is 2; b.c is 3, allowed is 4'
    assert [name for name, _ in error.problems] == ['a', 'b.c']


def test_a_config_error_crosses_process_boundaries_whole() -> None:
    error = ConfigError([('a', 'a is 1, allowed is 2')])
    copy = pickle.loads(pickle.dumps(error))
    assert copy.problems == error.problems
    assert str(copy) == str(error)
