# Copyright (c) The mmpointrend authors.
"""Options that the pages name: what they do to every config that they are for."""

import copy
import re

import numpy as np
import pytest
import torch
from mmengine.registry import PARAM_SCHEDULERS, DefaultScope
from PIL import Image
from resolved_configs import CONFIGS
from torch import nn

import mmpointrend  # noqa: F401  (makes `mmpointrend::` known)
from mmpointrend.engine.detectron2 import build_empty
from mmpointrend.registry import TRANSFORMS

WARM_UP = r'`(param_scheduler\.0\.start_factor)=([\d.]+)` at rate ([\d.]+)'
OWN = [
    path
    for folder in ('instance', 'semantic')
    for path in sorted((CONFIGS / folder).glob('*.py'))
    if 'mmseg' not in path.read_text().partition('_base_')[0]
]


@pytest.mark.parametrize('path', OWN, ids=lambda path: path.stem)
def test_warm_up_from_a_rate_of_a_thousandth(read, path):
    page = (path.parent / 'README.md').read_text()
    factors = {float(rate): (key, float(factor)) for key, factor, rate in re.findall(WARM_UP, page)}
    cfg = copy.deepcopy(read(path.stem))
    rate = cfg.optim_wrapper.optimizer.lr
    key, factor = factors[rate]
    cfg.merge_from_dict({key: factor})
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=rate)
    with DefaultScope.overwrite_default_scope('mmengine'):
        scheduler = PARAM_SCHEDULERS.build({**cfg.param_scheduler[0], 'optimizer': optimizer})
    rates = []
    for _ in range(1000):
        rates.append(optimizer.param_groups[0]['lr'])
        optimizer.step()
        scheduler.step()
    assert rates[0] == pytest.approx(0.001)
    assert rates[-1] == pytest.approx(rate)
    assert np.allclose(np.diff(rates), (rate - 0.001) / 999)


def test_the_papers_stem(read):
    page = (CONFIGS / 'semantic' / 'README.md').read_text()
    ((key, value),) = re.findall(r'`(model\.backbone\.stem_channels)=(\d+)`', page)
    widths = []
    for options in ({}, {key: int(value)}):
        cfg = copy.deepcopy(read('deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768'))
        cfg.merge_from_dict(options)
        backbone = build_empty(cfg).backbone
        widths.append([c.out_channels for c in backbone.stem if isinstance(c, nn.Conv2d)])
        assert backbone.layer1[0].conv1.in_channels == widths[-1][-1]
    assert widths == [[32, 32, 64], [64, 64, 128]]


def test_detectron2s_weights_are_tested_on_images_that_pillow_resizes(read, repo):
    page = (repo / 'docs' / 'model_zoo.md').read_text()
    (key, value), *others = re.findall(r'(test_dataloader\S+)=(\w+)', page)
    assert others == []
    image = np.random.default_rng(0).integers(0, 256, (600, 800, 3), np.uint8)
    for name in ('8xb2-1x_coco', '8xb1-24k_cityscapes'):
        cfg = copy.deepcopy(read(f'pointrend_mask-rcnn_r50-caffe_fpn_{name}'))
        cfg.merge_from_dict({key: value})
        step = cfg.test_dataloader.dataset.pipeline[1]
        assert step.type == 'Resize'
        with DefaultScope.overwrite_default_scope('mmdet'):
            resize = TRANSFORMS.build({**step, 'scale': (400, 300)})
        resized = resize({'img': image, 'img_shape': image.shape[:2]})['img']
        # What detectron2's ResizeTransform calls.
        expected = np.asarray(Image.fromarray(image).resize((400, 300), Image.BILINEAR))
        assert np.array_equal(resized, expected)
