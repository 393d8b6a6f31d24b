# Copyright (c) The mmpointrend authors.
"""safetensors: files written by hand after the format's description, and bit for bit there and back."""

import json
import struct
import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from mmpointrend.checkpoints.loading import check_integrity, load_from_local
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.errors import CheckpointError

ONE = dict(dtype='F32', shape=[2], data_offsets=[0, 8])


def write(path: Path, header: object, content: bytes = b'') -> Path:
    """Eight bytes of length, the header in JSON, the content."""
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(struct.pack('<Q', len(text)) + text + content)
    return path


@pytest.mark.parametrize('name', ['a.safetensors', 'a.pth'])
def test_a_file_by_hand(name, tmp_path):
    header = {
        '__metadata__': {'format': 'pt'},
        'w': dict(dtype='F32', shape=[2, 1], data_offsets=[0, 8]),
        'n': dict(dtype='I64', shape=[], data_offsets=[8, 16]),
        'b': dict(dtype='BF16', shape=[1], data_offsets=[16, 18]),
    }
    content = struct.pack('<2fqH', 1.5, -2, 7, 0x3FC0)
    path = write(tmp_path / name, header, content)
    check_integrity(path)
    weights = load_from_local(str(path), map_location='cpu')['state_dict']
    assert weights['w'].tolist() == [[1.5], [-2]] and weights['n'].item() == 7
    assert weights['b'].dtype == torch.bfloat16 and weights['b'].item() == 1.5


def test_there_and_back(tmp_path):
    base = torch.randn(4, 6)
    base[0, 0], base[0, 1] = float('nan'), -0.0
    state = dict(
        a=base, shared=base, view=base[:, ::2].t(), half=base.half(), none=base[:0], on=base > 0
    )
    meta = dict(
        dataset_meta=dict(classes=('a', 'b'), palette=[(1, 2, 3)]),
        iter=7,
        kept='text',
        array=np.ones(2),
    )
    save_model(tmp_path / 'a.safetensors', state, meta)
    loaded = load_from_local(tmp_path / 'a.safetensors')
    assert loaded['meta'] == dict(
        dataset_meta=dict(classes=['a', 'b'], palette=[[1, 2, 3]]), iter=7, kept='text'
    )
    for name, tensor in state.items():
        again = loaded['state_dict'][name]
        assert again.dtype == tensor.dtype and again.shape == tensor.shape
        assert again.numpy().tobytes() == tensor.contiguous().numpy().tobytes()
    assert [path.name for path in tmp_path.iterdir()] == ['a.safetensors']


def test_the_loaded_tensors_outlive_the_file(tmp_path):
    path = tmp_path / 'a.safetensors'
    save_model(path, dict(a=torch.ones(100_000)), {})
    loaded = load_from_local(path)['state_dict']['a']
    with path.open('r+b') as file:
        file.truncate(10)
    assert loaded.sum() == 100_000


@pytest.mark.parametrize(
    'where', ['cpu', torch.device('cpu'), {'cuda:0': 'cpu'}, lambda storage, _: storage]
)
def test_devices(where, tmp_path):
    path = write(tmp_path / 'a.safetensors', {'a': ONE}, bytes(8))
    assert load_from_local(path, where)['state_dict']['a'].device.type == 'cpu'


MALICIOUS = {
    'huge header': (struct.pack('<Q', 2**62) + b'{}', 'does not start with a header'),
    'huge list': (struct.pack('<Q', 2**31) + b'{}' + bytes(99), 'does not start with a header'),
    'overlap': ({'a': ONE, 'b': ONE}, 'invalid offset for tensor'),
    'beyond the end': ({'a': dict(ONE, data_offsets=[0, 16])}, 'invalid'),
    'hole': ({'a': dict(ONE, data_offsets=[4, 12])}, 'invalid offset'),
    'twice': (
        b'{"a":' + json.dumps(ONE).encode() + b',"a":' + json.dumps(ONE).encode() + b'}',
        "'a' twice",
    ),
    'type is a number': ({'a': dict(ONE, dtype=3)}, 'expected string'),
    'unknown type': ({'a': dict(ONE, dtype='F33')}, 'unknown variant'),
    'negative': ({'a': dict(ONE, shape=[-2])}, 'expected usize'),
    'overflow': ({'a': dict(ONE, shape=[2**40, 2**40])}, 'overflow'),
    'nested': (b'{"a":' + b'[' * 100_000, 'damaged'),
    'list': (b'{]', 'damaged'),
    'cut': ({'a': ONE, 'b': dict(ONE, data_offsets=[8, 16])}, 'not fully covered'),
}


@pytest.mark.parametrize('name', MALICIOUS)
def test_malicious_headers(name, tmp_path):
    header, message = MALICIOUS[name]
    path = tmp_path / 'a.safetensors'
    if name.startswith('huge'):
        path.write_bytes(header)
    else:
        write(path, header, bytes(8))
    with pytest.raises(CheckpointError) as caught:
        load_from_local(str(path))
    assert 'a.safetensors is damaged (' in str(caught.value) and message in str(caught.value)


def test_without_the_package(monkeypatch, tmp_path):
    path = write(tmp_path / 'a.safetensors', {'a': ONE}, bytes(8))
    monkeypatch.setitem(sys.modules, 'safetensors', None)
    monkeypatch.setitem(sys.modules, 'safetensors.torch', None)
    with pytest.raises(
        CheckpointError, match=r'a\.safetensors cannot be read.*pip install safetensors'
    ):
        load_from_local(path)
    with pytest.raises(
        CheckpointError, match=r'b\.safetensors cannot be written.*pip install safetensors'
    ):
        save_model(tmp_path / 'b.safetensors', {}, {})


def test_what_cannot_be_written(tmp_path):
    with pytest.raises(CheckpointError, match='a is a list, and safetensors holds tensors alone'):
        save_model(tmp_path / 'a.safetensors', dict(a=[1]), {})
    for name in ('a.pth', 'a.safetensors'):
        with pytest.raises(CheckpointError, match=f'{name} cannot be written .*check the rights'):
            save_model(tmp_path / 'none' / name, dict(a=torch.ones(1)), {})
    assert list(tmp_path.iterdir()) == []


def test_a_name_twice_among_many_is_found_at_once(tmp_path):
    names = ','.join(f'"{index}":0' for index in range(100_000))
    path = write(tmp_path / 'a.safetensors', f'{{{names},"last":0,"last":0}}'.encode())
    with pytest.raises(CheckpointError, match="its header has 'last' twice"):
        load_from_local(path)
