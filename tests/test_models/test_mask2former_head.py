# Copyright (c) The mmpointrend authors.
"""Mask2Former trains on our points as on mmdet's: same losses, gradients and random numbers."""

import copy

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import Config
from mmengine.registry import DefaultScope
from mmengine.structures import InstanceData, PixelData

SIDE, QUERIES = 64, 12
KINDS = {
    'instance': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
    'panoptic': 'mask2former/mask2former_r50_8xb2-lsj-50e_coco-panoptic.py',
}


@pytest.fixture(scope='module', params=KINDS)
def heads(request):
    """mmdet's head and ours with its weights, narrow."""
    path = Config._get_cfg_path(f'mmdet::{KINDS[request.param]}', '')[0]
    model = Config.fromfile(path).model
    config = copy.deepcopy(model.panoptic_head)
    config.update(
        in_channels=[8, 8, 8, 8], feat_channels=32, out_channels=32, num_queries=QUERIES,
        train_cfg={**model.train_cfg, 'num_points': 300}, test_cfg=model.test_cfg,
    )  # fmt: skip
    config.positional_encoding.num_feats = 16
    config.pixel_decoder.positional_encoding.num_feats = 16
    config.pixel_decoder.norm_cfg.num_groups = 4
    layers = [config.pixel_decoder.encoder, config.transformer_decoder]
    for stack in layers:
        stack.num_layers = 2
        for part in stack.layer_cfg.values():
            if isinstance(part, dict) and 'embed_dims' in part:
                part.embed_dims = 32
        stack.layer_cfg.ffn_cfg.feedforward_channels = 32
    built = []
    with DefaultScope.overwrite_default_scope('mmdet'):
        for kind in ('Mask2FormerHead', 'mmpointrend.Mask2FormerHead'):
            built.append(MMDET_MODELS.build({**config, 'type': kind}))
    built[0].init_weights()
    built[1].load_state_dict(built[0].state_dict(), strict=True)
    return built


def _samples(counts, has_stuff):
    """Ground truth of images with that many discs, and stuff below."""
    rows, columns = np.mgrid[:SIDE, :SIDE]
    samples = []
    for number, count in enumerate(counts):
        masks = [
            (rows - 10 * i - 15) ** 2 + (columns - 20 - 15 * number) ** 2 < 60 * (i + 1)
            for i in range(count)
        ]
        sample = DetDataSample(
            metainfo={'img_shape': (SIDE, SIDE), 'batch_input_shape': (SIDE, SIDE)}
        )
        sample.gt_instances = InstanceData(
            labels=torch.arange(count),
            masks=BitmapMasks(np.array(masks, np.uint8).reshape(-1, SIDE, SIDE), SIDE, SIDE),
        )
        if has_stuff:
            labels = torch.full((1, SIDE, SIDE), 255)
            labels[:, 50:] = 100
            sample.gt_sem_seg = PixelData(sem_seg=labels)
        samples.append(sample)
    return samples


@pytest.mark.parametrize('counts', [(3, 1), (2, 0), (0, 0), (QUERIES + 1, 2)])
def test_losses_and_gradients_are_mmdets(heads, counts):
    has_stuff = heads[0].num_stuff_classes > 0
    generator = torch.Generator().manual_seed(0)
    levels = [
        torch.randn(2, 8, SIDE // stride, SIDE // stride, generator=generator)
        for stride in (4, 8, 16, 32)
    ]
    answers = []
    for head in heads:
        head.zero_grad()
        torch.manual_seed(7)
        losses = head.loss(levels, _samples(counts, has_stuff))
        sum(losses.values()).backward()
        state = torch.get_rng_state()
        gradients = {name: value.grad for name, value in head.named_parameters()}
        answers.append((losses, gradients, state))
    theirs, ours = answers
    assert theirs[0].keys() == ours[0].keys() and len(ours[0]) == 9
    for name, loss in theirs[0].items():
        torch.testing.assert_close(ours[0][name], loss, rtol=1e-6, atol=1e-6, msg=name)
    for name, gradient in theirs[1].items():
        torch.testing.assert_close(ours[1][name], gradient, rtol=1e-3, atol=1e-5, msg=name)
    assert torch.equal(theirs[2], ours[2])


def test_the_ground_truth_takes_a_byte_a_pixel(heads):
    samples = _samples((2, 1), heads[1].num_stuff_classes > 0)
    semantic = [sample.get('gt_sem_seg') for sample in samples]
    prepared = [
        head.preprocess_gt([sample.gt_instances for sample in samples], semantic) for head in heads
    ]
    for theirs, ours in zip(*prepared, strict=True):
        assert ours.masks.dtype == torch.uint8
        assert torch.equal(ours.masks.long(), theirs.masks)
        assert torch.equal(ours.labels, theirs.labels)
