# Copyright (c) The mmpointrend authors.
"""``mmpointrend doctor`` where packages are missing, of another version, broken, or crash Python."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mmpointrend import installation
from mmpointrend.installation import Finding

REPO = Path(__file__).resolve().parents[2]


def run(folder: Path, *words: str) -> subprocess.CompletedProcess:
    """Run the console script with the packages of a folder before all others."""
    return subprocess.run(
        [sys.executable, REPO / 'mmpointrend_command.py', *words],
        cwd=folder,
        env={**os.environ, 'PYTHONPATH': str(folder), 'PYTHONWARNINGS': 'ignore'},
        text=True,
        capture_output=True,
    )


def describe(folder: Path, name: str, version: str) -> None:
    """Write what pip writes of an installed distribution."""
    info = folder / f'{name}-{version}.dist-info'
    info.mkdir()
    (info / 'METADATA').write_text(f'Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n')


def write_module(folder: Path, name: str, code: str) -> None:
    (folder / name).mkdir()
    (folder / name / '__init__.py').write_text(code)


def failures(done: subprocess.CompletedProcess) -> list[str]:
    assert 'Traceback' not in done.stdout + done.stderr
    return [line[8:] for line in done.stdout.splitlines() if line.startswith('FAILED')]


def test_other_versions_and_a_broken_package(tmp_path):
    describe(tmp_path, 'mmcv', '2.2.0')
    describe(tmp_path, 'torch', '2.9.1')
    write_module(tmp_path, 'mmdet', "raise AssertionError('MMCV==2.2.0 is used but incompatible')")
    done = run(tmp_path, 'doctor')
    assert done.returncode == 1
    torch, mmcv, mmdet, ours = failures(done)
    assert torch.startswith('torch 2.9.1, but torch>=2.10 is needed (a crafted checkpoint')
    assert 'pip install "torch>=2.10", then compile mmcv against it' in torch
    assert mmcv.startswith('mmcv 2.2.0, but mmcv>=2.1.0,<2.2.0 is needed: compile it against')
    assert mmdet.startswith('import mmdet: AssertionError: MMCV==2.2.0 is used but incompatible')
    assert ours.startswith('import mmpointrend: ImportError: mmpointrend ')
    assert done.stdout.splitlines()[-1].startswith('4 failed')

    done = run(tmp_path, 'predict', 'street.jpg')
    assert done.returncode == 1 and done.stdout == ''
    assert done.stderr.startswith('error: mmpointrend ') and done.stderr.count('\n') == 1
    assert done.stderr.endswith('(`mmpointrend doctor` looks at the whole installation)\n')


def test_operators_of_another_torch_and_a_crash(tmp_path):
    write_module(tmp_path, 'mmcv', '')
    (tmp_path / 'mmcv' / '_ext.py').write_text("raise ImportError('undefined symbol: _ZN2at')")
    write_module(tmp_path, 'mmseg', 'import os; os.abort()')
    done = run(tmp_path, 'doctor')
    extension, crash = (
        next(line for line in failures(done) if line.startswith(f'import {name}'))
        for name in ('mmcv._ext', 'mmseg')
    )
    assert extension.startswith(
        'import mmcv._ext: ImportError: undefined symbol: _ZN2at: the operators'
    )
    assert 'MMCV_WITH_OPS=1 pip install' in extension
    assert crash.startswith('import mmseg crashes Python')
    assert 'note    import mmpointrend was not tried after that' in done.stdout.splitlines()


def gpu(**facts) -> list[Finding]:
    torch = dict(cuda='12.8', hip=None, gpus=[], archs=['sm_80', 'sm_90', 'compute_90'])
    mmcv = {'mmcv_cuda': facts.pop('mmcv_cuda')} if 'mmcv_cuda' in facts else {}
    return list(installation._gpu([torch | facts, mmcv]))


CARD = dict(name='A card', major=8, minor=6, bytes=24 * 2**30)


def test_gpu_that_everything_is_made_for():
    assert gpu(gpus=[CARD], mmcv_cuda='12.4') == [
        Finding('ok', 'GPU 0: A card, 24 GiB'),
        Finding('ok', 'CUDA 12.8 of torch, 12.4 of mmcv'),
    ]


@pytest.mark.parametrize(
    ('facts', 'wanted'),
    [
        (dict(mmcv_cuda='not available'), 'mmcv has no operators for GPUs'),
        (dict(mmcv_cuda='11.8'), 'mmcv is compiled with CUDA 11.8, torch with 12.8'),
        (dict(mmcv_cuda='12.8', archs=['sm_90', 'sm_90a']), 'this torch has no code for GPU 0'),
    ],
)
def test_gpu_that_something_is_not_made_for(facts, wanted):
    (failure,) = (text for kind, text in gpu(gpus=[CARD], **facts) if kind == 'FAILED')
    assert failure.startswith(wanted) and ('FORCE_CUDA=1' in failure or 'pytorch.org' in failure)


@pytest.mark.parametrize(
    ('archs', 'capability', 'runs'),
    [
        (['sm_80'], (8, 6), True),
        (['sm_86'], (8, 0), False),
        (['sm_80'], (9, 0), False),
        (['compute_80'], (9, 0), True),
        (['compute_90'], (8, 9), False),
        (['sm_100', 'sm_120'], (12, 0), True),
    ],
)
def test_code_that_runs_on_a_gpu(archs, capability, runs):
    """As in the CUDA programming guide: binaries within a major number, PTX on all that is newer."""
    assert installation._has_code_for(archs, *capability) == runs


def test_driver_without_a_gpu(monkeypatch):
    monkeypatch.setattr(installation.shutil, 'which', lambda name: '/usr/bin/nvidia-smi')
    ((kind, text),) = gpu(cuda=None)
    assert kind == 'warning' and 'torch is a build for CPUs' in text
    ((kind, text),) = gpu()
    assert kind == 'warning' and 'built for CUDA 12.8, but sees no GPU' in text
    monkeypatch.setattr(installation.shutil, 'which', lambda name: None)
    ((kind, _),) = gpu()
    assert kind == 'ok'


def test_little_shared_memory(monkeypatch):
    usage = installation.shutil.disk_usage('/')._replace(total=64 * 2**20)
    monkeypatch.setattr(installation.shutil, 'disk_usage', lambda folder: usage)
    monkeypatch.setattr(installation.os.path, 'isdir', lambda folder: True)
    ((kind, text),) = installation._shared_memory()
    assert kind == 'warning' and text.startswith('/dev/shm has 64 MiB') and '--shm-size' in text


def test_optional_parts_have_their_command(monkeypatch):
    from packaging.requirements import Requirement

    monkeypatch.setattr(installation, '_installed', {'lvis': '1'}.get)
    extras = dict(supervision=[Requirement('supervision')], more=[Requirement('lvis')])
    assert list(installation._optional(extras)) == [
        Finding('ok', 'optional more'),
        Finding(
            'note',
            'optional supervision: supervision not installed; pip install "mmpointrend[supervision]"',
        ),
    ]
