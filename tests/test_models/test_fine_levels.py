# Copyright (c) The mmpointrend authors.
"""Fine feature levels of the point head's own: against samples of these levels, and refusals."""

import pytest
import torch
from mmcv.ops import point_sample, rel_roi_point_to_rel_img_point
from mmdet.structures.bbox import bbox2roi
from tiny_heads import (
    build_roi_head,
    detections,
    feature_levels,
    implicit_config,
    predict,
    roi_head_config,
    roi_losses,
)

from mmpointrend.errors import ConfigError

STRIDES = {4: 0, 8: 1}


def config_of(strides, config=None):
    """A coarse head on stride 4, and a point head on the levels of some strides."""
    config = config or roi_head_config()
    config.point_head.update(featmap_strides=list(strides), in_channels=16 * len(strides))
    return config


@pytest.mark.parametrize('strides', [(8,), (4, 8), (8, 4)])
def test_points_read_the_levels_of_these_strides(strides):
    head, x = build_roi_head(config_of(strides)), feature_levels()
    results = detections([4, 3])
    rois, labels = bbox2roi([r.bboxes for r in results]), torch.cat([r.labels for r in results])
    points = torch.rand(7, 30, 2, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        actual = head.predict_points(x, rois, labels, points)
        coarse = head._mask_forward(x, rois)['mask_preds']
        fine = []
        for roi, own in zip(rois, points, strict=True):
            levels = [x[STRIDES[stride]][int(roi[0])][None] for stride in strides]
            box = torch.cat([torch.zeros(1), roi[1:]])[None]
            fine.append(
                torch.cat(
                    [
                        point_sample(
                            level, rel_roi_point_to_rel_img_point(box, own[None], level, 1 / stride)
                        )
                        for level, stride in zip(levels, strides, strict=True)
                    ],
                    1,
                )
            )
        sampled = point_sample(coarse, points).transpose(1, 2)
        expected = head.point_head(torch.cat(fine).transpose(1, 2), sampled, labels)[:, 0]
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize('make', [roi_head_config, implicit_config])
def test_both_heads_learn_from_their_own_levels(make):
    x = feature_levels()
    losses, gradients, of_levels = roi_losses(build_roi_head(config_of((8,), make())), x, (2, 1))
    assert losses['loss_point'].isfinite()
    assert all(gradient is not None for gradient in gradients.values())
    assert all(gradient.abs().sum() > 0 for gradient in of_levels)
    assert predict(build_roi_head(config_of((8,), make())), x, detections([2, 0]))[0].any()


def test_the_extractors_strides_are_the_default():
    named, default = build_roi_head(config_of((4,))), build_roi_head(roi_head_config())
    x, results = feature_levels(), detections([3, 2])
    for one, other in zip(predict(named, x, results), predict(default, x, results), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize(
    ('strides', 'channels', 'message'),
    [
        ((16,), 16, r'point_head\.featmap_strides is \[16\]: take some of the strides \[4, 8\]'),
        ((4, 4), 32, r'featmap_strides is \[4, 4\]: .* each once'),
        ('4', 16, r"point_head\.featmap_strides is '4'"),
        ((8,), 32, r'in_channels is 32, but its feature levels of the strides \[8\] have 16 chann'),
    ],
)
def test_levels_that_are_not_there_are_refused(strides, channels, message):
    config = roi_head_config()
    config.point_head.update(featmap_strides=strides, in_channels=channels)
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def test_a_coarse_head_on_a_stride_that_is_not_the_first_is_refused():
    """mmdet takes the first levels, whatever their strides: P2 at half its coordinates."""
    with pytest.raises(ConfigError, match=r'featmap_strides is \[8\].*start both with the same'):
        build_roi_head(roi_head_config(levels=(8,)))
