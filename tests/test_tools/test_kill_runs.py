# Copyright (c) The mmpointrend authors.
"""``tools/analysis_tools/kill_runs.py``: one kill, and what it says of tensors that differ."""

import runpy

import pytest
import torch
from tiny_runs import write_config

from mmpointrend.errors import ConfigError


@pytest.fixture
def tool(repo) -> dict:
    """Names of the script."""
    return runpy.run_path(str(repo / 'tools' / 'analysis_tools' / 'kill_runs.py'))


def test_one_kill(tool, tmp_path, tiny_data, monkeypatch, capsys):
    config = write_config('semantic', tmp_path, tiny_data, length=4, interval=1, workers=1)
    command = ['kill_runs.py', config, '--work-dir', tmp_path / 'kills', '--kills', 1]
    options = ['--cfg-options', 'train_cfg.val_interval=99', 'experiment_name=killed']
    monkeypatch.setattr('sys.argv', [*map(str, command), *options])
    tool['main']()
    first, last = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith('kill-000: after ') and first.endswith('s, equal')
    assert last.startswith('1 of 1 resumed bit for bit (')
    assert (tmp_path / 'kills' / 'straight' / 'iter_4.pth').is_file()
    assert not (tmp_path / 'kills' / 'kill-000').exists()
    with pytest.raises(ConfigError, match=r'kills exists: delete it, or name another --work-dir'):
        tool['main']()


def test_a_training_that_fails_is_said(tool, tmp_path):
    with pytest.raises(ConfigError, match=r'a training failed, see .*/log\.txt'):
        tool['run']([str(tmp_path / 'none.py')], tmp_path / 'log.txt')
    assert 'none.py does not exist' in (tmp_path / 'log.txt').read_text()


def test_any_bit_counts(tool):
    one = dict(a=torch.ones(3), b=torch.tensor(2), c=5)
    assert tool['differing'](one, dict(one)) == []
    other = dict(a=torch.tensor([1.0, 1.0, 1.0 + 2**-23]), b=torch.tensor(2), d=torch.ones(1))
    assert tool['differing'](one, other) == ['a', 'c', 'd']
