# Copyright (c) The mmpointrend authors.
"""mmdet's and mmcv's point functions: the same arguments, the same answers.

.. code-block:: python

    # instead of mmcv.ops and mmdet.models.utils
    from mmpointrend.points.compat.mmdet import (
        get_uncertain_point_coords_with_randomness, get_uncertainty, point_sample)

N maps, C channels, P points, R regions; points are (x, y) in ``[0, 1]^2`` of their map.
"""

import functools
from typing import Any

from torch import Tensor

from mmpointrend.points.compat import detectron2

__all__ = ['get_uncertain_point_coords_with_randomness', 'get_uncertainty', 'point_sample']


def point_sample(
    input: Tensor, points: Tensor, align_corners: bool = False, **kwargs: Any
) -> Tensor:
    """mmcv's: :func:`mmpointrend.points.compat.detectron2.point_sample` with other names.

    Args:
        input: Feature maps, floating point, shape (N, C, H, W).
        points: Points, shape (N, P, 2) or (N, Hgrid, Wgrid, 2); zero is read outside the map.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
        **kwargs: Those of ``torch.nn.functional.grid_sample``.

    Returns:
        Samples, shape (N, C, P) or (N, C, Hgrid, Wgrid).
    """
    return detectron2.point_sample(input, points, align_corners=align_corners, **kwargs)


def get_uncertainty(mask_preds: Tensor, labels: Tensor | None) -> Tensor:
    """Minus the absolute logit of each mask's own class.

    Args:
        mask_preds: Logits, shape (R, C, ...), or (R, 1, ...) if they are class-agnostic.
        labels: Class of each mask, in ``[0, C)``, shape (R,); not looked at if C is 1.

    Returns:
        Uncertainty, shape (R, 1, ...), <= 0, no gradient.
    """
    return detectron2.calculate_uncertainty(mask_preds, labels)


def get_uncertain_point_coords_with_randomness(
    mask_preds: Tensor,
    labels: Tensor | None,
    num_points: int,
    oversample_ratio: float,
    importance_sample_ratio: float,
) -> Tensor:
    """Points of a training step: the most uncertain of many, filled up with uniform ones.

    Args:
        mask_preds: Logits, shape (R, C, H, W), or (R, 1, H, W) if they are class-agnostic.
        labels: Class of each mask, in ``[0, C)``, shape (R,); not looked at if C is 1.
        num_points: P.
        oversample_ratio: Candidates a point, >= 1.
        importance_sample_ratio: Share of points chosen by uncertainty, in ``[0, 1]``.

    Returns:
        Points, shape (R, P, 2), no gradient.

    Raises:
        ValueError: A ratio is outside its range.
    """
    return detectron2.get_uncertain_point_coords_with_randomness(
        mask_preds,
        functools.partial(get_uncertainty, labels=labels),
        num_points,
        oversample_ratio,
        importance_sample_ratio,
    )
