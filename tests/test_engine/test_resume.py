# Copyright (c) The mmpointrend authors.
"""A run that is stopped at half and resumed is the run that went through, bit for bit."""

from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import HOOKS
from mmengine.runner import Runner
from tiny_runs import run_tool, stop_workers, write_config

from mmpointrend.engine import CheckedRunner
from mmpointrend.errors import ConfigError


@HOOKS.register_module()
class PullThePlug(Hook):
    """Ends training at the start of an iteration, as Ctrl-C does."""

    def __init__(self, iteration: int) -> None:
        self.iteration = iteration

    def before_train_iter(self, runner, batch_idx, data_batch=None) -> None:
        """Stop."""
        if runner.iter == self.iteration:
            raise KeyboardInterrupt


# task, length (iterations, epochs), interval, iteration to stop at, last checkpoint
RUNS = {'semantic': (6, 3, 5, 'iter_6.pth'), 'instance': (4, 2, 7, 'epoch_4.pth')}


def state(path: Path) -> dict:
    """Weights, buffers and momenta of a checkpoint."""
    checkpoint = torch.load(path, weights_only=True)
    momenta = checkpoint['optimizer']['state']
    return {
        **checkpoint['state_dict'],
        **{f'momentum.{index}': value['momentum_buffer'] for index, value in momenta.items()},
    }


def different(one: dict, other: dict) -> list[str]:
    """Names of the tensors that differ in any bit."""
    assert one.keys() == other.keys() and len(one) > 100
    return [name for name in one if not torch.equal(one[name], other[name])]


@pytest.mark.parametrize(('task', 'workers'), [('semantic', 2), ('instance', 2), ('instance', 0)])
def test_resumed_run_equals_the_run_that_went_through(task, workers, tiny_data, tmp_path):
    length, interval, stop, last = RUNS[task]
    sizes = dict(length=length, interval=interval, workers=workers)
    config = write_config(task, tmp_path, tiny_data, **sizes)
    straight, stopped = tmp_path / 'straight', tmp_path / 'stopped'
    run_tool('train', config, '--work-dir', straight)

    plug = ('default_hooks.plug.type=PullThePlug', f'default_hooks.plug.iteration={stop}')
    with pytest.raises(KeyboardInterrupt):
        run_tool('train', config, '--work-dir', stopped, '--cfg-options', *plug)
    assert not (stopped / last).exists()
    run_tool('train', config, '--work-dir', stopped, '--resume')

    assert different(state(straight / last), state(stopped / last)) == []


def test_without_the_hook_a_resumed_run_differs(tiny_data, tmp_path):
    """The control of the test above: mmengine alone, the same run, from the same checkpoint."""
    config = Config.fromfile(
        write_config('semantic', tmp_path, tiny_data, length=4, interval=2, workers=2)
    )
    config.merge_from_dict(dict(work_dir=str(tmp_path / 'straight'), experiment_name='control'))
    Runner.from_cfg(config).train()
    stop_workers()
    config.merge_from_dict(
        dict(
            work_dir=str(tmp_path / 'resumed'),
            experiment_name='control_resumed',
            resume=True,
            load_from=str(tmp_path / 'straight' / 'iter_2.pth'),
        )
    )
    Runner.from_cfg(config).train()
    stop_workers()
    assert different(
        state(tmp_path / 'straight' / 'iter_4.pth'), state(tmp_path / 'resumed' / 'iter_4.pth')
    )


def test_a_resumed_run_without_a_seed_takes_the_seed_of_its_checkpoint(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=4, interval=2)
    seedless = ('--cfg-options', 'randomness.seed=None')
    run_tool('train', config, '--work-dir', tmp_path / 'straight', *seedless)
    resumed = tmp_path / 'resumed'
    start = tmp_path / 'straight' / 'iter_2.pth'
    run_tool('train', config, '--work-dir', resumed, '--resume', start, *seedless)
    assert (
        different(state(tmp_path / 'straight' / 'iter_4.pth'), state(resumed / 'iter_4.pth')) == []
    )


def test_without_an_optimizer_a_run_is_resumed_only_if_it_need_not_be_the_same(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=4, interval=2)
    lean = ('--cfg-options', 'default_hooks.checkpoint.save_optimizer=False')
    run_tool('train', config, *lean, 'train_cfg.max_iters=2')
    with pytest.raises(SystemExit, match=r'^error: .*iter_2\.pth holds no optimizer .*'):
        run_tool('train', config, '--resume', *lean)
    assert not (tmp_path / 'run' / 'iter_4.pth').exists()
    run_tool('train', config, '--resume', *lean, 'default_hooks.iteration_seed=None')
    log = max((tmp_path / 'run').glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    said = [line for line in log.read_text().splitlines() if 'WARNING' in line]
    assert sum('holds no optimizer' in line for line in said) == 1
    assert (tmp_path / 'run' / 'iter_4.pth').exists()


def test_checkpoints_elsewhere_are_found(tiny_data, tmp_path):
    config = write_config('semantic', tmp_path, tiny_data, length=2, interval=1)
    elsewhere = ('--cfg-options', f'default_hooks.checkpoint.out_dir={tmp_path / "kept"}')
    run_tool('train', config, *elsewhere, 'train_cfg.max_iters=1')
    (tmp_path / 'run' / 'last_checkpoint').unlink()
    run_tool('train', config, '--resume', *elsewhere)
    log = max((tmp_path / 'run').glob('*/*.log'), key=lambda path: path.stat().st_mtime)
    assert 'resumed epoch: 0, iter: 1' in log.read_text()


@pytest.mark.parametrize(
    ('task', 'change', 'key'),
    [
        ('semantic', {'train_dataloader.num_workers': 0}, 'train_dataloader.num_workers=0'),
        ('instance', {'train_dataloader.persistent_workers': True}, 'persistent_workers=True'),
        ('instance', {'default_hooks.checkpoint.by_epoch': False}, 'checkpoint.by_epoch=False'),
    ],
)
def test_hook_refuses_what_it_cannot_make_exact(task, change, key, tiny_data, tmp_path):
    config = Config.fromfile(write_config(task, tmp_path, tiny_data, length=2))
    config.merge_from_dict(
        {
            **change,
            'default_hooks.seeds': dict(type='mmpointrend.IterationSeedHook'),
            'experiment_name': key,
        }
    )
    with pytest.raises(ConfigError, match=key):
        CheckedRunner.from_cfg(config).train()
    stop_workers()


def test_every_epoch_draws_its_own_augmentations(tiny_data, tmp_path):
    """mmengine seeds the workers of every epoch alike: crops and flips would repeat."""
    config = Config.fromfile(write_config('instance', tmp_path, tiny_data, length=2))
    runner = CheckedRunner.from_cfg(config)
    hook = HOOKS.build(dict(type='mmpointrend.IterationSeedHook'))
    drawn = []
    for epoch in (0, 1, 0):
        runner.train_loop._epoch = epoch
        hook.before_train_epoch(runner)
        drawn.append(
            [batch['inputs'][0].float().mean().item() for batch in runner.train_dataloader]
        )
    assert drawn[0] == drawn[2] != drawn[1]
