# Copyright (c) The mmpointrend authors.
"""RoIAlign of binary masks in two small matrix products: only speed, :func:`aligned_crops` says what is computed.

Bilinear weights are a product of a weight of the row and one of the column, and so is their mean over the samples of a
cell. A crop is then ``rows @ mask @ columns.T``, which reads each pixel of the box once instead of each sample's four.

N boxes, h and w of a crop, H and W of a mask.
"""

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from torch import Tensor

from mmpointrend.models.roi_heads.packed_masks import PackedMasks
from mmpointrend.points.precision import without_autocast

__all__ = ['aligned_crops', 'separable_crops', 'thresholded_crops']

# Sums in another order differ by rounding, far less than this: only closer to the threshold does the order matter.
_UNDECIDED = 2e-4
# Pixels a side. Of a box that is far larger than any image RoIAlign takes millions of samples a cell.
_LARGEST = 1e4


def aligned_crops(masks: PackedMasks, number: int, boxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Crop a mask by RoIAlign, aligned, with samples at every pixel.

    Args:
        masks: The image's masks.
        number: The index of the mask.
        boxes: Boxes (x1, y1, x2, y2) in pixels of the image, shape (N, 4); the crops are made on their device.
        size: (h, w).

    Returns:
        Values in ``[0, 1]``, float32, shape (N, h, w). Outside the image is 0.
    """
    mask = torch.from_numpy(masks.whole(number)).to(boxes.device)
    rois = F.pad(boxes.float(), (1, 0))
    return roi_align(mask[None, None], rois, size, 1.0, 0, 'avg', True)[:, 0]


def separable_crops(
    masks: PackedMasks, number: int, boxes: np.ndarray, size: tuple[int, int]
) -> Tensor:
    """Crop a mask as :func:`aligned_crops` does, but for rounding.

    Args:
        masks: The image's masks.
        number: The index of the mask.
        boxes: Boxes (x1, y1, x2, y2) in pixels of the image, float32, shape (N, 4).
        size: (h, w).

    Returns:
        Values in ``[0, 1]``, float32, shape (N, h, w).
    """
    crops = torch.zeros(len(boxes), *size)
    window, x, y = masks.window(number)
    height, width = window.shape
    for crop, (left, top, right, bottom) in zip(crops, boxes, strict=True):
        rows, row_weights = _axis(top, bottom, masks.size[0], size[0], y, y + height)
        columns, column_weights = _axis(left, right, masks.size[1], size[1], x, x + width)
        pixels = torch.from_numpy(window[rows, columns].astype(np.float32))
        torch.linalg.multi_dot([row_weights, pixels, column_weights.T], out=crop)
    return crops


def _axis(
    start: np.float32, stop: np.float32, length: int, bins: int, low_edge: int, high_edge: int
) -> tuple[slice, Tensor]:
    """Pixels of one axis of a window that a box's samples read, and the mean weight of each in each bin.

    The slice counts from the window's low edge; weights have the shape (bins, pixels).
    """
    # In RoIAlign's own precision and order, for the number of samples and their places are to be the same.
    start, stop = start - np.float32(0.5), stop - np.float32(0.5)
    size = np.float32(stop - start) / np.float32(bins)
    count = max(int(np.ceil(size)), 0)
    steps = (np.arange(count, dtype=np.float32) + np.float32(0.5)) * size / np.float32(count or 1)
    places = (start + np.arange(bins, dtype=np.float32)[:, None] * size) + steps
    share = ((places >= -1) & (places <= length)) / (count or 1)
    places = places.clip(0, length - 1)
    low = places.astype(np.int64)
    fraction = places - low
    # Of the pixels that samples read, those inside the window.
    first = max(int(low[0, 0]) if count else low_edge, low_edge)
    last = min(int(low[-1, -1]) + 2 if count else low_edge, high_edge)
    span = max(last - first, 0)
    # One bin more on both sides takes what lies outside.
    index = (low - first).clip(-2, span) + 2
    index += np.arange(bins)[:, None] * (span + 4)
    weights = np.bincount(index.ravel(), ((1 - fraction) * share).ravel(), bins * (span + 4))
    weights += np.bincount(index.ravel() + 1, (fraction * share).ravel(), bins * (span + 4))
    weights = weights.reshape(bins, span + 4)[:, 2 : 2 + span].astype(np.float32)
    return slice(first - low_edge, first - low_edge + span), torch.from_numpy(weights)


def thresholded_crops(
    masks: PackedMasks, number: int, boxes: Tensor, size: tuple[int, int]
) -> Tensor:
    """Crop a mask on a CPU and threshold it at 0.5.

    Args:
        masks: The image's masks.
        number: The index of the mask.
        boxes: Boxes (x1, y1, x2, y2) in pixels of the image, shape (N, 4).
        size: (h, w).

    Returns:
        ``aligned_crops(...) >= 0.5``, the same in every cell, shape (N, h, w).
    """
    with without_autocast(boxes.device):
        crops = separable_crops(masks, number, boxes.float().numpy(), size)
    undecided = ((crops - 0.5).abs() < _UNDECIDED).flatten(1).any(dim=1)
    undecided &= (boxes[:, 2:] - boxes[:, :2] < _LARGEST).all(dim=1)
    if undecided.any():
        crops[undecided] = aligned_crops(masks, number, boxes[undecided], size)
    return crops >= 0.5
