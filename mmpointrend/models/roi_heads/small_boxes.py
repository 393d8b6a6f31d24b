# Copyright (c) The mmpointrend authors.
"""Coarse masks of boxes that are too small for the fine-grained features to tell anything.

R RoIs, P points.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmpointrend.points import extent, sample_features

__all__ = ['covered_cells', 'keep_coarse']


def covered_cells(rois: Tensor, strides: Sequence[float]) -> Tensor:
    """Number of cells of the finest feature level that each box covers.

    Args:
        rois: Image index and box in pixels of the network's input, shape (R, 5).
        strides: Strides of the levels.

    Returns:
        The box's area in cells, shape (R,).
    """
    sides = (rois[:, 3:] - rois[:, 1:3]).float().clamp(min=0) / min(strides)
    return sides.prod(dim=1)


def keep_coarse(
    predict: Callable[..., Tensor], coarse: Tensor, kept: Tensor
) -> Callable[..., Tensor]:
    """Answer with the coarse prediction for some regions.

    All regions are predicted all the same: leaving some out would ask the device which.

    Args:
        predict: Maps points (r, P, 2) in ``[0, 1]^2`` of all regions, or of those of a slice, to logits (r, 1, P).
        coarse: Coarse logits, shape (R, 1, h, w).
        kept: Whether a region keeps them, bool, shape (R,).

    Returns:
        What maps points to logits as ``predict`` does.
    """

    margin = 0.5 / extent(*coarse.shape[-2:], coarse)

    def predict_or_keep(points: Tensor, regions: slice = slice(None)) -> Tensor:
        refined = predict(points, regions)
        # Beyond the outermost cells' centres their values count, as in every upsampling step.
        inside = torch.minimum(torch.maximum(points, margin), 1 - margin)
        interpolated = sample_features(coarse[regions], inside).transpose(1, 2)
        return torch.where(kept[regions, None, None], interpolated.to(refined.dtype), refined)

    return predict_or_keep
