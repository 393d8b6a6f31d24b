# Copyright (c) The mmpointrend authors.
"""detectron2's point functions: the same arguments, the same answers.

.. code-block:: python

    # instead of detectron2.projects.point_rend.point_features
    from mmpointrend.points.compat.detectron2 import (
        calculate_uncertainty, get_uncertain_point_coords_with_randomness, point_sample)

N maps, C channels, P points, R regions; points are (x, y) in ``[0, 1]^2`` of their map.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.sampling import sample_features
from mmpointrend.points.selection import BiasedSelection
from mmpointrend.points.uncertainty import logit_uncertainty

__all__ = [
    'calculate_uncertainty',
    'get_uncertain_point_coords_with_randomness',
    'point_sample',
]


def point_sample(input: Tensor, point_coords: Tensor, **kwargs: Any) -> Tensor:
    """Values of maps at points, differentiable in both.

    Args:
        input: Feature maps, floating point, shape (N, C, H, W).
        point_coords: Points, shape (N, P, 2) or (N, Hgrid, Wgrid, 2); zero is read outside the map.
        **kwargs: Those of ``torch.nn.functional.grid_sample``.

    Returns:
        Samples, shape (N, C, P) or (N, C, Hgrid, Wgrid).
    """
    align_corners = bool(kwargs.pop('align_corners', False))
    if {'mode': 'bilinear', 'padding_mode': 'zeros', **kwargs} != {
        'mode': 'bilinear',
        'padding_mode': 'zeros',
    }:
        grid = point_coords if point_coords.ndim == 4 else point_coords.unsqueeze(2)
        samples = F.grid_sample(input, 2 * grid - 1, align_corners=align_corners, **kwargs)
        return samples if point_coords.ndim == 4 else samples.squeeze(3)
    flat = sample_features(input, point_coords.flatten(1, -2), align_corners=align_corners).mT
    return flat.unflatten(2, point_coords.shape[1:-1]) if point_coords.ndim == 4 else flat


def get_uncertain_point_coords_with_randomness(
    coarse_logits: Tensor,
    uncertainty_func: Callable[[Tensor], Tensor],
    num_points: int,
    oversample_ratio: float,
    importance_sample_ratio: float,
) -> Tensor:
    """Points of a training step: the most uncertain of many, filled up with uniform ones.

    Args:
        coarse_logits: Predictions, shape (N, C, H, W) or (N, 1, H, W).
        uncertainty_func: Maps sampled logits (N, C, P) to their uncertainty (N, 1, P), the higher the less sure.
        num_points: P.
        oversample_ratio: Candidates a point, >= 1.
        importance_sample_ratio: Share of points chosen by uncertainty, in ``[0, 1]``.

    Returns:
        Points, shape (N, P, 2), no gradient.

    Raises:
        ValueError: A ratio is outside its range.
    """

    def uncertainty_at(points: Tensor) -> Tensor:
        return uncertainty_func(sample_features(coarse_logits, points).mT)[:, 0]

    selection = BiasedSelection(oversample_ratio, importance_sample_ratio)
    with torch.no_grad():
        return selection(len(coarse_logits), num_points, uncertainty_at, coarse_logits.device)


def calculate_uncertainty(logits: Tensor, classes: Sequence[int] | Tensor | None = None) -> Tensor:
    """Uncertainty of logits: detectron2's of masks, with ``classes``, and of its semantic head, without.

    Args:
        logits: Logits, shape (R, C, ...), or (R, 1, ...) if they are class-agnostic.
        classes: Class of each region, in ``[0, C)``, length R.

    Returns:
        Minus the absolute logit of the region's class. Without classes minus the margin of the two largest logits, of
        a single channel minus its absolute logit (Mask2Former's). Shape (R, 1, ...), <= 0, no gradient.
    """
    if classes is not None and logits.shape[1] > 1:
        regions = torch.arange(len(logits), device=logits.device)
        logits = logits[regions, torch.as_tensor(classes, device=logits.device)].unsqueeze(1)
    return logit_uncertainty(logits).unsqueeze(1)
