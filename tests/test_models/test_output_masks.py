# Copyright (c) The mmpointrend authors.
"""Masks on the output: boxes that a user may bring along, thresholds, precision."""

import pytest
import torch
from mmengine.structures import InstanceData
from tiny_heads import (
    HEIGHT,
    META,
    WIDTH,
    build_roi_head,
    detections,
    feature_levels,
    predict,
    roi_head_config,
)

NAN, INF = float('nan'), float('inf')


@pytest.fixture(params=[False, True], ids=['fixed size', 'adaptive'])
def head(request):
    """Our RoI head, of few steps."""
    config = roi_head_config()
    config.test_cfg.update(subdivision_steps=3, adaptive_resolution=request.param)
    return build_roi_head(config)


def masks_of(head, boxes, **meta):
    """Masks (R, height, width) of boxes of one image."""
    count = len(boxes)
    instances = InstanceData(
        bboxes=torch.tensor(boxes),
        labels=torch.zeros(count, dtype=torch.long),
        scores=torch.ones(count),
    )
    x = [level[:1] for level in feature_levels()]
    return predict(head, x, [instances], [{**META, **meta}])[0]


@pytest.mark.parametrize(
    'box',
    [
        [-50.0, -50.0, -10.0, -10.0],
        [200.0, 10.0, 260.0, 60.0],
        [10.0, 400.0, 60.0, 500.0],
        [60.0, 60.0, 20.0, 20.0],
        [20.0, 20.0, 20.0, 60.0],
        [128.0, 20.0, 128.0, 60.0],
        [NAN, NAN, NAN, NAN],
        [20.0, 20.0, NAN, 60.0],
        [INF, INF, INF, INF],
    ],
    ids=str,
)
def test_a_box_without_a_pixel_has_an_empty_mask_and_leaves_others_alone(head, box):
    """On a CPU mmdet fails on some, and draws into others."""
    other = [10.0, 15.0, 70.0, 80.0]
    masks = masks_of(head, [box, other])
    assert masks.shape == (2, HEIGHT, WIDTH)
    assert not masks[0].any()
    assert torch.equal(masks[1], masks_of(head, [other])[0])
    assert masks[1].any()


@pytest.mark.parametrize(('threshold', 'everything'), [(0, True), (0.0, True), (1, False)])
def test_thresholds_that_all_pixels_or_none_pass(head, threshold, everything):
    head.test_cfg.mask_thr_binary = threshold
    mask = masks_of(head, [[-20.0, -20.0, 150.0, 130.0]])
    assert mask.dtype == torch.bool
    assert (mask == everything).all()


def test_double_precision(head):
    expected = predict(head, feature_levels(), detections([3, 2]))
    head.double()
    results = detections([3, 2])
    for instances in results:
        instances.bboxes = instances.bboxes.double()
    masks = predict(head, [level.double() for level in feature_levels()], results)
    for actual, mask in zip(masks, expected, strict=True):
        assert (actual != mask).float().mean() < 1e-4
