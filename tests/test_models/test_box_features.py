# Copyright (c) The mmpointrend authors.
"""Features of boxes against mmdet's RoI extractors and against samples of the whole maps."""

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import DefaultScope
from tiny_heads import detections, feature_levels, roi_head_config

from mmpointrend.models.roi_heads.box_features import BoxFeatures
from mmpointrend.points import sample_features


def build_extractor(strides=(4,), layer=None, **changes):
    """mmdet's mask RoI extractor over levels of 16 channels."""
    config = roi_head_config(levels=strides).mask_roi_extractor
    config.roi_layer.update(layer or {})
    config.update(changes)
    with DefaultScope.overwrite_default_scope('mmdet'):
        return MMDET_MODELS.build(config)


def rois_of(counts):
    """Boxes, some over the border."""
    return bbox2roi([instances.bboxes for instances in detections(counts)])


def gradients(features, x):
    """Gradients of the levels, of a sum that weighs all features differently."""
    weights = torch.randn(features.shape, generator=torch.Generator().manual_seed(6))
    return torch.autograd.grad((features * weights).sum(), x, allow_unused=True)


@pytest.mark.parametrize('with_gradients', [True, False], ids=['training', 'rendering'])
@pytest.mark.parametrize('counts', [(5, 4), (0, 3), (3, 0)])
@pytest.mark.parametrize(
    'options',
    [
        {},
        {'strides': (4, 8)},
        {'strides': (4, 8), 'aggregation': 'sum', 'out_channels': 16},
        {'layer': {'output_size': 7}},
        {'layer': {'aligned': False}},
        {'layer': {'type': 'RoIAlign', 'sampling_ratio': 2}},
        {'type': 'SingleRoIExtractor', 'strides': (4, 8), 'out_channels': 16, 'aggregation': None},
    ],
    ids=['one level', 'hypercolumn', 'sum', '7x7', 'not aligned', 'RoIAlign', 'one level a box'],
)
def test_the_grid_is_that_of_mmdet(options, counts, with_gradients):
    if options.get('aggregation', '') is None:
        config = roi_head_config(levels=(4, 8)).mask_roi_extractor
        config.pop('aggregation')
        config.update(type='SingleRoIExtractor', out_channels=16)
        with DefaultScope.overwrite_default_scope('mmdet'):
            extractor = MMDET_MODELS.build(config)
    else:
        extractor = build_extractor(**options)
    x, rois = feature_levels(), rois_of(counts)
    levels = x[: extractor.num_inputs]
    expected = extractor(levels, rois)
    actual = BoxFeatures(x, rois, extractor, with_gradients).on_grid()
    torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)
    for mine, theirs in zip(gradients(actual, levels), gradients(expected, levels), strict=True):
        torch.testing.assert_close(mine, theirs, atol=2e-4, rtol=0)


@pytest.mark.parametrize('strides', [(4,), (4, 8)])
def test_points_and_grid_share_their_gradients(strides):
    x, rois = feature_levels()[: len(strides)], rois_of((4, 3))
    extractor = build_extractor(strides)
    points = torch.rand(7, 30, 2, generator=torch.Generator().manual_seed(7))
    features = BoxFeatures(x, rois, extractor, with_gradients=True)
    grid, at_points = features.on_grid(), features.at(points)
    in_image = points * (rois[:, None, 3:] - rois[:, None, 1:3]) + rois[:, None, 1:3]
    # Each level covers 128 x 96 pixels.
    expected = torch.cat(
        [
            sample_features(level, in_image / torch.tensor([128.0, 96]), rois[:, 0].long())
            for level in x
        ],
        dim=-1,
    )
    torch.testing.assert_close(at_points, expected, atol=2e-5, rtol=0)
    actual = gradients(torch.cat([grid.flatten(), at_points.flatten()]), x)
    expected = gradients(torch.cat([extractor(x, rois).flatten(), expected.flatten()]), x)
    for mine, theirs in zip(actual, expected, strict=True):
        torch.testing.assert_close(mine, theirs, atol=5e-4, rtol=0)


def test_without_boxes_the_levels_stay_in_the_graph():
    """mmdet's extractor gives a constant, and levels that nothing else reads are an error under DDP."""
    x = feature_levels()[:1]
    features = BoxFeatures(x, torch.zeros(0, 5), build_extractor(), with_gradients=True)
    grid, at_points = features.on_grid(), features.at(torch.zeros(0, 9, 2))
    assert grid.shape == (0, 16, 14, 14)
    assert at_points.shape == (0, 9, 16)
    (grid.sum() + at_points.sum()).backward()
    assert x[0].grad.abs().sum() == 0
