# Copyright (c) The mmpointrend authors.
"""Files that are no checkpoints: each usual mistake has a sentence, and none leads to the next one."""

import gzip
import io
import os
import pickle
import tarfile
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from torch import nn

from mmpointrend.checkpoints.loading import check_integrity, load_from_local
from mmpointrend.errors import CheckpointError


def tar_of(name: str) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode='w') as archive:
        archive.addfile(tarfile.TarInfo(name))
    return buffer.getvalue()


def image(suffix: str) -> bytes:
    return cv2.imencode(suffix, np.zeros((4, 4, 3), np.uint8))[1].tobytes()


MISTAKES = {
    'web page': (
        b'\n<!DOCTYPE html>\n<html><title>404</title></html>',
        'is a web page, probably an',
    ),
    'page with a comment': (b'<!-- x --><html></html>', 'is a web page'),
    'error of a store': (
        b'<?xml version="1.0"?><Error><Code>NoSuchKey</Code>',
        'is an XML document',
    ),
    'git-lfs': (
        b'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n',
        'is a git-lfs pointer instead of the file itself; run `git lfs pull`',
    ),
    'png': (image('.png'), 'is a PNG image'),
    'jpg': (image('.jpg'), 'is a JPEG image'),
    'gzip': (gzip.compress(b'x'), r'is compressed \(gzip\); unpack it'),
    'tar': (tar_of('model.pth'), 'is a tar archive; unpack it'),
    'onnx': (b'\x08\x08\x12\x07pytorch\x1a\x062.13.0:', 'is an ONNX model'),
    'keras': (b'\x89HDF\r\n\x1a\n' + bytes(20), 'is an HDF5 file'),
    'metafile': (b'Models:\n  - Name: x\n', "it holds text ('Models:')"),
    'csv': ('a,b,é\n1,2,3\n'.encode(), "it holds text ('a,b,é')"),
    'text of Windows': ('a config'.encode('utf-16'), "it holds text ('a config')"),
    'long text': (b'words ' * 5000, 'it holds text'),
    'one byte': (b'\x80', 'is damaged (it does not start as a checkpoint does)'),
    'random': (bytes(range(128, 256)), 'is damaged (it does not start as a checkpoint does)'),
    'pickle': (pickle.dumps({'a': np.ones(2)}), "is a pickle, not a checkpoint of torch's"),
    'pickled model': (
        pickle.dumps(nn.Linear(2, 2)),
        'holds objects that could run code and was refused',
    ),
    'empty': (b'', 'is damaged (it is empty); copy it anew or use an earlier one'),
}


@pytest.mark.parametrize('name', MISTAKES)
def test_mistakes(name, tmp_path):
    content, sentence = MISTAKES[name]
    path = tmp_path / 'a.pth'
    path.write_bytes(content)
    for read in (load_from_local, check_integrity):
        with pytest.raises(CheckpointError) as caught:
            read(str(path))
        text = str(caught.value)
        assert sentence.replace('\\', '') in text.removeprefix(f'the checkpoint {path} ')
        assert text.endswith('.') and '\n' not in text and 'weights_only' not in text


@pytest.mark.parametrize('old', [False, True])
def test_whole_model(old, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save(nn.Sequential(nn.Conv2d(1, 1, 1)), path, _use_new_zipfile_serialization=not old)
    with pytest.raises(
        CheckpointError, match=r'holds objects.*\(GLOBAL torch\.nn\.modules'
    ) as caught:
        load_from_local(str(path))
    assert 'weights_only' not in str(caught.value) and '\n' not in str(caught.value)


def test_what_is_no_file(tmp_path):
    os.mkfifo(tmp_path / 'pipe.pth')
    for path, sentence in (
        (tmp_path, 'is a folder; give a file in it'),
        (tmp_path / 'pipe.pth', 'is a pipe (FIFO); save it to a file first'),
        (Path('/dev/zero'), 'is a device; save it'),
        (tmp_path / 'none.pth', 'does not exist'),
        ('\0.pth', 'is damaged (ValueError: embedded null byte)'),
        (tmp_path / ('n' * 300), 'cannot be read (File name too long)'),
    ):
        with pytest.raises(CheckpointError) as caught:
            load_from_local(path)
        assert str(caught.value).startswith(f'the checkpoint {path} {sentence}')


@pytest.mark.parametrize(
    ('content', 'sentence'),
    [
        ([1, 2], 'holds a list and no state dict'),
        ({'state_dict': [1]}, "holds a list as 'state_dict' instead of a dict"),
        (
            {'state_dict': {}, 'meta': 'text'},
            'is damaged .its meta and message_hub have to be dicts',
        ),
        ({'state_dict': {3: torch.ones(1)}}, 'has a tensor named 3'),
        ({3: torch.ones(1)}, 'has a tensor named 3'),
    ],
)
def test_content_that_no_runner_can_use(content, sentence, tmp_path):
    torch.save(content, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=f'a.pth {sentence}'):
        load_from_local(str(tmp_path / 'a.pth'))


def test_memory_and_devices(monkeypatch, tmp_path):
    path = tmp_path / 'a.pth'
    torch.save({'a': torch.ones(1)}, path)

    def failing(error: Exception):
        def load(*_: object, **__: object) -> None:
            raise error

        return load

    for error, sentence in (
        (MemoryError(), 'does not fit into memory'),
        (
            RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"),
            'does not fit into',
        ),
        (RuntimeError('Attempting to deserialize object on a CUDA device'), "map_location='cpu'"),
        (RecursionError('maximum recursion depth'), 'is damaged'),
        (OSError(5, 'Input/output error'), r'cannot be read \(Input/output error\)'),
    ):
        monkeypatch.setattr(torch, 'load', failing(error))
        with pytest.raises(CheckpointError, match=sentence):
            load_from_local(path)


@pytest.mark.parametrize(
    'attributes',
    [{'_metadata': 5}, {'_metadata': {'': {'version': 'x'}}}, {'update': 5}, {'copy': dict}],
)
def test_attributes_that_no_module_can_read(attributes, tmp_path):
    weights = nn.BatchNorm2d(2).state_dict()
    weights.__dict__.update(attributes)
    torch.save({'state_dict': weights}, tmp_path / 'a.pth')
    with pytest.raises(CheckpointError, match=r'a\.pth (is damaged|holds objects)'):
        load_from_local(tmp_path / 'a.pth')


@pytest.mark.parametrize(
    ('name', 'value', 'sentence'),
    [
        ('\x1b[2J', torch.ones(1), r"is damaged \(a tensor has the name '\\x1b\[2J'\)"),
        ('a\ud800', torch.ones(1), r"is damaged \(a tensor has the name 'a\\ud800'\)"),
        ('a' * 2000, torch.ones(1), 'is damaged'),
        ('a', torch.ones(1, device='meta'), r'is damaged \(a has a shape and no content\)'),
    ],
)
def test_names_that_no_log_takes_and_tensors_without_content(name, value, sentence, tmp_path):
    path = tmp_path / 'model.pth'
    torch.save({name: value}, path)
    with pytest.raises(CheckpointError, match=sentence):
        load_from_local(path)
