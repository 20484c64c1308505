# SPDX-License-Identifier: Apache-2.0
"""Files that want to run something, or more memory than they have bytes, are refused unrun."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest

torch = pytest.importorskip('torch')

from support.checkpoint_files import (  # noqa: E402  # it needs PyTorch
    SMALL,
    golden_tensors,
    pickled_in_archive,
    refusal,
    save_published,
)

from mast3r_ros.errors import CheckpointError  # noqa: E402
from mast3r_ros.models.pickle_outline import Arguments  # noqa: E402
from mast3r_ros.models.torch_files import load_torch_file  # noqa: E402

# --- Files that want to run something ------------------------------------------------------------


class Attack:
    """Runs a call when it is unpickled."""

    def __init__(self, call: Callable, *arguments: object) -> None:
        self.call = call
        self.arguments = arguments

    def __reduce__(self) -> tuple:
        return self.call, self.arguments


@pytest.mark.parametrize('call', [os.system, eval, exec, subprocess.call])
def test_a_file_that_would_run_something_is_refused_by_name_and_not_run(
    call: Callable, tmp_path: Path
) -> None:
    trace = tmp_path / 'was_here'
    python = f'open({str(trace)!r}, "w")'
    argument: object = python if call in (eval, exec) else f'touch {trace}'
    if call is subprocess.call:
        argument = ['touch', str(trace)]
    path = tmp_path / 'weights.pth'
    torch.save({'model': golden_tensors(SMALL), 'args': Attack(call, argument)}, path)
    sentence = refusal(path)
    assert call.__name__ in sentence
    assert 'nothing of it was run' in sentence
    assert not trace.exists()
    with pytest.raises(CheckpointError, match='refused'):  # the second lock holds by itself
        load_torch_file(path)
    assert not trace.exists()


@pytest.mark.parametrize('protocol', [3, 4, 5])
def test_attacks_in_newer_protocols_are_refused_too(protocol: int, tmp_path: Path) -> None:
    trace = tmp_path / 'was_here'
    data = pickle.dumps({'model': Attack(os.system, f'touch {trace}')}, protocol=protocol)
    refusal(pickled_in_archive(tmp_path / 'weights.pth', data))
    assert not trace.exists()


@pytest.mark.parametrize(
    'data',
    [
        b"cposix\nsystem\n(S'touch was_here'\ntR.",
        b"(S'touch was_here'\niposix\nsystem\n.",
        b"(cposix\nsystem\nS'touch was_here'\no.",
        b'\x80\x02\x82\x01.',  # a class by its number in the registry of extensions
        b'\x80\x02cargparse\nNamespace\n}X\x08\x00\x00\x00__init__K\x01sb.',  # on the class itself
        b'\x80\x02cargparse\nNamespace\nN}X\x04\x00\x00\x00evilK\x01s\x86b.',
        b'\x80\x02ccollections\nOrderedDict\n}X\x03\x00\x00\x00getK\x01sb.',
        b'\x80\x02cbuiltins\nbytearray\n\x8a\x05\x00\x00\x00\x00\xe8\x85R.',  # a terabyte
        b'\x80\x02ctorch._utils\n_rebuild_sparse_tensor\n(tR.',
        b'\x80\x02r\xff\xff\xff\xff.',  # a memo of four thousand million
        b'\x80\x02]r\xff\xff\xff\xff.',
    ],
)
def test_single_tricks_of_pickles_are_refused(
    data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    refusal(pickled_in_archive(tmp_path / 'weights.pth', data))
    assert not (tmp_path / 'was_here').exists()
    assert not hasattr(Arguments, 'evil')
    assert callable(argparse.Namespace().__init__)
    assert collections.OrderedDict(a=1).get('a') == 1


def test_all_that_is_refused_is_named(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    torch.save({'a': Attack(os.system, 'true'), 'b': Attack(eval, '1')}, path)
    sentence = refusal(path)
    assert 'system' in sentence
    assert 'eval' in sentence


def test_a_class_beside_the_weights_is_refused_by_name(tmp_path: Path) -> None:
    path = save_published(tmp_path / 'weights.pth', SMALL, epoch=Path('somewhere'))
    assert 'pathlib' in refusal(path)


# --- Files that want too much --------------------------------------------------------------------

LITTLE_MEMORY = """
import resource, sys, torch
from mast3r_ros.errors import CheckpointError
from mast3r_ros.models.checkpoints import read_checkpoint
used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 28), used + (1 << 28)))
try:
    read_checkpoint(sys.argv[1])
except CheckpointError as error:
    print(error)
