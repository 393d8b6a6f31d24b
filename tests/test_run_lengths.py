# Copyright (c) The mmpointrend authors.
"""Run lengths from crops, against pycocotools' of the whole mask."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from pycocotools import mask as coco_mask

from mmpointrend.points import as_crops, run_changes
from mmpointrend.run_lengths import encode_changes, is_decodable


def encode(crops, corners, sizes, height, width):
    regions, changes = run_changes(crops, corners, sizes, torch.full((len(crops),), height))
    return encode_changes(regions.numpy(), changes.numpy(), [(height, width)] * len(crops))


def whole(crop, corner, size, height, width):
    mask = np.zeros((height, width), np.uint8, order='F')
    (column, row), (columns, rows) = corner.tolist(), size.tolist()
    mask[row : row + rows, column : column + columns] = crop[:rows, :columns]
    return mask


@settings(max_examples=250, deadline=None)
@given(
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    regions=st.integers(0, 6),
    full=st.sampled_from(['height', 'width', 'both', 'neither']),
    share=st.sampled_from([0.0, 0.05, 0.5, 0.95, 1.0]),
    row_by_row=st.booleans(),
    seed=st.integers(0, 10**6),
)
def test_counts_are_pycocotools_of_the_whole_mask(
    height, width, regions, full, share, row_by_row, seed
):
    """Four masks in each of 250 examples on average; as high as the image, empty, full, at every border."""
    rng = np.random.default_rng(seed)
    sizes = rng.integers(0, [width + 1, height + 1], (regions, 2))
    if full in ('height', 'both'):
        sizes[:, 1] = height
    if full in ('width', 'both'):
        sizes[:, 0] = width
    corners = rng.integers(0, [width, height] - sizes + 1)
    corners, sizes = torch.from_numpy(corners), torch.from_numpy(sizes)
    # Pixels beyond a crop's own size are anything.
    crops = torch.from_numpy(rng.random((regions, height, width)) < share)
    drawn = crops
    if row_by_row:
        numbered = torch.from_numpy(rng.random((regions, height * width)) < share)
        for number, (columns, rows) in enumerate(sizes.tolist()):
            own = crops[number, :rows, :columns].reshape(-1)
            numbered[number, : len(own)] = own
        drawn = as_crops(numbered, sizes, height, width)
    encoded = encode(drawn, corners, sizes, height, width)
    for crop, corner, size, mask in zip(crops.numpy(), corners, sizes, encoded, strict=True):
        expected = coco_mask.encode(whole(crop, corner, size, height, width))
        assert mask == expected
        assert is_decodable(mask['counts'].decode(), height * width)


def test_counts_of_one_thousand_masks_are_pycocotools():
    rng = np.random.default_rng(0)
    height, width = 37, 53
    sizes = rng.integers(0, [width + 1, height + 1], (1000, 2))
    corners = torch.from_numpy(rng.integers(0, [width, height] - sizes + 1))
    crops = rng.random((1000, height, width)) < rng.random((1000, 1, 1))
    sizes = torch.from_numpy(sizes)
    encoded = encode(torch.from_numpy(crops), corners, sizes, height, width)
    expected = [
        coco_mask.encode(whole(crop, corner, size, height, width))
        for crop, corner, size in zip(crops, corners, sizes, strict=True)
    ]
    assert encoded == expected


@pytest.mark.parametrize(
    ('crop', 'corner', 'counts'),
    [
        ([[0, 0], [0, 0]], (1, 1), [12]),
        ([[1, 1], [1, 1]], (0, 0), [0, 2, 1, 2, 7]),
        ([[1, 1], [1, 1]], (2, 1), [7, 2, 1, 2]),
        ([[1, 1], [1, 1], [1, 0]], (1, 0), [3, 5, 4]),
        ([[0, 1], [0, 1], [1, 1]], (2, 0), [8, 4]),
    ],
    ids=['empty', 'first pixel', 'last pixel', 'from column to column', 'to the end'],
)
def test_runs_of_small_masks(crop, corner, counts):
    """In an image of three rows and four columns."""
    crops = torch.tensor([crop], dtype=torch.bool)
    size = torch.tensor([[crops.shape[2], crops.shape[1]]])
    (mask,) = encode(crops, torch.tensor([corner]), size, 3, 4)
    expected = coco_mask.frPyObjects([{'size': [3, 4], 'counts': counts}], 3, 4)[0]
    assert mask == expected
