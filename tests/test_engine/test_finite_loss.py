# Copyright (c) The mmpointrend authors.
"""Losses and weights that are no numbers: what is said, and that no good checkpoint is lost."""

from pathlib import Path

import pytest
import torch
from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.logging import HistoryBuffer
from mmengine.registry import HOOKS
from mmengine.structures import BaseDataElement
from tiny_runs import run_tool, write_config
from torch import nn

from mmpointrend.engine import FiniteLossHook, SafeCheckpointHook
from mmpointrend.errors import DivergenceError


class Runner:
    """What the hooks ask of a runner."""

    def __init__(self, work_dir: Path, hooks: tuple = ()) -> None:
        self.work_dir, self.iter, self.hooks = str(work_dir), 6, hooks
        self.message_hub = self
        self.runtime_info: dict = {}
        self.log_scalars: dict = {}
        self.model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))

    def spoil(self, value: float = float('nan')) -> None:
        """One weight of the second layer is no number any more."""
        with torch.no_grad():
            self.model[1].weight[0, 0] = value


BATCH = dict(data_samples=[BaseDataElement(metainfo=dict(img_path=f'{i}.png')) for i in range(4)])
NAN = dict(loss=torch.tensor(float('nan')), loss_mask=torch.tensor(0.25), acc=torch.tensor(1.0))


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_spoilt_weights_stop_training(value, tmp_path):
    runner = Runner(tmp_path)
    runner.spoil(value)
    with pytest.raises(
        DivergenceError,
        match=r'^the loss is NaN or Inf in iteration 7 \(loss nan, loss_mask 0\.25; images 0\.png, '
        r'1\.png, 2\.png, \.\.\.\) and has spoilt the weights \(first 1\.weight\); there is no '
        r'checkpoint yet: train anew with optim_wrapper\.clip_grad',
    ):
        FiniteLossHook().after_train_iter(runner, 0, BATCH, NAN)


def test_the_last_checkpoint_is_named(tmp_path):
    runner = Runner(tmp_path)
    runner.spoil()
    last = tmp_path / 'iter_6.pth'
    last.write_bytes(b'whole')
    runner.runtime_info['last_ckpt'] = str(last)
    with pytest.raises(DivergenceError, match=r'the last checkpoint is .*/iter_6\.pth: go on from'):
        FiniteLossHook().after_train_iter(runner, 0, None, NAN)


def test_a_step_that_was_left_out_is_said_once_and_thirty_stop(tmp_path, caplog):
    hook, runner = FiniteLossHook(), Runner(tmp_path)
    said = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            'mmpointrend.engine.finite_loss.print_log', lambda text, *_: said.append(text)
        )
        for _ in range(29):
            hook.after_train_iter(runner, 0, BATCH, NAN)
        hook.after_train_iter(runner, 0, BATCH, dict(loss=torch.tensor(1.0)))
        for _ in range(29):
            hook.after_train_iter(runner, 0, BATCH, NAN)
        assert len(said) == 1 and said[0].startswith('The loss is NaN or Inf in iteration 7 (loss')
        with pytest.raises(DivergenceError, match='as in the 29 iterations before'):
            hook.after_train_iter(runner, 0, BATCH, NAN)


def test_losses_are_read_where_they_are_numbers_already(tmp_path):
    """A tensor on a GPU would be waited for once more."""

    class Unread:
        def __float__(self) -> float:
            raise AssertionError('read a second time')

    runner = Runner(tmp_path, hooks=(RuntimeInfoHook(),))
    runner.log_scalars['train/loss'] = HistoryBuffer([3.0, 0.5], [1, 1])
    runner.spoil()
    FiniteLossHook().after_train_iter(runner, 0, BATCH, dict(loss=Unread()))
    runner.log_scalars['train/loss'].update(float('inf'))
    with pytest.raises(DivergenceError, match='loss inf'):
        FiniteLossHook().after_train_iter(runner, 0, BATCH, dict(loss=Unread()))


@pytest.mark.parametrize('outputs', [None, 3, {}, dict(acc=float('nan'))])
def test_steps_without_losses_pass(outputs, tmp_path):
    runner = Runner(tmp_path)
    runner.spoil()
    FiniteLossHook().after_train_iter(runner, 0, None, outputs)


def test_spoilt_weights_are_not_saved(tmp_path):
    """A rank whose own loss is finite learns of the others' by its weights alone."""
    hook, runner = SafeCheckpointHook(save_best='mIoU', max_keep_ckpts=1), Runner(tmp_path)
    runner.spoil()
    for save in (
        lambda: hook._save_checkpoint(runner),
        lambda: hook._save_best_checkpoint(runner, dict(mIoU=0.5)),
    ):
        with pytest.raises(
            DivergenceError, match=r'NaN or Inf in iteration 7 \(first in 1\.weight'
        ):
            save()
    assert not list(tmp_path.iterdir())


@HOOKS.register_module()
class BlowUp(Hook):
    """Makes the weights so large that the next loss is no number."""

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Blow up in the fourth iteration."""
        if runner.iter == 3:
            for parameter in runner.model.parameters():
                parameter.data.mul_(1e30)


def test_a_run_stops_and_keeps_its_last_good_checkpoint(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=6, interval=2, workers=0)
    blow_up = ('default_hooks.blow_up.type=BlowUp', 'default_hooks.checkpoint.max_keep_ckpts=1')
    with pytest.raises(
        SystemExit,
        match=r'error: the loss is NaN or Inf in iteration 4 \(loss \w+, decode\.coarse\.loss_ce nan.*images .*'
        r'\.png.*\) and has spoilt the weights .*run/iter_2\.pth: go on from it with --resume',
    ):
        run_tool('train', config, '--cfg-options', *blow_up)
    assert [path.name for path in (tmp_path / 'run').glob('*.pth')] == ['iter_2.pth']
