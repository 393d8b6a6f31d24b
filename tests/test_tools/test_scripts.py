# Copyright (c) The mmpointrend authors.
"""The shell scripts: truly on two gloo processes, and what Slurm's would hand to ``srun``."""

import json
import os
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from tiny_runs import write_config

from mmpointrend.engine.checkpoint import load_from_local

PYTHON_FIRST = f'{Path(sys.executable).parent}{os.pathsep}{os.environ["PATH"]}'


def script(name: str, repo: Path, *arguments: object, **environment: str) -> str:
    """Output of a script of ``tools/``; ``python`` is the one that runs the tests."""
    with socket.socket() as free:
        free.bind(('127.0.0.1', 0))
        port = str(free.getsockname()[1])
    done = subprocess.run(
        ['bash', str(repo / 'tools' / name), *map(str, arguments)],
        env={**os.environ, 'PATH': PYTHON_FIRST, 'PORT': port, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout + done.stderr


def test_two_processes_train_and_test(repo, tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=2, workers=0)
    output = script('dist_train.sh', repo, config, 2, '--work-dir', tmp_path / 'run')
    assert 'Distributed training: True' in output and 'GPU number: 2' in output
    # Six images dealt out to two ranks.
    assert 'Epoch(val) [0][3/3]' in output
    output = script('dist_test.sh', repo, config, tmp_path / 'run' / 'iter_2.pth', 2)
    assert 'Epoch(test) [3/3]' in output


def test_one_rank_without_any_object(repo, tiny_data, tmp_path):
    """No region on one rank: every parameter still takes part, or DDP would stop with an error."""
    data = shutil.copytree(tiny_data, tmp_path / 'data')
    path = data / 'annotations.json'
    content = json.loads(path.read_text())
    # The sampler deals images out in turn: the even ones go to rank 0.
    content['annotations'] = [item for item in content['annotations'] if item['image_id'] % 2]
    path.write_text(json.dumps(content))
    config = write_config('instance', tmp_path, data, length=2, interval=1, workers=0)
    options = (
        'train_dataloader.batch_sampler=None',
        'train_dataloader.sampler.shuffle=False',
        'train_dataloader.batch_size=1',
        'find_unused_parameters=False',
    )
    script('dist_train.sh', repo, config, 2, '--cfg-options', *options)
    before = load_from_local(str(tmp_path / 'run' / 'epoch_1.pth'))['state_dict']
    after = load_from_local(str(tmp_path / 'run' / 'epoch_2.pth'))['state_dict']
    point_head = [name for name in after if name.startswith('roi_head.point_head.')]
    assert point_head
    for name in point_head:
        assert after[name].isfinite().all() and not torch.equal(before[name], after[name])


@pytest.mark.parametrize('tool', ['train', 'test'])
def test_slurm_scripts_hand_srun_the_job(tool, repo, tmp_path):
    srun = tmp_path / 'srun'
    srun.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$MASTER_PORT" "$@"\n')
    srun.chmod(0o755)
    output = script(
        f'slurm_{tool}.sh',
        repo,
        *('part', 'my job', 'a config.py', 'third', '--cfg-options', 'a=[1,2]'),
        PATH=f'{tmp_path}{os.pathsep}{PYTHON_FIRST}',
        GPUS='16',
        GPUS_PER_NODE='4',
        CPUS_PER_TASK='3',
        PORT='29777',
        SRUN_ARGS='--time=10 --exclusive',
    )
    third = ['--work-dir', 'third'] if tool == 'train' else ['third']
    assert output.splitlines() == [
        '29777',
        *('--partition=part', '--job-name=my job', '--gres=gpu:4', '--ntasks=16'),
        *('--ntasks-per-node=4', '--cpus-per-task=3', '--kill-on-bad-exit=1'),
        *('--time=10', '--exclusive'),
        *('python', '-u', f'{repo}/tools/{tool}.py', 'a config.py', *third),
        *('--launcher', 'slurm', '--cfg-options', 'a=[1,2]'),
    ]


@pytest.mark.parametrize('name', ['dist_train', 'dist_test', 'slurm_train', 'slurm_test'])
def test_too_few_arguments_show_the_usage(name, repo):
    done = subprocess.run(
        ['bash', str(repo / 'tools' / f'{name}.sh')], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and done.stderr.startswith('usage: ')


@pytest.mark.parametrize('name', ['dist_train', 'dist_test'])
def test_machines_are_told_apart(name, repo, tmp_path):
    """``NNODES``, ``NODE_RANK``, ``MASTER_ADDR`` and ``PORT`` reach torch's launcher."""
    python = tmp_path / 'python'
    python.write_text('#!/usr/bin/env bash\nprintf "%s\\n" "$@"\n')
    python.chmod(0o755)
    output = script(
        f'{name}.sh',
        repo,
        *(['c.py', 'w.pth', '4'] if name == 'dist_test' else ['c.py', '4']),
        PATH=f'{tmp_path}{os.pathsep}{os.environ["PATH"]}',
        NNODES='3',
        NODE_RANK='2',
        MASTER_ADDR='10.0.0.1',
        PORT='29555',
    ).splitlines()
    assert output[:2] == ['-m', 'torch.distributed.run']
    assert output[2:7] == [
        *('--nnodes=3', '--node_rank=2', '--master_addr=10.0.0.1', '--master_port=29555'),
        '--nproc_per_node=4',
    ]
