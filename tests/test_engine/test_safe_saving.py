# Copyright (c) The mmpointrend authors.
"""A kill at any moment of saving leaves a whole checkpoint to resume from."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from mmengine.hooks import CheckpointHook
from tiny_runs import run_tool, write_config
from torch import nn

from mmpointrend.engine import SafeCheckpointHook
from mmpointrend.engine.hooks import AtomicLocalBackend
from mmpointrend.engine.saving import clear_link

# Half of the second checkpoint is written when the process dies.
_KILLED_AT_THE_SECOND = """
import os, signal, sys
import torch
from mmpointrend.engine.launch import run_cli, train
synced = []
def fsync(descriptor):
    synced.append(descriptor)
    if len(synced) == 2:
        os.ftruncate(descriptor, os.fstat(descriptor).st_size // 2)
        os.kill(os.getpid(), signal.SIGKILL)
os.fsync = fsync
run_cli(train)
"""


def test_killed_while_saving_and_resumed(tiny_data, tmp_path):
    """Only one checkpoint is kept; mmengine's own hook deletes it before it writes the next."""
    # A worker would outlive the killed process by 5 seconds.
    config = write_config('semantic', tmp_path, tiny_data, length=6, interval=2, workers=0)
    work_dir = tmp_path / 'run'
    keep_one = ('--cfg-options', 'default_hooks.checkpoint.max_keep_ckpts=1')
    command = [sys.executable, '-c', _KILLED_AT_THE_SECOND, str(config), *keep_one]
    killed = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_2.pth']
    assert [path.name for path in work_dir.glob('.*')] == ['.iter_4.pth.part']

    run_tool('train', config, '--resume', *keep_one)
    assert [path.name for path in work_dir.glob('*.pth')] == ['iter_6.pth']
    assert not list(work_dir.glob('.*'))
    log = max(work_dir.glob('*/*.log'), key=lambda path: path.stat().st_mtime).read_text()
    assert 'resumed epoch: 0, iter: 2' in log


class Runner:
    """What the checkpoint hook asks of a runner; saving can be made to fail."""

    def __init__(self, work_dir: Path) -> None:
        self.work_dir, self.timestamp = str(work_dir), 'now'
        self.iter, self.epoch, self.fails = 0, 0, False
        self.message_hub = self
        self.runtime_info = {}
        self.logger = self
        self.model = nn.Linear(2, 1)

    def info(self, message: str) -> None:
        """Log nothing."""

    def update_info(self, key: str, value: object) -> None:
        """Message hub's."""
        self.runtime_info[key] = value

    def get_info(self, key: str) -> object:
        """Message hub's."""
        return self.runtime_info[key]

    def save_checkpoint(self, out_dir: str, filename: str, *_: object, **options: dict) -> None:
        """Save the iteration by the hook's backend, or fail as a full disk does."""
        if self.fails:
            raise OSError('No space left on device')
        assert options['backend_args'] == dict(backend='mmpointrend.atomic')
        AtomicLocalBackend().put(str(self.iter).encode(), Path(out_dir) / filename)


def files(folder: Path) -> list[str]:
    """Names in a folder."""
    return sorted(path.name for path in folder.iterdir())


def test_failed_saving_keeps_the_old_one(tmp_path):
    hook = SafeCheckpointHook(by_epoch=False, interval=1, max_keep_ckpts=1)
    runner = Runner(tmp_path)
    hook.before_train(runner)
    hook.after_train_iter(runner, 0)
    assert files(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    runner.iter, runner.fails = 1, True
    with pytest.raises(OSError, match='No space left'):
        hook.after_train_iter(runner, 1)
    assert files(tmp_path) == ['iter_1.pth', 'last_checkpoint']
    runner.iter, runner.fails = 2, False
    hook.after_train_iter(runner, 2)
    assert 'iter_3.pth' in files(tmp_path)


def test_best_checkpoint_is_replaced_only_by_a_whole_one(tmp_path):
    hook = SafeCheckpointHook(by_epoch=False, interval=-1, save_best='mIoU', save_last=False)
    runner = Runner(tmp_path)
    hook.before_train(runner)
    runner.iter = 10
    hook.after_val_epoch(runner, dict(mIoU=0.4))
    assert files(tmp_path) == ['best_mIoU_iter_10.pth']
    runner.iter, runner.fails = 20, True
    with pytest.raises(OSError, match='No space left'):
        hook.after_val_epoch(runner, dict(mIoU=0.5))
    assert files(tmp_path) == ['best_mIoU_iter_10.pth']
    runner.fails = False
    runner.runtime_info['best_score'], hook.best_ckpt_path = (
        0.4,
        str(tmp_path / 'best_mIoU_iter_10.pth'),
    )
    hook.after_val_epoch(runner, dict(mIoU=0.5))
    assert files(tmp_path) == ['best_mIoU_iter_20.pth']
    # A better one under the same name, after resuming at the same iteration.
    hook.after_val_epoch(runner, dict(mIoU=0.6))
    assert files(tmp_path) == ['best_mIoU_iter_20.pth']


@pytest.mark.parametrize('metrics', [['mIoU'], ['mIoU', 'mAcc']])
def test_a_resumed_run_replaces_what_is_its_own_alone(metrics, tmp_path):
    """mmengine removes the file, or the folder, that the checkpoint names as the best."""
    (tmp_path / 'run').mkdir()
    other, theses = tmp_path / 'other' / 'best_mIoU_iter_10.pth', tmp_path / 'best_theses'
    other.parent.mkdir()
    other.write_bytes(b'of the run that was copied')
    (theses / 'mine').mkdir(parents=True)
    key = 'best_ckpt' if len(metrics) == 1 else 'best_ckpt_mIoU'
    for path, copied in ((other, True), (other, False), (theses, False), (7, False)):
        hook = SafeCheckpointHook(by_epoch=False, interval=-1, save_best=metrics, save_last=False)
        runner = Runner(tmp_path / 'run')
        runner.runtime_info.update({key: path if path == 7 else str(path), 'keep_ckpt_ids': ['..']})
        if copied:
            (tmp_path / 'run' / other.name).write_bytes(b'of the copy')
        hook.before_train(runner)
        assert 'keep_ckpt_ids' not in runner.runtime_info
        runner.iter = 20
        hook.after_val_epoch(runner, dict(mIoU=0.5, mAcc=0.5))
        assert other.exists() and (theses / 'mine').exists()
        assert f'best_{metrics[0]}_iter_20.pth' in files(tmp_path / 'run')
        assert other.name not in files(tmp_path / 'run')


def test_a_failed_write_leaves_the_old_content(tmp_path, monkeypatch):
    path = tmp_path / 'a.pth'
    AtomicLocalBackend().put(b'old', path)

    def full(_: int) -> None:
        raise OSError('No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(OSError, match='No space left'):
        AtomicLocalBackend().put(b'newer', path)
    assert path.read_bytes() == b'old' and files(tmp_path) == ['a.pth']


def test_hook_is_mmengines_in_all_else():
    """Same arguments; a backend of the user's own is left alone."""
    hook = SafeCheckpointHook(interval=3, backend_args=dict(backend='local'))
    assert isinstance(hook, CheckpointHook)
    assert (hook.interval, hook.backend_args) == (3, dict(backend='local'))
    assert SafeCheckpointHook(out_dir='s3://bucket').backend_args is None


def test_nothing_is_written_through_links_of_a_folder_that_came_from_elsewhere(tmp_path):
    mine, run = tmp_path / 'mine', tmp_path / 'run'
    mine.write_text('mine')
    run.mkdir()
    (run / 'last_checkpoint').symlink_to(mine)
    SafeCheckpointHook(by_epoch=False, interval=1).before_train(Runner(run))
    assert files(run) == [] and mine.read_text() == 'mine'
    # What is not a link stays.
    clear_link(mine)
    assert mine.read_text() == 'mine'


def test_a_config_is_dumped_through_no_link(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=1)
    mine, run = tmp_path / 'mine', tmp_path / 'run'
    mine.write_text('mine')
    run.mkdir()
    (run / config.name).symlink_to(mine)
    run_tool('train', config)
    assert mine.read_text() == 'mine'
    assert 'EncoderDecoder' in (run / config.name).read_text()
