# Copyright (c) The mmpointrend authors.
"""The command mmpointrend and its subcommands but predict."""

import runpy
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import stop_workers, write_config, write_data

from mmpointrend.checkpoints.saving import save_model
from mmpointrend.cli import main
from mmpointrend.engine import launch

COMMANDS = ('predict', 'train', 'test', 'convert', 'convert-weights', 'info', 'doctor', 'demo')
NAME = 'pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024'


def call(line, capsys):
    """Exit status and both outputs of a command line."""
    with pytest.raises(SystemExit) as stop:
        main(shlex.split(line))
    out, err = capsys.readouterr()
    code = stop.value.code
    return (1, out, err + code) if isinstance(code, str) else (code or 0, out, err)


def test_help_names_every_command(capsys):
    status, out, _ = call('--help', capsys)
    assert status == 0 and all(f' {command} ' in out for command in COMMANDS)


@pytest.mark.parametrize('command', COMMANDS)
def test_every_command_helps(command, capsys):
    status, out, _ = call(f'{command} --help', capsys)
    assert status == 0 and f'mmpointrend {command}' in out


def test_the_script_is_installed():
    script = Path(sys.executable).with_name('mmpointrend')
    done = subprocess.run([script, 'info', 'nothing'], capture_output=True, text=True, timeout=600)
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.splitlines()[-1].startswith('error: there is no config nothing (')


def test_usage_errors_exit_with_2(capsys):
    status, _, err = call('predict', capsys)
    assert status == 2 and 'Missing' in err


def test_info_lists_models_with_figures_and_weights(capsys, repo):
    status, out, _ = call('info', capsys)
    lines = {line.split()[0]: line for line in out.splitlines()}
    names = {path.stem for path in repo.glob('configs/[!_]*/*.py')}
    assert status == 0 and set(lines) == names | {'model'}
    assert lines[NAME].split()[1:] == ['Cityscapes', 'mIoU', '76.47', 'published']
    assert 'mask AP 36.3, mask AP* 39.7' in lines['pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco']


def test_info_of_one_model(capsys, repo, tmp_path, monkeypatch):
    monkeypatch.setattr(torch.hub, 'get_dir', lambda: str(tmp_path))
    status, out, _ = call(f'info {NAME}', capsys)
    facts = dict(line.split(':', 1) for line in out.splitlines())
    assert status == 0 and facts['task'].strip() == 'semantic segmentation'
    assert Path(facts['config'].strip()).samefile(repo / 'configs' / 'semantic' / f'{NAME}.py')
    file = 'pointrend_r50_512x1024_80k_cityscapes_20200711_015821-bb1ff523.pth'
    assert facts['weights'].strip().startswith('https://download.openmmlab.com/mmsegmentation/')
    assert (
        facts['kept at'].strip() == f'{tmp_path}/checkpoints/{file} (downloaded when they are used)'
    )
    _, out, _ = call('info pointrend_fpn_r18-w16_1xb4-150i_shapes', capsys)
    assert 'not published: train it (`mmpointrend train pointrend_fpn_r18' in out


def test_info_of_a_checkpoint(capsys, tmp_path):
    meta = {'cfg': 'a = 1', 'dataset_meta': {'classes': ('disc', 'box')}, 'iter': 7}
    save_model(tmp_path / 'w.pth', {'a': torch.zeros(2, 3), 'b': torch.zeros(4)}, meta)
    status, out, _ = call(f'info {tmp_path / "w.pth"}', capsys)
    facts = dict(line.split(':', 1) for line in out.splitlines() if 'Loads' not in line)
    assert status == 0 and facts['parameters'].strip() == '10'
    assert facts['classes'].strip() == 'disc, box' and facts['carries'].strip() == 'its config'


@pytest.mark.parametrize('command', ['train', 'test'])
def test_train_and_test_take_what_the_tools_take(command, monkeypatch, capsys):
    calls = []
    monkeypatch.setattr(launch, command, lambda argv, prog: calls.append((argv, prog)))
    options = ['config', '--work-dir', 'w', '--cfg-options', 'a=1', 'b=2', '--resume']
    assert call(shlex.join([command, *options]), capsys)[0] == 0
    assert calls == [(options, f'mmpointrend {command}')]


def test_training_and_testing_by_the_command(tmp_path, capsys):
    config = write_config('semantic', tmp_path, write_data(tmp_path / 'data'), length=2)
    try:
        assert call(f'train {config} --cfg-options experiment_name=by_command', capsys)[0] == 0
        checkpoint = tmp_path / 'run' / 'iter_2.pth'
        assert checkpoint.is_file()
        tested = f'test {config} {checkpoint} --cfg-options experiment_name=tested_by_command'
        status, out, err = call(tested, capsys)
        assert status == 0 and 'mIoU' in out + err
    finally:
        stop_workers()


def test_convert_weights_writes_what_the_tool_writes(shared_dir, tmp_path, capsys):
    source = shared_dir / 'fixtures' / 'detectron2' / 'instance_r50_weights.npz'
    status, _, err = call(f'convert-weights {source} {tmp_path / "ours.pth"}', capsys)
    # A model of four classes is none of the published ones; the tool says the same.
    assert status == 1 and 'error: ' in err
    with pytest.raises(SystemExit) as stop:
        run_script('model_converters/detectron2_to_mmpointrend', source, tmp_path / 'tool.pth')
    assert str(stop.value.code).replace('tool.pth', 'ours.pth') in err


def run_script(script, *arguments):
    """``python tools/<script>.py arguments`` in this process."""
    path = Path(__file__).parents[2] / 'tools' / f'{script}.py'
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, 'argv', [str(path), *map(str, arguments)])
        runpy.run_path(str(path), run_name='__main__')


@pytest.mark.parametrize('name', [NAME, f'mmpointrend::semantic/{NAME}.py'])
def test_tools_take_names(name, capsys):
    run_script('analysis_tools/get_flops', name, '--json', '--shape', '64', '64')
    assert '"multiply_adds"' in capsys.readouterr().out
