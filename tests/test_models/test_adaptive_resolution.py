# Copyright (c) The mmpointrend authors.
"""Masks rendered on the output's pixels, against asking the point head about each pixel."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox2roi
from tiny_heads import META, build_roi_head, change, detections, feature_levels, predict

from mmpointrend.errors import ConfigError
from mmpointrend.points import sample_features
from mmpointrend.visualization import record_subdivision


def adaptive_head(num_points=10**6):
    config = change('test_cfg.adaptive_resolution', True)
    config.test_cfg.subdivision_num_points = num_points
    return build_roi_head(config).eval()


def predict_every_pixel(head, x, results, metas):
    """Masks (R, H, W) of the original images, by the head's own layers at each pixel's centre."""
    masks = []
    for image, (instances, meta) in enumerate(zip(results, metas, strict=True)):
        level = x[0][image : image + 1]
        rois = bbox2roi([instances.bboxes])
        with torch.no_grad():
            coarse = head._mask_forward([level], rois)['mask_preds']
        height, width = meta['ori_shape']
        scale = torch.tensor(meta['scale_factor'])
        rows, columns = torch.meshgrid(
            torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing='ij'
        )
        centres = torch.stack([columns, rows], dim=-1).reshape(1, -1, 2)
        for region, box in enumerate(instances.bboxes):
            box = box / scale.repeat(2)
            in_box = (centres - box[:2]) / (box[2:] - box[:2])
            size = torch.tensor([level.shape[-1], level.shape[-2]]) * 4
            own = slice(region, region + 1)
            first = torch.zeros(1, dtype=torch.long)
            with torch.no_grad():
                logits = head.point_head(
                    sample_features(level, centres * scale / size, first),
                    sample_features(coarse[own], in_box, first),
                    instances.labels[own],
                )
            inside = ((in_box >= 0) & (in_box < 1)).all(dim=-1)
            masks.append(((logits[0] >= 0) & inside).reshape(height, width))
    return masks


@pytest.mark.parametrize('scale_factor', [(1.0, 1.0), (0.8, 2.0)])
def test_every_pixel_is_the_point_heads_answer(scale_factor):
    head = adaptive_head()
    x, results = feature_levels(), detections([6, 5])
    shape = (round(96 / scale_factor[1]), round(128 / scale_factor[0]))
    metas = [{**META, 'ori_shape': shape, 'scale_factor': scale_factor}] * 2
    expected = predict_every_pixel(head, x, results, metas)
    actual = [mask for masks in predict(head, x, results, metas) for mask in masks]
    assert sum(mask.sum() for mask in expected) > 1000
    different = sum((one != other).sum() for one, other in zip(actual, expected, strict=True))
    # A centre may fall on an edge, where rounding decides.
    assert different <= 2


@settings(max_examples=15, deadline=None)
@given(counts=st.lists(st.integers(0, 4), min_size=2, max_size=2))
def test_a_batch_is_its_images_one_by_one(counts):
    head = adaptive_head(784)
    x, results = feature_levels(), detections(counts)
    together = predict(head, x, results)
    for image, masks in enumerate(together):
        alone = predict(
            head, [level[image : image + 1] for level in x], [copy.deepcopy(results[image])]
        )
        assert masks.shape == (counts[image], *META['ori_shape'])
        assert masks.dtype == torch.bool
        assert (masks != alone[0]).float().sum() <= 1


def test_boxes_outside_the_image_have_empty_masks():
    x, results = feature_levels(), detections([2, 1])
    results[0].bboxes = torch.tensor([[200.0, 10.0, 260.0, 50.0], [20.1, 20.1, 20.3, 20.3]])
    masks = predict(adaptive_head(784), x, results)
    assert masks[0].sum() == 0


def test_probabilities_where_they_are_asked_for():
    head = adaptive_head()
    x, results = feature_levels(), detections([3, 2])
    masks = torch.cat(predict(head, x, results))
    head.test_cfg.mask_thr_binary = -1
    probabilities = torch.cat(predict(head, x, results))
    assert probabilities.dtype == torch.uint8
    sure = (probabilities != 127) & (probabilities != 128)
    assert torch.equal((probabilities >= 128)[sure], masks[sure])


def test_boxes_are_rescaled_in_place():
    x, results = feature_levels(), detections([2, 1])
    before = [instances.bboxes.clone() for instances in results]
    metas = [{**META, 'scale_factor': (2.0, 4.0)}] * 2
    with torch.no_grad():
        adaptive_head().predict_mask(x, metas, results, rescale=True)
    for instances, boxes in zip(results, before, strict=True):
        torch.testing.assert_close(instances.bboxes, boxes / torch.tensor([2.0, 4.0, 2.0, 4.0]))


def test_an_observer_is_refused():
    """The regions have no common steps, and rendering otherwise would be another picture than the model's."""
    head = adaptive_head(784)
    with (
        pytest.raises(ConfigError, match=r'adaptive_resolution is True: .* set it to False'),
        record_subdivision(head),
    ):
        pass
    assert head.observer is None


def test_anything_but_a_truth_value_is_refused():
    with pytest.raises(ConfigError, match=r'test_cfg\.rcnn\.adaptive_resolution is 224: set it'):
        build_roi_head(change('test_cfg.adaptive_resolution', 224))
