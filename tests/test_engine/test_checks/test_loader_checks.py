# Copyright (c) The mmpointrend authors.
"""Data loaders whose workers, batches or augmentations cannot work."""

import types

import pytest
import torch
from mmcv.transforms import RandomApply
from mmdet.datasets.transforms import (
    CachedMosaic,
    CopyPaste,
    Expand,
    LoadAnnotations,
    MixUp,
    Mosaic,
    RandomAffine,
    RandomShift,
    Resize,
)
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, DefaultSampler, InfiniteSampler
from mmengine.runner import Runner
from mmseg.models import SegDataPreProcessor
from mmseg.structures import SegDataSample
from tiny_heads import build_segmentor, pointrend
from torch.utils.data import DataLoader

from mmpointrend.engine import CheckedRunner
from mmpointrend.engine.checks import (
    BatchSizeHook,
    check_loader_config,
    check_mask_augmentations,
    check_single_images,
    loaders,
    without_idle_workers,
)
from mmpointrend.errors import ConfigError, InputError

LOADER = {'batch_size': 2, 'dataset': {'type': 'A'}, 'sampler': {'type': 'DefaultSampler'}}


class TestConfig:
    @pytest.mark.parametrize(
        ('change', 'message'),
        [
            ({'batch_size': 0}, r'^val_dataloader\.batch_size is 0: set it to an integer of at'),
            ({'batch_size': '2'}, r"^val_dataloader\.batch_size is '2'"),
            (
                {'batch_size': None, 'batch_sampler': {'type': 'A'}},
                r'^val_dataloader\.batch_size is None: set it to an integer of at least 1$',
            ),
            ({'num_workers': -1}, r'^val_dataloader\.num_workers is -1'),
            ({'sampler': None}, r'^val_dataloader\.sampler is None: set it to dict\(type='),
            ({'dataset': None}, r'^val_dataloader\.dataset is None'),
        ],
    )
    def test_wrong_numbers_are_named(self, change, message):
        with pytest.raises(ConfigError, match=message):
            check_loader_config(ConfigDict({**LOADER, **change}), 'val_dataloader')

    def test_a_list_of_loaders_is_no_cascade_of_heads(self):
        with pytest.raises(
            ConfigError, match=r'^val_dataloader is a list of 2: set it to one dict$'
        ):
            check_loader_config([LOADER, LOADER], 'val_dataloader')

    def test_usual_ones_pass(self):
        check_loader_config(LOADER, 'train_dataloader')
        check_loader_config({**LOADER, 'num_workers': 4, 'batch_sampler': {'type': 'A'}}, 'train')
        check_loader_config(DataLoader([1]), 'train_dataloader')

    def test_the_batch_size_of_pytorch_passes(self):
        data = {'dataset': [3, 4], 'sampler': {'type': 'DefaultSampler', 'shuffle': False}}
        check_loader_config(data, 'val_dataloader')
        assert Runner.build_dataloader(data).batch_size == 1


class TestIdleWorkers:
    @pytest.mark.parametrize('key', ['persistent_workers', 'prefetch_factor'])
    def test_their_settings_are_switched_off(self, key, monkeypatch):
        dataset = torch.utils.data.TensorDataset(torch.zeros(3, 1))
        cfg = {
            'batch_size': 2,
            'dataset': dataset,
            'sampler': {'type': 'DefaultSampler', 'shuffle': False},
            'num_workers': 0,
            key: 2 if key == 'prefetch_factor' else True,
        }
        with pytest.raises(ValueError, match=key):
            Runner.build_dataloader(cfg)
        said = []
        monkeypatch.setattr(loaders, 'print_log', lambda text, *_: said.append(text))
        loader = CheckedRunner.build_dataloader(cfg)
        assert [len(batch[0]) for batch in loader] == [2, 1]
        assert said == [f'A data loader with num_workers=0 has no use for {key}: switched off.']

    def test_those_of_workers_are_kept(self):
        cfg = {'num_workers': 2, 'persistent_workers': True}
        assert without_idle_workers(cfg) is cfg
        cfg = {'num_workers': 0, 'persistent_workers': False}
        assert without_idle_workers(cfg) is cfg


def dataset(*steps, wrapper=()):
    """A dataset with that pipeline, in a wrapper with another."""
    inner = types.SimpleNamespace(pipeline=Compose([]))
    inner.pipeline.transforms = list(steps)
    return types.SimpleNamespace(dataset=inner, pipeline=list(wrapper)) if wrapper else inner


KEEPING = LoadAnnotations(with_mask=True, poly2mask=False)
DRAWING = LoadAnnotations(with_mask=True)