"""


def refusal_in_little_memory(path: Path) -> str:
    answer = subprocess.run(
        [sys.executable, '-c', LITTLE_MEMORY, str(path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert answer.returncode == 0, answer.stderr
    return answer.stdout


class Claim:
    """A tensor that says it is larger than its values."""

    def __init__(self, shape: tuple[int, ...], strides: tuple[int, ...], held: int) -> None:
        self.shape = shape
        self.strides = strides
        self.held = held


def claiming(path: Path, claim: Claim, values: bytes) -> Path:
    """Write an archive with one tensor that claims what is given."""

    class Storage:
        pass

    class Pickler(pickle._Pickler):
        def persistent_id(self, item: object) -> object:
            if isinstance(item, Storage):
                return ('storage', torch.FloatStorage, '0', 'cpu', claim.held)
            return None

        def reducer_override(self, item: object) -> object:
            return NotImplemented

    class Tensor:
        def __reduce__(self) -> tuple:
            arguments = (
                Storage(),
                0,
                claim.shape,
                claim.strides,
                False,
                collections.OrderedDict(),
            )
            return torch._utils._rebuild_tensor_v2, arguments

    stream = io.BytesIO()
    Pickler(stream, protocol=2).dump({'model': {'dec_norm.weight': Tensor()}})
    return pickled_in_archive(path, stream.getvalue(), _0=values)


TERA = 1 << 38  # values of four bytes


@pytest.mark.parametrize(
    ('claim', 'words'),
    [
        (Claim((TERA,), (1,), TERA), 'should have 1099511627776 bytes and has 16'),
        (Claim((TERA,), (1,), 4), 'claims 1099511627776 bytes in a block of 16'),
        (Claim((TERA,), (0,), 4), 'claims 1099511627776 bytes in a block of 16'),
        (Claim((2,), (TERA,), 4), 'claims'),
        (Claim((-1, -4), (1, 1), 4), 'cannot be'),
        (Claim((2, 2), (1,), 4), 'cannot be'),
        (Claim((4,), (1,), 1 << 70), 'other than a block'),
    ],
)
def test_a_tiny_file_that_claims_a_huge_tensor_is_refused(
    claim: Claim, words: str, tmp_path: Path
) -> None:
    path = claiming(tmp_path / 'weights.pth', claim, bytes(16))
    assert words in refusal(path)


def test_huge_claims_take_no_memory(tmp_path: Path) -> None:
    path = claiming(tmp_path / 'weights.pth', Claim((TERA,), (0,), 4), bytes(16))
    assert 'claims 1099511627776 bytes' in refusal_in_little_memory(path)


def test_a_storage_that_is_missing_is_said(tmp_path: Path) -> None:
    data = claiming(tmp_path / 'a.pth', Claim((4,), (1,), 4), bytes(16))
    with zipfile.ZipFile(data) as archive:
        pickled = archive.read('archive/data.pkl')
    path = pickled_in_archive(tmp_path / 'weights.pth', pickled)
    assert "block of values '0' is missing" in refusal(path)


def test_tensors_that_share_values_to_seem_large_are_refused(tmp_path: Path) -> None:
    values = torch.ones(1 << 18)
    model = golden_tensors(SMALL)
    model.update({f'more.{number}': values for number in range(100)})
    assert 'more than the file has' in refusal(
        save_published(tmp_path / 'weights.pth', SMALL, model=model)
    )


def test_a_compressed_archive_is_refused(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    whole = save_published(tmp_path / 'whole.pth', SMALL).read_bytes()
    with zipfile.ZipFile(io.BytesIO(whole)) as good, zipfile.ZipFile(path, 'w') as packed:
        for entry in good.infolist():
            kind = zipfile.ZIP_DEFLATED if entry.file_size < 50 else zipfile.ZIP_STORED
            packed.writestr(entry.filename, good.read(entry), kind)
    assert 'compressed or encrypted' in refusal(path)


def test_a_zip_bomb_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / 'weights.pth'
    with (
        zipfile.ZipFile(path, 'w', zipfile.ZIP_DEFLATED) as archive,
        archive.open('archive/data.pkl', 'w') as part,
    ):
        for _ in range(40):
            part.write(bytes(10 << 20))
    assert 'claims more bytes than the file has' in refusal_in_little_memory(path)


def test_a_file_that_holds_itself_ends(tmp_path: Path) -> None:
    contents: dict = {}
    contents['model'] = contents
    path = tmp_path / 'weights.pth'
    torch.save(contents, path)
    assert 'holds no weights' in refusal(path)
