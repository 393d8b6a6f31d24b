# Copyright (c) The mmpointrend authors.
"""The checked runner where other tools than ours build it, and the labels that it watches."""

import mmdet.registry
import mmengine.registry
import mmengine.runner
import mmseg.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, IterBasedTrainLoop
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner, resuming_runner
from mmpointrend.engine.hooks import LabelRangeHook
from mmpointrend.errors import ConfigError, InputError


@pytest.mark.parametrize('owner', [mmengine, mmdet, mmseg])
def test_runner_type_gives_it_to_other_tools(owner, tiny_data, tmp_path):
    """mmdet's and mmseg's ``tools/train.py`` build the runner so."""
    cfg = Config.fromfile(write_config('semantic', tmp_path, tiny_data, length=2))
    cfg.merge_from_dict(
        dict(runner_type='mmpointrend.CheckedRunner', experiment_name=f'by_{owner.__name__}')
    )
    runner = owner.registry.RUNNERS.build(cfg)
    assert type(runner) is CheckedRunner
    hooks = [type(hook) for hook in runner.hooks]
    assert LabelRangeHook not in hooks
    runner.build_train_loop(runner._train_loop)
    assert LabelRangeHook in [type(hook) for hook in runner.hooks]


@pytest.mark.skipif(torch.cuda.is_available(), reason='about machines without a GPU')
def test_slurm_without_a_gpu_is_refused(tiny_data, tmp_path):
    cfg = Config.fromfile(write_config('semantic', tmp_path, tiny_data, length=2))
    cfg.launcher = 'slurm'
    with pytest.raises(ConfigError, match=r'launcher slurm needs a GPU'):
        CheckedRunner.from_cfg(cfg)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        ({'model.test_cfg.subdivision_steps': -1}, r'model\.test_cfg\.subdivision_steps is -1'),
        ({'model.decode_head.point_head.in_index': [9]}, r'in_index is \[9\].* choose from 0 to'),
        ({'model.decode_head.point_head.chanels': 8}, r'no such key; did you mean channels'),
    ],
)
def test_a_model_that_fails_later_is_refused_at_once(change, message, tiny_data, tmp_path):
    cfg = Config.fromfile(write_config('semantic', tmp_path, tiny_data, length=2))
    cfg.merge_from_dict({**change, 'experiment_name': str(change)[:40].replace('/', '')})
    with pytest.raises(ConfigError, match=message):
        CheckedRunner.from_cfg(cfg)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'type': 'Adm'},
            r'^optim_wrapper cannot be built: Adm is not in the registry of optimizers$',
        ),
        ({'type': 'Adam', 'momentum': 0.9}, r"^optim_wrapper cannot be built: .*'momentum'"),
        ({'type': 'SGD', 'lr': -1}, r'^optim_wrapper cannot be built: .*Invalid learning rate: -1'),
    ],
)
def test_an_optimizer_that_cannot_be_built(change, message):
    runner = CheckedRunner.__new__(CheckedRunner)
    runner.model = torch.nn.Linear(1, 1)
    with pytest.raises(ConfigError, match=message):
        runner.build_optim_wrapper(dict(type='OptimWrapper', optimizer={'lr': 0.1, **change}))
    wrapper = dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=0.1))
    runner.optim_wrapper = runner.build_optim_wrapper(wrapper)
    runner._train_loop = BaseLoop.__new__(IterBasedTrainLoop)
    runner._train_loop._max_iters, runner._train_loop.dataloader = 2, [0]
    runner.logger = MMLogger.get_current_instance()
    with pytest.raises(ConfigError, match=r'^param_scheduler cannot be built: .*milestones'):
        runner.build_param_scheduler(dict(type='MultiStepLR', by_epoch=False, end=2))


@pytest.mark.parametrize('kind', ['AmpOptimWrapper', 'mmengine.AmpOptimWrapper'])
def test_mixed_precision_without_a_gpu(kind, monkeypatch):
    monkeypatch.setattr(resuming_runner, 'get_device', lambda: 'cpu')
    runner = CheckedRunner.__new__(CheckedRunner)
    with pytest.raises(ConfigError, match=r'AmpOptimWrapper, mixed precision, which needs a GPU'):
        runner.build_optim_wrapper(dict(type=kind, optimizer=dict(type='SGD', lr=0.1)))


@pytest.mark.parametrize('text', ['Expected more than 1 value per channel when training', 'other'])
def test_a_batch_too_small_to_normalise_gets_a_sentence(text, monkeypatch):
    def fail(self):
        raise ValueError(text)

    monkeypatch.setattr(mmengine.runner.Runner, 'train', fail)
    error = ConfigError if text.startswith('Expected') else ValueError
    runner = CheckedRunner.__new__(CheckedRunner)
    runner._work_dir = 'run'
    with pytest.raises(error) as caught:
        runner.train()
    assert type(caught.value) is error
    assert ('batch_size to 2 or more' in str(caught.value)) == (error is ConfigError)


class TestLabelRange:
    @staticmethod
    def batch(*labels: int) -> dict:
        """A batch of one sample with these labels."""
        sample = SegDataSample(metainfo=dict(seg_map_path=f'{labels}.png'))
        sample.gt_sem_seg = PixelData(data=torch.tensor([[labels]]))
        return dict(inputs=[None], data_samples=[sample])

    @pytest.mark.parametrize('labels', [(0, 1, 2), (2, 255), (255,)])
    def test_labels_of_the_classes_and_void_pass(self, labels):
        LabelRangeHook(3, 255).before_train_iter(None, 0, self.batch(*labels))

    @pytest.mark.parametrize(('labels', 'wrong'), [((0, 3), 3), ((254, 255), 254), ((11,), 11)])
    def test_others_are_named(self, labels, wrong):
        with pytest.raises(InputError, match=rf'\.png holds label {wrong}, but the head has 3'):
            LabelRangeHook(3, 255).before_train_iter(None, 0, self.batch(*labels))

    def test_void_is_what_the_loss_leaves_out(self):
        LabelRangeHook(3, 11).before_train_iter(None, 0, self.batch(0, 11))
        with pytest.raises(InputError, match='holds label 255'):
            LabelRangeHook(3, 11).before_train_iter(None, 0, self.batch(255))

    def test_each_file_is_looked_at_once(self):
        hook, good = LabelRangeHook(3, 255), self.batch(0)
        hook.before_train_iter(None, 0, good)
        good['data_samples'][0].gt_sem_seg.data[:] = 9
        hook.before_train_iter(None, 0, good)
        hook.before_train_iter(None, 0, dict(data_samples=[]))