class TestMaskAugmentations:
    @pytest.mark.parametrize(
        'data',
        [
            dataset(KEEPING, Resize(scale=(8, 8)), Expand()),
            dataset(KEEPING, wrapper=[CopyPaste()]),
            dataset(KEEPING, RandomApply([Expand()])),
        ],
    )
    def test_those_of_bitmaps_do_not_take_polygons(self, data):
        with pytest.raises(
            ConfigError, match=r'works on bitmaps, and poly2mask=False .* keeps pol'
        ):
            check_mask_augmentations(data)

    @pytest.mark.parametrize('load', [KEEPING, DRAWING])
    def test_those_that_leave_masks_behind_are_named(self, load):
        with pytest.raises(ConfigError, match=r'has Mosaic, which moves .*: take CachedMosaic'):
            check_mask_augmentations(dataset(load, wrapper=[Mosaic(img_scale=(8, 8))]))

    def test_all_of_them_are_named_at_once(self):
        steps = [Mosaic(img_scale=(8, 8)), RandomAffine(), MixUp(img_scale=(8, 8)), RandomShift()]
        message = (
            r'has MixUp and Mosaic and RandomAffine and RandomShift, which move images .*: take CachedMixUp instead '
            r'of MixUp, and CachedMosaic instead of Mosaic, .*, or with_mask=False in LoadAnnotations'
        )
        with pytest.raises(ConfigError, match=message):
            check_mask_augmentations(dataset(DRAWING, wrapper=steps))

    @pytest.mark.parametrize(
        'data',
        [
            dataset(DRAWING, Expand(), CopyPaste()),
            dataset(KEEPING, CachedMosaic(img_scale=(8, 8)), Resize(scale=(8, 8))),
            dataset(LoadAnnotations(), Mosaic(img_scale=(8, 8)), Expand()),
            types.SimpleNamespace(),
        ],
    )
    def test_others_pass(self, data):
        check_mask_augmentations(data)


class TestSingleImages:
    HEAD = {
        'type': 'PSPHead',
        'in_channels': 16,
        'in_index': 3,
        'channels': 8,
        'pool_scales': (1,),
        'num_classes': 5,
        'norm_cfg': {'type': 'BN'},
    }

    @staticmethod
    def loader(images, sampler=DefaultSampler, **options):
        data = list(range(images))
        return DataLoader(data, sampler=sampler(data), **options)

    @pytest.fixture
    def model(self):
        return build_segmentor(pointrend(self.HEAD))

    @pytest.mark.parametrize(
        ('images', 'options', 'message'),
        [
            (
                4,
                {'batch_size': 1},
                r'batch_size is 1, but model\.decode_head.*: set batch_size to 2',
            ),
            (
                5,
                {'batch_size': 2},
                r'last batch of 5 .*=2 is one image, .*set train_dataloader\.drop',
            ),
        ],
    )
    def test_batches_of_one_are_refused(self, model, images, options, message):
        with pytest.raises(ConfigError, match=message):
            check_single_images(model, self.loader(images, **options))

    @pytest.mark.parametrize(
        ('images', 'options'),
        [
            (4, {'batch_size': 2}),
            (5, {'batch_size': 2, 'drop_last': True}),
            (5, {'batch_size': 2, 'sampler': InfiniteSampler}),
        ],
    )
    def test_larger_ones_pass(self, model, images, options):
        check_single_images(model, self.loader(images, **options))

    def test_other_models_take_single_images(self):
        check_single_images(build_segmentor(pointrend()), self.loader(3, batch_size=1))


class TestBatchSizes:
    @staticmethod
    def batch(*sizes, nested=False):
        images = [torch.zeros(3, *size) for size in sizes]
        samples = [
            SegDataSample(metainfo={'img_path': f'{index}.png'}) for index in range(len(sizes))
        ]
        return {'inputs': [images] if nested else images, 'data_samples': samples}

    @staticmethod
    def runner(**preprocessor):
        model = torch.nn.Module()
        model.data_preprocessor = SegDataPreProcessor(**preprocessor)
        return types.SimpleNamespace(model=model)

    @pytest.mark.parametrize('name', ['val', 'test'])
    @pytest.mark.parametrize('options', [{'size': (9, 9)}, {'size_divisor': 4}])
    def test_mixed_ones_of_validation_are_named(self, name, options):
        look = getattr(BatchSizeHook(), f'before_{name}_iter')
        message = rf'0\.png is 4x6 and 2\.png 6x4 in one batch of {name}_dataloader.*batch_size=1'
        with pytest.raises(InputError, match=message):
            look(self.runner(**options), 0, self.batch((4, 6), (4, 6), (6, 4)))
        look(self.runner(**options), 0, self.batch((4, 6), (4, 6)))
        look(self.runner(**options), 0, self.batch((4, 6)))

    def test_training_pads(self):
        look = BatchSizeHook().before_train_iter
        look(self.runner(size=(8, 8)), 0, self.batch((4, 6), (8, 5)))
        look(self.runner(size_divisor=4), 0, self.batch((4, 6), (8, 5)))
        with pytest.raises(InputError, match=r'0\.png is 4x6 and 1\.png 9x5 .*crop the images'):
            look(self.runner(size=(8, 8)), 0, self.batch((4, 6), (9, 5)))

    def test_detectors_and_augmented_batches_pass(self):
        runner = types.SimpleNamespace(model=torch.nn.Module())
        BatchSizeHook().before_val_iter(runner, 0, self.batch((4, 6), (6, 4)))
        BatchSizeHook().before_test_iter(self.runner(), 0, {'inputs': [[torch.zeros(3, 4, 4)]] * 2})
