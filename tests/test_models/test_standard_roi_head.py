# Copyright (c) The mmpointrend authors.
"""The standard mask head on predicted boxes: against mmdet's head without, and targets worked out by hand with."""

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from tiny_heads import (
    HEIGHT,
    META,
    NUM_CLASSES,
    WIDTH,
    build_roi_head,
    feature_levels,
    roi_head_config,
    roi_losses,
)

from mmpointrend.errors import ConfigError


def standard_config(package='mmpointrend', train_on_pred_boxes=None):
    """Mask R-CNN's RoI head with a mask head of one convolution."""
    config = roi_head_config()
    config.type = f'{package}.StandardRoIHead'
    del config['point_head']
    config.mask_roi_extractor = {
        'type': 'SingleRoIExtractor',
        'roi_layer': {'type': 'RoIAlign', 'output_size': 14, 'sampling_ratio': 0},
        'out_channels': 16,
        'featmap_strides': [4],
    }
    config.mask_head = {
        'type': f'{package}.FCNMaskHead',
        'num_convs': 1,
        'in_channels': 16,
        'conv_out_channels': 16,
        'num_classes': NUM_CLASSES,
        'loss_mask': {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 1.0},
    }
    config.train_cfg.mask_size = 28
    if train_on_pred_boxes is not None:
        config.train_cfg.train_on_pred_boxes = train_on_pred_boxes
    return config


@pytest.mark.parametrize('counts', [(3, 2), (2, 0), (0, 0)])
def test_without_the_flag_it_is_mmdets(counts):
    theirs = build_roi_head(standard_config('mmdet'))
    for flag in (None, False):
        ours = build_roi_head(standard_config(train_on_pred_boxes=flag))
        ours.load_state_dict(theirs.state_dict(), strict=True)
        expected = roi_losses(theirs, feature_levels(), counts)
        found = roi_losses(ours, feature_levels(), counts)
        assert found[0] == expected[0]
        assert all(torch.equal(found[1][name], grad) for name, grad in expected[1].items())


# An object that fills the left of the image, and what is predicted for its box: moved by half its width to the left, so
# that half of it lies outside.
BOX, PREDICTED = [0.0, 16.0, 64.0, 80.0], [-32.0, 16.0, 32.0, 80.0]
OUTLINE = np.array([0.0, 0, 64, 0, 64, HEIGHT, 0, HEIGHT])


def object_at_the_border(polygons):
    """A data sample with one object."""
    mask = np.zeros((1, HEIGHT, WIDTH), np.uint8)
    mask[:, :, :64] = 1
    sample = DetDataSample(metainfo=META)
    sample.gt_instances = InstanceData(
        bboxes=torch.tensor([BOX]),
        labels=torch.tensor([2]),
        masks=PolygonMasks([[OUTLINE]], HEIGHT, WIDTH)
        if polygons
        else BitmapMasks(mask, HEIGHT, WIDTH),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return sample


@pytest.mark.parametrize('polygons', [True, False], ids=['polygons', 'bitmaps'])
@pytest.mark.parametrize('flag', [True, False])
def test_features_and_targets_are_those_of_the_predicted_box(flag, polygons):
    head = build_roi_head(standard_config(train_on_pred_boxes=flag))
    with torch.no_grad():
        # Deltas of the standard deviations 0.1: -0.5 of the width for the object's class alone.
        head.bbox_head.fc_reg.weight.zero_()
        head.bbox_head.fc_reg.bias.zero_()
        head.bbox_head.fc_reg.bias[4 * 2] = -5
    seen = {}

    def mask_forward(x, rois):
        seen['rois'] = rois.clone()
        return type(head)._mask_forward(head, x, rois)

    def loss_and_target(*args, **kwargs):
        results = type(head.mask_head).loss_and_target(head.mask_head, *args, **kwargs)
        seen['targets'] = results['mask_targets']
        return results

    head._mask_forward, head.mask_head.loss_and_target = mask_forward, loss_and_target
    proposals = [InstanceData(bboxes=torch.tensor([BOX]), scores=torch.ones(1))]
    head.loss(feature_levels(images=1), proposals, [object_at_the_border(polygons)])
    expected = PREDICTED if flag else BOX
    assert seen['rois'][:, 1:].tolist() == [expected] * len(seen['rois'])
    for target in seen['targets']:
        inside = torch.ones(28, 28)
        if flag:
            inside[:, :14] = 0
        assert torch.equal(target, inside)


def test_trains_with_images_without_objects():
    losses, gradients, _ = roi_losses(
        build_roi_head(standard_config(train_on_pred_boxes=True)), feature_levels(), (2, 0)
    )
    assert losses['loss_mask'] > 0 and losses['loss_mask'].isfinite()
    assert all(gradient is not None for gradient in gradients.values())
    losses = roi_losses(
        build_roi_head(standard_config(train_on_pred_boxes=True)), feature_levels(), (0, 0)
    )[0]
    assert losses['loss_mask'] == 0


def test_refusals():
    config = standard_config(train_on_pred_boxes=True)
    config.mask_roi_extractor = None
    with pytest.raises(ConfigError, match=r'without roi_head\.mask_roi_extractor the mask head'):
        build_roi_head(config)
    for config in (standard_config(), roi_head_config()):
        config.train_cfg.train_on_pred_boxes = 'yes'
        with pytest.raises(ConfigError, match="train_on_pred_boxes is 'yes': set it to True or"):
            build_roi_head(config)
