# SPDX-License-Identifier: Apache-2.0
"""Depth files of every kind give the same depth; what is no depth is said in one sentence."""

from __future__ import annotations

import contextlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image

from mast3r_ros.core.depth_files import load_depth
from mast3r_ros.errors import InvalidInput

DEPTH = np.array([[1.0, 2.5, 0.0], [7.25, 0.125, 60.0]], np.float32)  # 0: unknown
KNOWN = np.where(DEPTH > 0, DEPTH, np.nan)


def write_pfm(path: Path, values: np.ndarray, little: bool = True, header: bytes = b'Pf') -> Path:
    height, width = values.shape
    order, scale = ('<f4', b'-1.0') if little else ('>f4', b'1.0')
    head = b'%s\n%d %d\n%s\n' % (header, width, height, scale)
    path.write_bytes(head + values[::-1].astype(order).tobytes())
    return path


def write_npy(path: Path, values: np.ndarray) -> Path:
    np.save(path, values)
    return path


def write_png(path: Path, values: np.ndarray) -> Path:
    Image.fromarray(values).save(path)
    return path


@pytest.mark.parametrize('kind', [np.float16, np.float32, np.float64])
def test_a_numpy_file_is_depth_in_metres(tmp_path, kind):
    found = load_depth(write_npy(tmp_path / 'depth.npy', DEPTH.astype(kind)))
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, KNOWN)


def test_a_numpy_file_may_have_an_axis_for_its_one_channel(tmp_path):
    found = load_depth(write_npy(tmp_path / 'depth.npy', DEPTH[..., None]))
    np.testing.assert_array_equal(found, KNOWN)


@pytest.mark.parametrize('little', [True, False])
def test_a_pfm_is_read_from_its_lowest_row_up_in_either_byte_order(tmp_path, little):
    np.testing.assert_array_equal(load_depth(write_pfm(tmp_path / 'd.pfm', DEPTH, little)), KNOWN)


def test_a_pfm_is_read_as_opencv_reads_it(tmp_path):
    path = tmp_path / 'depth.pfm'
    cv2.imwrite(str(path), DEPTH)
    np.testing.assert_array_equal(load_depth(path), KNOWN)


def test_a_png_is_in_millimetres_as_in_ros_unless_told_otherwise(tmp_path):
    path = write_png(tmp_path / 'depth.png', (DEPTH * 1000).astype(np.uint16))
    np.testing.assert_allclose(load_depth(path), KNOWN)
    np.testing.assert_allclose(load_depth(path, 5000.0), KNOWN / 5)


def test_what_is_no_positive_number_is_unknown(tmp_path):
    values = np.array([[np.nan, np.inf, -np.inf, -1.0, 0.0, 3.0]], np.float64)
    found = load_depth(write_npy(tmp_path / 'depth.npy', values))
    np.testing.assert_array_equal(found, [[np.nan] * 5 + [3.0]])


@pytest.mark.parametrize(
    ('name', 'write', 'words'),
    [
        ('a.npy', lambda path: write_npy(path, np.zeros((2, 3, 3))), r'shape \(2, 3, 3\)'),
        ('a.npy', lambda path: write_npy(path, np.array([['x']])), 'no array of numbers'),
        ('a.npy', lambda path: write_npy(path, np.ones((2, 2), complex)), 'no array of numbers'),
        ('a.npy', lambda path: path.write_bytes(b''), 'cannot be read'),
        ('a.npy', lambda path: path.write_bytes(b'garbage'), 'cannot be read'),
        ('a.pfm', lambda path: path.write_bytes(b'P6\n2 2\n255\n'), 'no PFM'),
        ('a.pfm', lambda path: path.write_bytes(b'Pf\n2 2\n-1.0\n123'), '2x2 values take 16'),
        ('a.pfm', lambda path: path.write_bytes(b'Pf\n99999999 99999999\n-1\n'), 'damaged'),
        ('a.pfm', lambda path: write_pfm(path, DEPTH, header=b'PF'), 'three channels'),
        ('a.png', lambda path: write_png(path, np.zeros((2, 2, 3), np.uint8)), 'mode RGB'),
        ('a.png', lambda path: write_png(path, np.zeros((2, 2), np.uint8)), 'mode L'),
        ('a.png', lambda path: path.write_bytes(b'\x89PNG\r\n\x1a\n' + bytes(20)), 'be read'),
        ('a.exr', lambda path: path.write_bytes(b'x'), r'no depth file; give a \.npy'),
        ('a.npy', lambda path: None, 'does not exist'),
        ('a.npy', lambda path: path.mkdir(), 'does not exist'),
    ],
)
def test_what_is_no_depth_is_said(tmp_path, name, write, words):
    path = tmp_path / name
    write(path)
    with pytest.raises(InvalidInput, match=words):
        load_depth(path)


def test_a_numpy_file_that_promises_more_than_it_holds_is_refused(tmp_path):
    path = write_npy(tmp_path / 'depth.npy', np.zeros((10, 10), np.float32))
    path.write_bytes(path.read_bytes().replace(b'(10, 10)', b'(9999999999, 10)'))
    with pytest.raises(InvalidInput, match='cannot be read'):
        load_depth(path)


@pytest.mark.parametrize('steps', [0.0, -1.0, float('nan')])
def test_steps_that_are_no_unit_are_refused(tmp_path, steps):
    with pytest.raises(InvalidInput, match='give more than 0'):
        load_depth(tmp_path / 'depth.png', steps)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.sampled_from(['npy', 'pfm', 'png']), st.data())
def test_a_damaged_file_gives_depth_or_a_sentence(tmp_path, kind, data):
    path = tmp_path / f'depth.{kind}'
    write = {'npy': write_npy, 'pfm': write_pfm, 'png': write_png}[kind]
    write(path, DEPTH if kind != 'png' else (DEPTH * 1000).astype(np.uint16))
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with contextlib.suppress(InvalidInput):
        assert load_depth(path).ndim == 2
