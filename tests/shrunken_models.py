# Copyright (c) The mmpointrend authors.
"""Models of the real configs, a sixteenth as wide, and batches small enough for them."""

import copy
from unittest.mock import patch

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import nn

SHRINKAGE = 16
# Stride 32 makes 2x3 of it, so that ASPP's and the FPN's coarsest maps are still maps.
HEIGHT, WIDTH = 64, 96
META = {'ori_shape': (HEIGHT, WIDTH), 'img_shape': (HEIGHT, WIDTH), 'scale_factor': (1.0, 1.0)}


def shrunken(model: dict) -> ConfigDict:
    """The model's config with every width divided by 16, so that widths that do not fit each other still do not."""
    small = ConfigDict(copy.deepcopy(model))
    _divide_widths(small)
    small.backbone.update(depth=50, base_channels=4, stem_channels=4)
    if 'groups' in small.backbone:
        small.backbone.update(groups=2)
    if small.data_preprocessor.get('size'):
        small.data_preprocessor.size = (HEIGHT, WIDTH)
    if 'rpn_head' in small:
        few = {'nms_pre': 50, 'max_per_img': 20}
        small.train_cfg.rpn_proposal.update(few)
        small.train_cfg.rcnn.sampler.update(num=16)
        small.test_cfg.rpn.update(few)
        small.test_cfg.rcnn.update(score_thr=0, max_per_img=3)
    return small


def _divide_widths(node: object) -> None:
    """Divide every ``*channels`` below ``node``; single channels and groups of GroupNorm stay valid."""
    if isinstance(node, list | tuple):
        for item in node:
            _divide_widths(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if not str(key).endswith('channels'):
                _divide_widths(value)
            elif isinstance(value, int):
                node[key] = value // SHRINKAGE if value >= SHRINKAGE else value
            elif isinstance(value, list | tuple):
                node[key] = [width // SHRINKAGE for width in value]
        if 'num_groups' in node:
            node['num_groups'] = 4


def build(cfg: dict) -> nn.Module:
    """The shrunken model of a config, one block a stage, whose batch normalisations work on one CPU."""
    model = shrunken(cfg.model)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        settings = MODELS.get(f'{cfg.default_scope}.{model.backbone.type}').arch_settings
        block, _ = settings[model.backbone.depth]
        with patch.dict(settings, {model.backbone.depth: (block, (1, 1, 1, 1))}):
            return revert_sync_batchnorm(MODELS.build(model))


def batch(cfg: dict, num_classes: int) -> dict:
    """Two images with ground truth of the first and the last class, as the pipeline gives them."""
    generator = torch.Generator().manual_seed(0)
    images = torch.randint(256, (2, 3, HEIGHT, WIDTH), dtype=torch.uint8, generator=generator)
    sample = _instances if cfg.default_scope == 'mmdet' else _labels
    return {'inputs': list(images), 'data_samples': [sample(num_classes) for _ in images]}


def _instances(num_classes: int) -> DetDataSample:
    boxes = torch.tensor([[8, 8, 40, 40], [30, 20, 80, 60]])
    masks = np.zeros((2, HEIGHT, WIDTH), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    sample = DetDataSample(metainfo={**META, 'img_id': 0})
    sample.gt_instances = InstanceData(
        bboxes=boxes.float(),
        labels=torch.tensor([0, num_classes - 1]),
        masks=BitmapMasks(masks, HEIGHT, WIDTH),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return sample


def _labels(num_classes: int) -> SegDataSample:
    labels = torch.zeros(1, HEIGHT, WIDTH, dtype=torch.long)
    labels[:, 20:, 30:] = num_classes - 1
    labels[:, :, :8] = 255
    sample = SegDataSample(metainfo=META)
    sample.gt_sem_seg = PixelData(data=labels)
    return sample
