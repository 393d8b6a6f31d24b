# Copyright (c) The mmpointrend authors.
"""Coarse masks of boxes that are too small for the fine-grained features to tell anything.

R RoIs, P points.
"""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from mmpointrend.points import sample_features

__all__ = ['covered_cells', 'keep_coarse']

_LEAST = 1e-6


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

    It is interpolated as mmdet pastes a mask: probabilities, 0 beyond the box. All regions are predicted all the same,
    for leaving some out would ask the device which.

    Args:
        predict: Maps points (r, P, 2) in ``[0, 1]^2`` of all regions, or of those of a slice, to logits (r, 1, P).
        coarse: Coarse logits, shape (R, 1, h, w).
        kept: Whether a region keeps them, bool, shape (R,).

    Returns:
        What maps points to logits as ``predict`` does.
    """
    probabilities = coarse.float().sigmoid()

    def predict_or_keep(points: Tensor, regions: slice = slice(None)) -> Tensor:
        refined = predict(points, regions)
        interpolated = sample_features(probabilities[regions], points.float()).transpose(1, 2)
        # No probability is 0 or 1, whose logits are infinite.
        as_logits = interpolated.logit(eps=_LEAST).to(refined.dtype)
        return torch.where(kept[regions, None, None], as_logits, refined)

    return predict_or_keep
