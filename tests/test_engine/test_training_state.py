# Copyright (c) The mmpointrend authors.
"""What a resumed run says of a checkpoint that lacks, or brings along, other state than the run has."""

import copy
import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import CheckpointHook, EMAHook, Hook
from mmengine.logging import MMLogger
from tiny_runs import run_tool, write_config

from mmpointrend.engine import CheckedRunner, IterationSeedHook
from mmpointrend.engine.training_state import check_resumed, first_not_finite
from mmpointrend.errors import CheckpointError


class Said(logging.Handler):
    """Collects warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.sentences: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep it."""
        self.sentences.append(record.getMessage())

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Listen to mmengine's current logger."""
        logger = MMLogger.get_current_instance()
        logger.addHandler(self)
        yield
        logger.removeHandler(self)


@pytest.fixture(scope='module')
def trained(tiny_data, tmp_path_factory) -> Path:
    """A run that saved after three and six iterations, and its config."""
    folder = tmp_path_factory.mktemp('trained')
    config = write_config('semantic', folder, tiny_data, length=6, interval=3, workers=0)
    config.write_text(config.read_text() + 'train_cfg["val_interval"] = 99\n')
    run_tool('train', config)
    return folder


@pytest.fixture
def content(trained) -> dict:
    """Content of the checkpoint after three iterations, to be altered."""
    return torch.load(trained / 'run' / 'iter_3.pth', weights_only=True)


@pytest.fixture(scope='module')
def runner(trained, tmp_path_factory) -> CheckedRunner:
    """A runner of the same config, its training loop built."""
    cfg = Config.fromfile(trained / 'tiny_semantic.py')
    cfg.merge_from_dict(
        dict(work_dir=str(tmp_path_factory.mktemp('resumed')), experiment_name='training_state')
    )
    runner = CheckedRunner.from_cfg(cfg)
    runner._train_loop = runner.build_train_loop(runner._train_loop)
    return runner


@pytest.fixture
def resume(runner, tmp_path, monkeypatch):
    """Resumes from a content with other hooks, or settings, than it was saved with; the warnings."""

    def call(content: dict, *hooks: Hook, **changes: object) -> list[str]:
        path, added = tmp_path / 'iter_3.pth', (EMAHook, IterationSeedHook)
        torch.save(content, path)
        cfg = copy.deepcopy(runner.cfg)
        cfg.merge_from_dict(changes)
        runner._hooks = [hook for hook in runner.hooks if type(hook) not in added]
        for hook in hooks:
            runner.register_hook(hook)
            hook.before_run(runner)
        runner._train_loop._iter = 0
        runner.optim_wrapper = runner.build_optim_wrapper(cfg.optim_wrapper)
        runner.param_schedulers = runner.build_param_scheduler(cfg.param_scheduler)
        said = Said()
        runner._resume, runner._load_from, runner._has_loaded = True, str(path), False
        with said.listening():
            runner.load_or_resume()
        assert runner.iter == content['meta']['iter']
        return said.sentences

    return call


def test_a_whole_state_is_resumed_without_a_word(content, resume):
    assert resume(content) == []
    assert resume(content, IterationSeedHook()) == []


@pytest.mark.parametrize(
    ('lost', 'phrase'),
    [
        (['optimizer'], r'no optimizer \(default_hooks\.checkpoint\.save_optimizer=True'),
        (['param_schedulers'], r'no param_scheduler \(default_hooks\.checkpoint\.save_param_sched'),
        (['optimizer', 'param_schedulers'], 'no optimizer .* and no param_scheduler'),
    ],
)
def test_lost_state_is_said_and_refused_where_the_run_is_to_be_the_same(
    lost, phrase, content, resume
):
    for key in lost:
        del content[key]
    (said,) = resume(content)
    assert re.search(phrase, said) and said.endswith(': that starts anew.')
    with pytest.raises(CheckpointError, match=rf'iter_3\.pth holds {phrase}.*load_from, or leave'):
        resume(content, IterationSeedHook())


def test_a_run_that_is_over_needs_no_state(content, resume):
    """No step is left that could differ: resuming a finished run is no error."""
    del content['optimizer'], content['param_schedulers']
    content['meta']['iter'] = 6
    assert resume(content, IterationSeedHook()) == []


def test_schedules_of_another_number(content, resume):
    content['param_schedulers'] *= 2
    (said,) = resume(content)
    assert 'holds the state of 2 schedules for the 1 of this run' in said


def test_averaged_weights_of_one_side_only(content, resume):
    (mmengines, ours) = resume(content, EMAHook())
    assert 'no `ema_state_dict`' in mmengines and 'holds no averaged weights, which EMA' in ours
    content['ema_state_dict'] = {}
    (said,) = resume(content)
    assert 'holds the averaged weights of EMAHook, which this run lacks' in said


def test_weights_alone_are_sent_to_load_from(content, resume):
    with pytest.raises(CheckpointError, match=r'no state of training and cannot be resumed; start'):
        resume({'state_dict': content['state_dict'], 'meta': {'iter': 3}})


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('meta', [1], 'meta and message_hub have to be dicts'),
        ('message_hub', 7, 'meta and message_hub have to be dicts'),
        ('message_hub', {}, r'does not fit this run \(The loaded `state_dict` of `MessageHub`'),
        ('meta.iter', -1, "meta.iter is '-1', and no count"),
        ('meta.iter', 'three', "meta.iter is 'three', and no count"),
        ('meta.epoch', None, "meta.epoch is 'None', and no count"),
        (
            'meta.iter',
            10**15,
            r'1000000000000000 iters behind it, more than train_cfg.max_iter',
        ),
        ('meta.seed', -5, 'does not fit this run'),
        ('optimizer', {}, 'does not fit this run'),
        ('optimizer', [], 'does not fit this run'),
        (
            'optimizer.param_groups',
            [],
            r'\(loaded state dict has a different number of parameter gr',
        ),
        ('param_schedulers', 5, 'does not fit this run'),
        ('param_schedulers', [5], 'does not fit this run'),
    ],
)
def test_a_state_that_is_none_gets_a_sentence(path, value, message, content, resume):
    *parents, key = path.split('.')
    part = content
    for parent in parents:
        part = part[parent]
    part[key] = value
    with pytest.raises(CheckpointError, match=message):
        resume(content)


