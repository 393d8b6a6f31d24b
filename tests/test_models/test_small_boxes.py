# Copyright (c) The mmpointrend authors.
"""Coarse masks of small boxes (``refine_min_cells``), against mmdet's masks without subdivision."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmcv.ops import point_sample
from mmdet.structures.bbox import bbox2roi
from tiny_heads import (
    META,
    build_roi_head,
    change,
    detections,
    feature_levels,
    implicit_config,
    predict,
    roi_head_config,
)

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.small_boxes import covered_cells

# More cells than a box of the tests has.
ALL = 1e6


def build(cells=0.0, adaptive=False, num_points=784):
    config = change('test_cfg.refine_min_cells', cells)
    config.test_cfg.update(adaptive_resolution=adaptive, subdivision_num_points=num_points)
    return build_roi_head(config).eval()


def regions(results):
    return bbox2roi([r.bboxes for r in results]), torch.cat([r.labels for r in results])


def coarse_of_class(head, x, rois, labels):
    with torch.no_grad():
        coarse = head._mask_forward(x, rois)['mask_preds']
    return coarse[torch.arange(len(rois)), labels].unsqueeze(1)


def test_cells_are_those_of_the_finest_level():
    rois = torch.tensor([[0, 10.0, 20.0, 42.0, 36.0], [1, 5.0, 5.0, 5.0, 50.0], [0, 9.0, 0, 1, 8]])
    assert covered_cells(rois, (8, 4, 16)).tolist() == [8 * 4, 0, 0]
    assert covered_cells(rois, (8,)).tolist() == [4 * 2, 0, 0]


def test_logits_are_mmcvs_samples_of_coarse_probabilities():
    # All pixels of the last step are points.
    head, x, results = build(ALL, num_points=224**2), feature_levels(), detections([4, 3])
    rois, labels = regions(results)
    coarse = coarse_of_class(head, x, rois, labels)
    with torch.no_grad():
        actual = head._render(x, rois, labels, head._mask_forward(x, rois)['mask_preds'])
    centres = (torch.arange(224) + 0.5) / 224
    rows, columns = torch.meshgrid(centres, centres, indexing='ij')
    points = torch.stack([columns, rows], dim=-1).view(1, -1, 2).expand(7, -1, -1)
    expected = point_sample(coarse.sigmoid(), points).view(7, 1, 224, 224)
    torch.testing.assert_close(actual.sigmoid(), expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize('adaptive', [False, True])
def test_masks_are_those_of_mmdet_without_subdivision(adaptive):
    x, results = feature_levels(), detections([6, 5])
    config = change('test_cfg.subdivision_steps', 0)
    expected = torch.cat(predict(build_roi_head(config).eval(), x, results))
    actual = torch.cat(predict(build(ALL, adaptive), x, results))
    refined = torch.cat(predict(build(0, adaptive), x, results))
    assert (actual != expected).sum() <= 0.02 * expected.sum()
    assert (refined != expected).sum() > 0.2 * expected.sum()


def test_small_adaptive_masks_are_those_of_mmdet_pixel_by_pixel():
    x, results = feature_levels(), detections([3, 0])
    results[0].bboxes = torch.tensor([[8.0, 4, 38, 25], [50, 30, 58, 90], [20.3, 12.1, 45.7, 50.2]])
    config = change('test_cfg.subdivision_steps', 0)
    expected = predict(build_roi_head(config).eval(), x, results)[0]
    actual = predict(build(ALL, adaptive=True), x, results)[0]
    # A centre may be on the threshold, where rounding decides.
    assert (actual != expected).sum() <= 1
    assert expected.sum() > 100


@pytest.mark.parametrize('adaptive', [False, True])
def test_only_smaller_boxes_keep_the_coarse_mask(adaptive):
    x, results = feature_levels(), detections([6, 5])
    rois, _ = regions(results)
    area = (rois[:, 3] - rois[:, 1]) * (rois[:, 4] - rois[:, 2]) / 4**2
    limit = float(area.median())
    refined, coarse, mixed = (
        torch.cat(predict(build(cells, adaptive), x, results)) for cells in (0, ALL, limit)
    )
    small = area < limit
    assert small.sum() == 5
    assert torch.equal(mixed[small], coarse[small])
    assert torch.equal(mixed[~small], refined[~small])
    assert (coarse != refined).flatten(1).any(dim=1).all()


@pytest.mark.parametrize('adaptive', [False, True])
def test_without_it_all_are_refined(adaptive):
    config = roi_head_config()
    config.test_cfg.adaptive_resolution = adaptive
    x, results = feature_levels(), detections([6, 5])
    without = predict(build_roi_head(config).eval(), x, results)
    for expected, actual in zip(without, predict(build(0, adaptive), x, results), strict=True):
        assert torch.equal(actual, expected)


@settings(max_examples=10, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=2), adaptive=st.booleans())
def test_a_batch_is_its_images_one_by_one(counts, adaptive):
    head, x, results = build(60, adaptive), feature_levels(), detections(counts)
    for image, masks in enumerate(predict(head, x, results)):
        alone = predict(
            head, [level[image : image + 1] for level in x], [copy.deepcopy(results[image])]
        )
        assert masks.shape == (counts[image], *META['ori_shape'])
        assert (masks != alone[0]).float().sum() <= 1


@pytest.mark.parametrize('value', [-1, '64', None])
def test_anything_but_a_number_of_cells_is_refused(value):
    with pytest.raises(ConfigError, match=r'test_cfg\.rcnn\.refine_min_cells .*: set it'):
        build(value)


def test_implicit_pointrend_has_no_coarse_mask_to_keep():
    config = implicit_config()
    config.test_cfg.refine_min_cells = 64
    with pytest.raises(ConfigError, match=r'refine_min_cells is 64: .* leave it out'):
        build_roi_head(config)
