# Copyright (c) The mmpointrend authors.
"""Options of the instance task that the reference configs leave alone."""

import pytest
import torch
from tiny_heads import (
    NUM_CLASSES,
    build_roi_head,
    change,
    detections,
    feature_levels,
    predict,
    roi_head_config,
    roi_losses,
)

from mmpointrend.errors import ConfigError


def c4_config():
    """A model without a feature pyramid: box and mask head share a residual stage."""
    config = roi_head_config()
    norm = {'type': 'BN'}
    config.shared_head = {
        'type': 'ResLayer',
        'depth': 18,
        'stage': 1,
        'stride': 2,
        'norm_cfg': norm,
    }
    config.bbox_roi_extractor.update(out_channels=64)
    config.bbox_head.update(in_channels=128, roi_feat_size=4)
    config.mask_roi_extractor.update(out_channels=64)
    config.mask_head.update(in_channels=128, roi_feat_size=7)
    config.point_head.in_channels = 64
    config.train_cfg.mask_size = 3
    return config


def test_a_shared_head_feeds_the_coarse_head_alone():
    head = build_roi_head(c4_config())
    x = feature_levels(channels=64)
    assert head(x, detections([2, 1]))[-1].shape == (3, 1, 96, 96)
    losses, gradients, _ = roi_losses(head, x, (2, 1))
    assert losses['loss_point'] > 0
    assert all(gradient is not None for gradient in gradients.values())


def test_a_shared_heads_channels_are_named():
    config = c4_config()
    config.mask_head.in_channels = 64
    with pytest.raises(ConfigError, match=r'roi_head\.shared_head gives, 128 channels of 7x7'):
        build_roi_head(config)


def test_class_agnostic_boxes_can_be_trained_on():
    config = roi_head_config()
    config.bbox_head.reg_class_agnostic = True
    config.train_cfg.train_on_pred_boxes = True
    assert roi_losses(build_roi_head(config), feature_levels(), (3, 2))[0]['loss_point'] > 0


def test_a_negative_threshold_gives_probabilities_also_of_no_detection():
    head = build_roi_head(change('test_cfg.mask_thr_binary', -1))
    masks = predict(head, feature_levels(), detections([2, 0]))
    assert [mask.dtype for mask in masks] == [torch.uint8, torch.uint8]
    assert len(masks[0].unique()) > 2


def test_steps_of_another_factor():
    config = roi_head_config()
    config.test_cfg.update(scale_factor=3, subdivision_steps=2)
    assert build_roi_head(config)(feature_levels(), detections([1, 1]))[-1].shape == (2, 1, 63, 63)


def test_tensor_mode_takes_a_hundred_proposals():
    head = build_roi_head(change('test_cfg.subdivision_steps', 1))
    scores, _, coarse, rendered = head(feature_levels(), detections([90, 20]))
    assert (len(scores), len(coarse), len(rendered)) == (110, 100, 100)


@pytest.mark.parametrize('mask_size', [(7, 7), [7, 7]])
def test_a_mask_size_may_be_a_pair(mask_size):
    head = build_roi_head(change('train_cfg.mask_size', mask_size))
    assert head.mask_head.training
    assert roi_losses(head, feature_levels(), (2, 1))[0]['loss_mask'] > 0


def test_summed_levels_still_reach_the_point_head_one_by_one():
    config = roi_head_config()
    config.mask_roi_extractor.update(aggregation='sum', featmap_strides=[4, 8])
    with pytest.raises(ConfigError, match=r'have 32 channels together: set it to 32'):
        build_roi_head(config)
    config.point_head.in_channels = 32
    assert roi_losses(build_roi_head(config), feature_levels(), (2, 1))[0]['loss_point'] > 0


def test_masks_that_are_not_square_are_refused():
    config = roi_head_config()
    config.mask_roi_extractor.roi_layer = {'type': 'RoIAlign', 'output_size': (14, 16)}
    config.mask_head = {
        'type': 'FCNMaskHead',
        'num_convs': 1,
        'in_channels': 16,
        'conv_out_channels': 16,
        'num_classes': NUM_CLASSES,
    }
    with pytest.raises(ConfigError, match='masks of 28x32: they have to be square'):
        build_roi_head(config)
