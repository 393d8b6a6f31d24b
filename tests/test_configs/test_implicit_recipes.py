# Copyright (c) The mmpointrend authors.
"""Implicit PointRend's configs, value by value against detectron2's recipe."""

import pytest

from mmpointrend.engine.detectron2 import build_empty, find_config


@pytest.fixture(params=['1x', '3x'])
def cfg(request):
    """Either config."""
    return find_config(f'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-{request.param}_coco')


def test_heads(cfg):
    head = cfg.model.roi_head
    assert dict(head.mask_roi_extractor.roi_layer) == dict(type='SimpleRoIAlign', output_size=14)
    assert head.mask_roi_extractor.featmap_strides == [4]
    assert dict(head.mask_head) == dict(
        type='mmpointrend.ParameterHead',
        num_fcs=2,
        conv_out_channels=256,
        fc_out_channels=1024,
        l2_weight=1e-5,
    )
    assert dict(head.point_head) == dict(
        type='mmpointrend.ImplicitPointHead',
        num_fcs=3,
        fc_channels=256,
    )
    built = build_empty(cfg).roi_head
    assert (built.mask_head.in_channels, built.point_head.in_channels) == (256, 256)
    assert built.point_head.num_classes == 80


def test_training_and_rendering(cfg):
    train, test = cfg.model.train_cfg.rcnn, cfg.model.test_cfg.rcnn
    assert train.num_points == 196
    assert train.point_selection.type == 'UniformSelection'
    assert train.train_on_pred_boxes is False
    assert (test.subdivision_num_points, test.subdivision_steps) == (784, 3)


def test_schedule(cfg):
    _, drops = cfg.param_scheduler
    iterations = cfg.train_cfg.max_iters
    expected = {90000: [60000, 80000], 270000: [210000, 250000]}
    assert drops.milestones == expected[iterations] and drops.end == iterations
    assert ('3x' in cfg.filename) == (iterations == 270000)
    assert (cfg.train_dataloader.batch_size, cfg.optim_wrapper.optimizer.lr) == (2, 0.02)
