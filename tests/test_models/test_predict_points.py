# Copyright (c) The mmpointrend authors.
"""Values at any real-valued points, against mmdet's and mmseg's point heads on mmcv's samples."""

import pytest
import torch
from mmcv.ops import point_sample, rel_roi_point_to_rel_img_point
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from tiny_heads import (
    NUM_CLASSES,
    build_roi_head,
    build_segmentor,
    detections,
    feature_levels,
    fpn_head,
    implicit_config,
    point_head,
    pointrend,
    roi_head_config,
    semantic_batch,
)
from torch import Tensor

POINTS = torch.rand(7, 40, 2, generator=torch.Generator().manual_seed(0))


def regions() -> tuple[Tensor, Tensor]:
    """RoIs (7, 5) of two images, some over the border, and their labels."""
    results = detections([4, 3])
    return bbox2roi([r.bboxes for r in results]), torch.cat([r.labels for r in results])


@pytest.mark.parametrize('levels', [(4,), (4, 8)])
@pytest.mark.parametrize('with_gradients', [True, False])
def test_points_of_boxes_are_those_of_mmdet(levels, with_gradients):
    ours = build_roi_head(roi_head_config('mmpointrend', levels))
    theirs = build_roi_head(roi_head_config('mmdet', levels))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    x, (rois, labels) = feature_levels(), regions()
    with torch.set_grad_enabled(with_gradients):
        actual = ours.predict_points(x, rois, labels, POINTS)
    assert actual.shape == (7, 40)
    assert actual.requires_grad == with_gradients
    coarse = theirs._mask_forward(x, rois)['mask_preds']
    fine = theirs._get_fine_grained_point_feats(x, rois, POINTS)
    expected = theirs.point_head(fine, point_sample(coarse, POINTS))
    expected = expected[torch.arange(7), labels]
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0, check_stride=False)


def test_points_of_implicit_masks_are_the_point_heads():
    head = build_roi_head(implicit_config()).eval()
    x, (rois, labels) = feature_levels(), regions()
    with torch.no_grad():
        actual = head.predict_points(x, rois, labels, POINTS)
        parameters = head._mask_forward(x, rois)['mask_preds'].flatten(1)
        expected = []
        for roi, label, points, own in zip(rois, labels, POINTS, parameters, strict=True):
            level = x[0][int(roi[0])][None]
            at = rel_roi_point_to_rel_img_point(
                torch.cat([torch.zeros(1), roi[1:]])[None], points[None], level, 0.25
            )
            fine = point_sample(level, at).transpose(1, 2)
            expected.append(head.point_head(points[None], [fine], own[None], label[None])[0])
    torch.testing.assert_close(actual, torch.cat(expected), atol=1e-4, rtol=0)


@pytest.mark.parametrize('align_corners', [False, True])
@pytest.mark.parametrize('with_gradients', [True, False])
def test_points_of_images_are_those_of_mmseg(align_corners, with_gradients):
    coarse, point = fpn_head(align_corners=align_corners), point_head((0, 1))
    model = build_segmentor(pointrend(coarse, point)).eval()
    theirs = build_segmentor(
        [
            coarse,
            dict(
                type='PointHead',
                num_classes=NUM_CLASSES,
                align_corners=align_corners,
                dropout_ratio=-1,
                **point,
            ),
        ]
    ).eval()
    theirs.load_state_dict(
        {
            key.replace('coarse_head', '0')
            .replace('point_head.fc_logits', '1.fc_seg')
            .replace('point_head', '1'): value
            for key, value in model.state_dict().items()
        },
        strict=True,
    )
    inputs, _ = semantic_batch()
    points = POINTS[:2]
    with torch.set_grad_enabled(with_gradients):
        features = model.extract_feat(inputs)
        actual = model.decode_head.predict_points(features, points)
        assert actual.shape == (2, NUM_CLASSES, 40)
        assert actual.requires_grad == with_gradients
        head = theirs.decode_head[1]
        logits = theirs.decode_head[0](features)
        # Not by mmseg's own sampling, which is half a pixel off with align_corners=True.
        fine, sampled = (
            torch.cat(
                [point_sample(level, points, align_corners=align_corners) for level in maps], 1
            )
            for maps in (features[:2], [logits])
        )
        expected = head(fine, sampled)
    torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_no_box_and_no_point():
    head = build_roi_head(roi_head_config())
    x, (rois, labels) = feature_levels(), regions()
    for with_gradients in (True, False):
        with torch.set_grad_enabled(with_gradients):
            assert head.predict_points(x, rois[:0], labels[:0], POINTS[:0]).shape == (0, 40)
            assert head.predict_points(x, rois, labels, POINTS[:, :0]).shape == (7, 0)


@pytest.mark.parametrize(
    ('points', 'message'),
    [
        (POINTS + 0.5, r'points lie outside \[0, 1\]\^2 of their region'),
        (POINTS * float('nan'), r'points lie outside \[0, 1\]\^2'),
        (POINTS[0], r'points have the shape \(40, 2\): give \(R, P, 2\)'),
    ],
)
def test_points_that_are_none_are_refused(points, message):
    head = build_segmentor(ConfigDict(pointrend())).decode_head
    with pytest.raises(ValueError, match=message):
        head.predict_points([], points)
