# Copyright (c) The mmpointrend authors.
"""The command that keeps of a checkpoint what others need."""

import runpy
import sys

import pytest
import torch
from mmengine.logging import HistoryBuffer
from torch import nn

from mmpointrend.engine.checkpoint import load_from_local


@pytest.fixture
def publish(repo, monkeypatch):
    """Runs the command in this process."""

    def run(*arguments):
        tool = repo / 'tools' / 'model_converters' / 'publish_model.py'
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        runpy.run_path(str(tool), run_name='__main__')

    return run


@pytest.mark.parametrize('name', ['out.pth', 'out.safetensors'])
def test_weights_and_classes_stay(name, publish, tmp_path, capsys):
    model = nn.Linear(2, 3)
    meta = dict(
        dataset_meta=dict(classes=['a', 'b']), cfg='model = dict()', iter=7, seed=3, hook_msgs={}
    )
    hub = dict(log_scalars=dict(loss=HistoryBuffer([1.0], [1])))
    content = dict(
        state_dict=model.state_dict(), meta=meta, message_hub=hub, optimizer=dict(state={})
    )
    torch.save(content, tmp_path / 'in.pth')
    target = tmp_path / 'new' / name
    publish(tmp_path / 'in.pth', target)
    assert f'{target}: 2 tensors' in capsys.readouterr().out
    loaded = load_from_local(target)
    assert set(loaded) == {'state_dict', 'meta'}
    assert loaded['meta'] == dict(
        dataset_meta=dict(classes=['a', 'b']), cfg='model = dict()', iter=7
    )
    assert all(torch.equal(loaded['state_dict'][k], v) for k, v in model.state_dict().items())


def test_refusals(publish, tmp_path):
    with pytest.raises(SystemExit, match=r'error: the checkpoint .*none\.pth does not exist'):
        publish(tmp_path / 'none.pth', tmp_path / 'out.pth')
    torch.save(dict(state_dict=dict(a='text')), tmp_path / 'in.pth')
    with pytest.raises(SystemExit, match='a is a str, and safetensors holds tensors alone'):
        publish(tmp_path / 'in.pth', tmp_path / 'out.safetensors')
