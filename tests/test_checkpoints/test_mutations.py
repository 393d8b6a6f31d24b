# Copyright (c) The mmpointrend authors.
"""Real files with altered bytes: they load, or are refused by a sentence of ours."""

import pickle
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mmengine.logging import HistoryBuffer
from torch import nn

from mmpointrend.checkpoints.loading import check_integrity, load_from_local
from mmpointrend.checkpoints.saving import save_model
from mmpointrend.engine.detectron2 import load_weights
from mmpointrend.errors import CheckpointError

FORMATS = ['new.pth', 'old.pth', 'new.safetensors', 'new.pkl', 'old.pkl', 'new.npz']

# Place in the file, number of bytes that go, bytes that come.
CHANGES = st.lists(
    st.tuples(
        st.integers(0, 2**16),
        st.integers(0, 8),
        st.one_of(
            st.binary(max_size=8), st.sampled_from([b'\xff' * 4, b'\xff\xff\xff\x7f', b'\0' * 4])
        ),
    ),
    min_size=1,
    max_size=4,
)


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> Path:
    """A folder with one small model in every format."""
    folder = tmp_path_factory.mktemp('whole')
    model = nn.Sequential(nn.Conv2d(2, 2, 1), nn.BatchNorm2d(2))
    history = dict(log_scalars=dict(loss=HistoryBuffer([3.0, 1.0], [1, 1])))
    content = dict(state_dict=model.state_dict(), meta=dict(epoch=1), message_hub=history)
    torch.save(content, folder / 'new.pth')
    torch.save(content, folder / 'old.pth', _use_new_zipfile_serialization=False)
    save_model(folder / 'new.safetensors', model.state_dict(), dict(epoch=1))
    arrays = {name: value.numpy() for name, value in model.state_dict().items()}
    (folder / 'new.pkl').write_bytes(pickle.dumps(dict(model=arrays)))
    (folder / 'old.pkl').write_bytes(pickle.dumps(dict(model=arrays), 0))
    np.savez(folder / 'new.npz', **arrays)
    return folder


def altered(content: bytes, changes: list[tuple[int, int, bytes]]) -> bytes:
    for place, gone, new in changes:
        place %= len(content) or 1
        content = content[:place] + new + content[place + gone :]
    return content


def read(path: Path) -> None:
    """Read a file by all ways in; any other error than ours goes on."""
    ways = (
        (load_from_local, check_integrity)
        if path.suffix in ('.pth', '.safetensors')
        else (load_weights,)
    )
    for way in ways:
        try:
            way(str(path))
        except CheckpointError as error:
            text = str(error)
            assert str(path) in text and text.endswith('.')
            assert '\n' not in text and 'weights_only' not in text


@pytest.mark.parametrize('name', FORMATS)
@given(changes=CHANGES)
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_altered_files(name, changes, files):
    path = files / f'altered{Path(name).suffix}'
    path.write_bytes(altered((files / name).read_bytes(), changes))
    read(path)


@given(changes=CHANGES)
@settings(
    max_examples=120, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_altered_pickles_under_right_sums(changes, files):
    path = files / 'resealed.pth'
    with zipfile.ZipFile(files / 'new.pth') as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in members.items():
            archive.writestr(name, altered(content, changes) if name.endswith('.pkl') else content)
    read(path)
