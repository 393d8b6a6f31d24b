# Copyright (c) The mmpointrend authors.
"""The converter's command: what it writes, says and refuses."""

import runpy
import sys

import pytest
import torch
from tiny_detectron2 import tiny_config

from mmpointrend.engine.checkpoint import load_from_local
from mmpointrend.engine.detectron2 import build_empty


@pytest.fixture
def command(repo, monkeypatch):
    """Runs the command in this process."""

    def run(*arguments):
        tool = repo / 'tools' / 'model_converters' / 'detectron2_to_mmpointrend.py'
        monkeypatch.setattr(sys, 'argv', [str(tool), *map(str, arguments)])
        runpy.run_path(str(tool), run_name='__main__')

    return run


@pytest.fixture
def tiny(tmp_path):
    """Path of a small instance model's config."""
    tiny_config('instance_r50').dump(tmp_path / 'tiny.py')
    return tmp_path / 'tiny.py'


def test_a_fixture(command, tiny, shared_dir, tmp_path, capsys):
    source = shared_dir / 'fixtures' / 'detectron2' / 'instance_r50_weights.npz'
    target = tmp_path / 'new' / 'converted.pth'
    command(source, target, '--config', tiny)
    assert [path.name for path in target.parent.iterdir()] == ['converted.pth']
    checkpoint = load_from_local(str(target))
    assert checkpoint['meta']['source'] == 'instance_r50_weights.npz'
    model = build_empty(tiny_config('instance_r50'))
    model.load_state_dict(checkpoint['state_dict'], strict=True, assign=True)
    output = capsys.readouterr().out
    assert f'{target}: {len(checkpoint["state_dict"])} tensors for {tiny}' in output
    assert 'filled with 0: 53 num_batches_tracked' in output


def test_safetensors(command, tiny, shared_dir, tmp_path):
    source = shared_dir / 'fixtures' / 'detectron2' / 'instance_r50_weights.npz'
    loaded = []
    for name in ('converted.pth', 'converted.safetensors'):
        command(source, tmp_path / name, '--config', tiny)
        loaded.append(load_from_local(str(tmp_path / name)))
    assert loaded[0]['meta'] == loaded[1]['meta']
    weights, again = (checkpoint['state_dict'] for checkpoint in loaded)
    assert weights.keys() == again.keys()
    assert all(torch.equal(weights[name], again[name]) for name in weights)


def test_another_model_is_refused_and_nothing_written(command, tiny, tmp_path, capsys):
    torch.save({'model': {'backbone.fpn_lateral2.bias': torch.zeros(16)}}, tmp_path / 'other.pth')
    with pytest.raises(SystemExit) as exit:
        command(tmp_path / 'other.pth', tmp_path / 'out.pth', '--config', tiny)
    assert str(exit.value).startswith(
        'error: the weights are of another model: 1 of the 311 tensors'
    )
    with pytest.raises(SystemExit, match='there is no config nobody'):
        command(tmp_path / 'other.pth', tmp_path / 'out.pth', '--config', 'nobody')
    assert not list(tmp_path.glob('out.pth*'))


def test_a_folder_is_no_target(command, tiny, tmp_path):
    torch.save({'model': {'a': torch.zeros(1)}}, tmp_path / 'other.pth')
    for target, message in ((tmp_path, 'is a folder'), (tiny / 'out.pth', 'cannot be written')):
        with pytest.raises(SystemExit, match=message):
            command(tmp_path / 'other.pth', target, '--config', tiny)
