# Copyright (c) The mmpointrend authors.
"""The checked runner where other tools than ours build it, and the labels that it watches."""

import mmdet.registry
import mmengine.registry
import mmseg.registry
import pytest
import torch
from mmengine.config import Config
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner
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
