# Copyright (c) The mmpointrend authors.
"""Crops of ground-truth masks against mmdet's own."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given as given_examples
from hypothesis import settings
from hypothesis import strategies as st
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData

from mmpointrend.errors import InputError
from mmpointrend.models.roi_heads.ground_truth import MaskwiseCrops, for_mask_targets


@pytest.mark.parametrize('binarize', [True, False])
@pytest.mark.parametrize('tensors', [True, False])
@pytest.mark.parametrize('number', [0, 9])
def test_crops_are_those_of_mmdet(number, tensors, binarize):
    rng = np.random.default_rng(0)
    masks = (rng.random((4, 30, 40)) > 0.5).astype(np.uint8)
    corners = rng.random((number, 2), dtype=np.float32) * 20
    boxes = np.concatenate(
        [corners, corners + 1 + rng.random((number, 2), dtype=np.float32) * 15], 1
    )
    inds = rng.choice([0, 1, 3], number)
    if tensors:
        boxes, inds = torch.from_numpy(boxes), torch.from_numpy(inds)
    arguments = (boxes, (7, 5), inds)
    actual = MaskwiseCrops(masks, 30, 40).crop_and_resize(*arguments, binarize=binarize)
    assert actual.masks.shape == (number, 7, 5)
    if number:
        expected = BitmapMasks(masks, 30, 40).crop_and_resize(*arguments, binarize=binarize)
        np.testing.assert_array_equal(actual.masks, expected.masks)
        assert 0.1 < actual.masks.mean() < 0.9


@settings(max_examples=40, deadline=None)
@given_examples(seed=st.integers(0, 999), number=st.integers(1, 12), corner=st.sampled_from([1, 8]))
def test_crops_of_any_boxes_are_those_of_mmdet(seed, number, corner):
    """Wide and narrow boxes, off the image too, with whole coordinates (ties at 0.5) among them: bit for bit."""
    rng = np.random.default_rng(seed)
    masks = (rng.random((3, 24 // corner, 32 // corner)) > 0.5).astype(np.uint8)
    masks = masks.repeat(corner, axis=1).repeat(corner, axis=2)
    boxes = rng.uniform(-10, 40, (number, 4)).astype(np.float32)
    boxes[:, 2:] = boxes[:, :2] + rng.uniform(0, 30, (number, 2))
    boxes[::2] = boxes[::2].round()
    arguments = (boxes, (7, 7), rng.integers(0, 3, number))
    for binarize in (True, False):
        actual = MaskwiseCrops(masks, 24, 32).crop_and_resize(*arguments, binarize=binarize)
        expected = BitmapMasks(masks, 24, 32).crop_and_resize(*arguments, binarize=binarize)
        np.testing.assert_array_equal(actual.masks, expected.masks)


def test_the_given_ground_truth_stays():
    bitmaps = BitmapMasks(np.zeros((2, 8, 8), np.uint8), 8, 8)
    polygons = PolygonMasks([[np.array([0, 0, 4, 0, 4, 4.0])]], 8, 8)
    given = [
        InstanceData(masks=bitmaps, labels=torch.arange(2)),
        InstanceData(masks=polygons, labels=torch.arange(1)),
    ]
    _, wrapped = for_mask_targets([], given)
    assert given[0].masks is bitmaps
    assert isinstance(wrapped[0].masks, MaskwiseCrops)
    assert wrapped[0].masks.masks is bitmaps.masks
    assert torch.equal(wrapped[0].labels, given[0].labels)
    assert wrapped[1].masks is polygons


def test_boxes_are_not_clipped_for_those_who_come_next():
    """mmdet clips them in place on a CPU (not on a GPU)."""
    boxes = torch.tensor([[-3.0, 2, 20, 30], [1, 1, 5, 5]])
    result = SimpleNamespace(pos_priors=boxes.clone(), pos_assigned_gt_inds=torch.tensor([1, 0]))
    truth = InstanceData(masks=BitmapMasks(np.ones((2, 16, 16), np.uint8), 16, 16))
    get_targets = FCNMaskHead.get_targets
    config = ConfigDict(mask_size=7)
    expected = get_targets(None, *for_mask_targets([result], [truth]), config)
    assert torch.equal(result.pos_priors, boxes)
    assert torch.equal(get_targets(None, [result], [truth], config), expected)
    assert torch.equal(result.pos_priors[0], torch.tensor([0.0, 2, 16, 16]))


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf'), 1e30])
@pytest.mark.parametrize('kind', ['polygons', 'bitmaps'])
def test_boxes_of_a_model_that_diverges_cover_nothing(kind, value):
    """On boxes that are not finite pycocotools draws polygons for ever, and the bitmaps' crops fail."""
    square = np.array([2, 2, 14, 2, 14, 14, 2, 14.0])
    masks = PolygonMasks([[square]], 16, 16)
    if kind == 'bitmaps':
        masks = BitmapMasks(masks.to_ndarray(), 16, 16)
    boxes = torch.tensor([[4.0, 4, 12, 12], [value] * 4, [4, value, 12, value]])
    result = SimpleNamespace(pos_priors=boxes, pos_assigned_gt_inds=torch.zeros(3, dtype=int))
    targets = FCNMaskHead.get_targets(
        None, *for_mask_targets([result], [InstanceData(masks=masks)]), ConfigDict(mask_size=7)
    )
    assert targets[0].all()
    assert not targets[1].any()


@pytest.mark.parametrize('value', [float('nan'), -float('inf'), 1e9])
def test_polygons_that_would_be_drawn_for_ever_are_refused(value):
    polygons = [[np.array([0, 0, 4, 0, 4, 4.0])], [np.array([0, 0, 4, 0, 4, value])]]
    truth = [
        InstanceData(masks=PolygonMasks(masks, 8, 8), labels=torch.zeros(1))
        for masks in (polygons[:1], polygons[1:])
    ]
    with pytest.raises(InputError, match='the mask of object 0 of image 1 of the batch has coord'):
        for_mask_targets([], truth)
