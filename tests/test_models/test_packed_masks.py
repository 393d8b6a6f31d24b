# Copyright (c) The mmpointrend authors.
"""Windows of masks against whole masks, and fast crops against RoIAlign."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.mask import BitmapMasks, PolygonMasks

from mmpointrend.models.roi_heads.mask_crops import (
    aligned_crops,
    separable_crops,
    thresholded_crops,
)
from mmpointrend.models.roi_heads.packed_masks import PackedMasks
from mmpointrend.points import sample_masks

SIZE = (40, 56)


def random_polygons(rng: np.random.Generator) -> PolygonMasks:
    """Three polygons, the last one outside of the image."""
    corners = [rng.uniform(-0.2, 1.2, (6, 2)) * SIZE[::-1] for _ in range(2)]
    corners.append(rng.uniform(1.1, 1.3, (4, 2)) * SIZE[::-1])
    return PolygonMasks([[part.ravel()] for part in corners], *SIZE)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999))
def test_windows_of_polygons_are_mmdets_bitmaps(seed):
    rng = np.random.default_rng(seed)
    polygons = random_polygons(rng)
    packed = PackedMasks.of(polygons, [2, 0, 1, 0], SIZE)
    expected = polygons.to_ndarray()[[2, 0, 1, 0]]
    for number, mask in enumerate(expected):
        np.testing.assert_array_equal(packed.whole(number), mask)
    points = torch.from_numpy(rng.uniform(-5, 60, (5, 30, 2)))
    numbers = torch.from_numpy(rng.integers(0, 4, 5))
    whole = sample_masks(torch.from_numpy(expected), points / torch.tensor(SIZE[::-1]), numbers)
    torch.testing.assert_close(packed.at(points, numbers), whole, atol=1e-5, rtol=0)


def test_bitmaps_are_not_copied_and_lose_their_padding():
    masks = np.ones((3, SIZE[0] + 8, SIZE[1] + 4), np.uint8)
    packed = PackedMasks.of(BitmapMasks(masks, *masks.shape[1:]), [1], SIZE)
    assert packed.whole(0).shape == SIZE
    bitmaps = BitmapMasks([], *SIZE)
    bitmaps.masks = masks
    assert np.shares_memory(PackedMasks.of(bitmaps, [1], SIZE).pixels, masks)


def test_without_masks_values_are_zero():
    packed = PackedMasks.of(random_polygons(np.random.default_rng(0)), [2], SIZE)
    assert packed.pixels.size == 0
    assert packed.at(torch.rand(2, 3, 2) * 40, torch.tensor([0, 0])).tolist() == [[0.0] * 3] * 2
    assert packed.at(torch.zeros(0, 3, 2), torch.zeros(0, dtype=torch.long)).shape == (0, 3)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 9999), whole=st.booleans(), size=st.sampled_from([(7, 7), (3, 14)]))
def test_fast_crops_are_roi_align(seed, whole, size):
    """Boxes with whole coordinates have samples that lie on pixels, and cells of exactly one half."""
    rng = np.random.default_rng(seed)
    packed = PackedMasks.of(random_polygons(rng), [0, 1, 2], SIZE)
    corners = rng.uniform(-20, 50, (6, 2))
    boxes = np.concatenate([corners, corners + rng.uniform(0, 60, (6, 2))], 1).astype(np.float32)
    boxes = torch.from_numpy(boxes.round() if whole else boxes)
    for number in range(3):
        expected = aligned_crops(packed, number, boxes, size)
        actual = separable_crops(packed, number, boxes.numpy(), size)
        torch.testing.assert_close(actual, expected, atol=2e-5, rtol=0)
        assert torch.equal(thresholded_crops(packed, number, boxes, size), expected >= 0.5)


@pytest.mark.parametrize('box', [[5.0, 5, 5, 9], [-90, -90, -50, -50], [60, 45, 90, 80]])
def test_boxes_without_a_pixel_are_background(box):
    packed = PackedMasks.of(BitmapMasks(np.ones((1, *SIZE), np.uint8), *SIZE), [0], SIZE)
    assert not thresholded_crops(packed, 0, torch.tensor([box]), (7, 7)).any()


def test_crops_keep_their_precision_under_autocast():
    packed = PackedMasks.of(random_polygons(np.random.default_rng(1)), [0], SIZE)
    boxes = torch.tensor([[1.3, 2.2, 50.1, 39.7]])
    plain = thresholded_crops(packed, 0, boxes, (7, 7))
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(thresholded_crops(packed, 0, boxes, (7, 7)), plain)
