# Copyright (c) The mmpointrend authors.
"""Crops of ground-truth masks against mmdet's own."""

import numpy as np
import pytest
import torch
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData

from mmpointrend.models.roi_heads.ground_truth import MaskwiseCrops, with_maskwise_crops


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


def test_the_given_ground_truth_stays():
    bitmaps = BitmapMasks(np.zeros((2, 8, 8), np.uint8), 8, 8)
    polygons = PolygonMasks([[np.array([0, 0, 4, 0, 4, 4.0])]], 8, 8)
    given = [
        InstanceData(masks=bitmaps, labels=torch.arange(2)),
        InstanceData(masks=polygons, labels=torch.arange(1)),
    ]
    wrapped = with_maskwise_crops(given)
    assert given[0].masks is bitmaps
    assert isinstance(wrapped[0].masks, MaskwiseCrops)
    np.testing.assert_array_equal(wrapped[0].masks.masks, bitmaps.masks)
    assert torch.equal(wrapped[0].labels, given[0].labels)
    assert wrapped[1].masks is polygons
