# Copyright (c) The mmpointrend authors.
"""Settings of RoI heads that used to fail in the first step or the first prediction."""

import pytest
from tiny_heads import build_roi_head, change, feature_levels, roi_head_config, roi_losses

from mmpointrend.errors import ConfigError

ONE_LEVEL = r'mask_roi_extractor\.out_channels is 16, but its 2 feature levels have 32 channels'
FOCAL = r'mask_head\.loss_mask is FocalLoss, which is no loss of masks'


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('test_cfg.mask_thr_binary', None, r'mask_thr_binary is None: set it to .* such as 0\.5'),
        ('test_cfg.mask_thr_binary', 127, r'test_cfg\.rcnn\.mask_thr_binary is 127: set it to'),
        (
            'test_cfg.max_per_img',
            None,
            r'test_cfg\.rcnn\.max_per_img is None: set it to an integer',
        ),
        ('train_cfg.pos_weight', None, r'train_cfg\.rcnn\.pos_weight is None: set it to a number'),
        ('mask_roi_extractor.featmap_strides', [4, 8], ONE_LEVEL),
        ('mask_roi_extractor.featmap_strides', [8], r'start both with the same strides'),
        ('point_head.coarse_channels', 3, r'coarse_channels is 3, but the other parts make it 5'),
        ('mask_head.loss_mask', {'type': 'FocalLoss'}, FOCAL),
        ('point_head.norm_cfg', {'type': 'IN'}, r'points are no map, so take BN1d'),
        ('bbox_head.loss_cls.class_weight', [1.0] * 5, r'class_weight is .*: give 6 numbers'),
        ('train_cfg', [{}, {}, {}], r'train_cfg\.rcnn is a list of 3, as for a cascade of heads'),
        (
            'mask_iou_head',
            {'type': 'MaskIoUHead'},
            r'mask_iou_head: PointRend does not score masks',
        ),
        ('point_head.fc_channels', 10**9, r'point_head would have .* GiB of them: make its chann'),
        ('point_head.fc_channel', 16, r'point_head\.fc_channel: .* did you mean fc_channels'),
        ('test_cfg.subdivision_steps', 40, r'sides of more than 4096 pixels are not rendered'),
        ('train_cfg.num_points', 10**9, r'num_points is 1000000000: set it to an integer from 1'),
    ],
)
def test_each_is_one_sentence_when_the_head_is_built(path, value, message):
    with pytest.raises(ConfigError, match=message):
        build_roi_head(change(path, value))


@pytest.mark.parametrize('key', ['point_head.coarse_channels', 'test_cfg.mask_thr_binary'])
def test_what_is_right_still_trains(key):
    config = change(key, 5 if key.startswith('point') else -1)
    assert config != roi_head_config()
    assert roi_losses(build_roi_head(config), feature_levels(), (2, 1))[0]['loss_point'] > 0