class TestOtherOptimizer:
    def test_of_another_kind(self, content, resume):
        adam = {'optim_wrapper.optimizer': dict(type='AdamW', lr=0.1, _delete_=True)}
        with pytest.raises(CheckpointError, match=r'does not fit this run'):
            resume(content, **adam)
        # torch loads Adam's into SGD, which fails at the first step.
        del content['optimizer']['param_groups'][0]['momentum']
        with pytest.raises(CheckpointError, match=r'another optimizer \(without momentum of SGD\)'):
            resume(content)

    def test_groups_of_another_number_or_size(self, content, resume):
        for_biases = {'optim_wrapper.paramwise_cfg': dict(bias_lr_mult=2.0)}
        with pytest.raises(CheckpointError, match=r'different number of parameter groups'):
            resume(content, **for_biases)
        content['optimizer']['param_groups'][0]['params'].pop()
        with pytest.raises(CheckpointError, match=r"doesn't match the size of optimizer's group"):
            resume(content)

    def test_parameters_in_another_order(self, content, resume):
        state = content['optimizer']['state']
        state[0], state[3] = state[3], state[0]
        with pytest.raises(
            CheckpointError, match=r'momentum_buffer of shape .* for a parameter of'
        ):
            resume(content)


def test_settings_of_the_checkpoint_that_the_config_has_otherwise_are_said(content, resume):
    (said,) = resume(
        content, **{'optim_wrapper.optimizer.lr': 0.02, 'param_scheduler.0.power': 0.5}
    )
    assert 'param_scheduler[0].power 0.9 (config: 0.5)' in said
    assert 'optimizer.lr of group 0 0.01 (config: 0.02)' in said


def test_other_data_are_said(content, resume):
    assert content['meta'].get('drawing') is None
    content['meta']['drawing'] = dict(processes=8, images=6, batch_size=3, workers=0)
    (said,) = resume(content, IterationSeedHook())
    assert said.endswith('stopped: processes 8 -> 1, batch_size 3 -> 2.')


def test_the_hook_notes_what_data_are_drawn(trained, tmp_path):
    config = trained / 'tiny_semantic.py'
    options = ('--cfg-options', 'train_dataloader.num_workers=1', 'train_cfg.max_iters=1')
    run_tool('train', config, '--work-dir', tmp_path, *options)
    meta = torch.load(tmp_path / 'iter_1.pth', weights_only=True)['meta']
    assert meta['drawing'] == dict(processes=1, images=6, batch_size=2, workers=1)


def test_a_run_whose_checkpoints_will_not_do_says_so_at_its_start(runner, resume, content):
    resume(content)
    said = Said()
    (saver,) = (hook for hook in runner.hooks if isinstance(hook, CheckpointHook))
    for optimizer, scheduler, times in ((True, True, 0), (False, True, 1), (True, False, 1)):
        said.sentences.clear()
        saver.save_optimizer, saver.save_param_scheduler = optimizer, scheduler
        with said.listening():
            IterationSeedHook._announce_lost_state(runner)
        assert len(said.sentences) == times
        said.sentences.clear()
        saver.interval = 6
        with said.listening():
            IterationSeedHook._announce_lost_state(runner)
        assert said.sentences == []
        saver.interval = 3
    saver.save_param_scheduler = True


def test_meta_information_is_not_run(content, resume, tmp_path):
    """mmengine reads ``meta.config`` as a Python config."""
    content['meta']['config'] = f'open({str(tmp_path / "ran")!r}, "w").write("")'
    assert resume(content) == []
    assert not (tmp_path / 'ran').exists()


def test_weights_that_are_no_numbers(content, resume):
    content['state_dict']['decode_head.point_head.fcs.0.conv.weight'][:] = float('nan')
    with pytest.raises(CheckpointError, match=r'holds NaN or Inf in decode_head\.point_head\.fcs'):
        resume(content)


def test_numbers_of_every_kind_are_looked_at():
    ones = torch.ones(4, 4)
    kinds = [ones.to(torch.float8_e4m3fn), ones.to_sparse(), ones.to(torch.complex64), ones.half()]
    for value in kinds:
        assert first_not_finite({'a.weight': value}) is None
    for value in (torch.full((2,), torch.nan).to(torch.float8_e4m3fn), (ones / 0).to_sparse()):
        assert first_not_finite({'a.weight': value}) == 'a.weight'


@pytest.mark.parametrize('value', ['x', None, 2**2000, float('nan')])
def test_settings_of_an_optimizer_that_are_no_numbers(value):
    class Wrapper:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)

    class Run:
        train_loop, optim_wrapper = None, Wrapper

    check_resumed(Run, 'a.pth')
    Wrapper.optimizer.param_groups[0]['momentum'] = value
    with pytest.raises(CheckpointError, match=r'another optimizer \(momentum is '):
        check_resumed(Run, 'a.pth')
