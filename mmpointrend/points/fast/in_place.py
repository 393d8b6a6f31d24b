# Copyright (c) The mmpointrend authors.
"""Samples that ``grid_sample`` reads from the map as it lies, where a copy channels-last would cost more."""

import math

import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.fast import limits
from mmpointrend.points.precision import without_autocast

__all__ = ['read_in_place', 'reads_in_place']


def reads_in_place(maps: Tensor, points: Tensor, map_index: Tensor | None) -> bool:
    """Whether :func:`read_in_place` is the quicker way to samples.

    Args:
        maps: Maps, shape (M, C, H, W).
        points: Points, shape (R, P, 2).
        map_index: The map of each region, shape (R,); its own where it is None.

    Returns:
        Whether each region's map is its own, or there is but one, and points or channels are few.
    """
    channels, height, width = maps.shape[1:]
    num_points = points.shape[1] if map_index is None else points[..., 0].numel()
    cells_a_point = (
        limits.SAMPLE_CELLS_A_POINT_WITH_GRADIENT
        if maps.requires_grad
        else limits.SAMPLE_CELLS_A_POINT
    )
    few = cells_a_point * num_points < height * width or channels <= limits.SAMPLE_FEW_CHANNELS
    of_one_map = map_index is None or len(maps) == 1
    # `grid_sample` takes coordinates in the maps' dtype, of which half precision has too few.
    return few and of_one_map and maps.dtype.itemsize >= 4 and points.numel() > 0


def read_in_place(maps: Tensor, points: Tensor, align_corners: bool) -> Tensor:
    """Bilinear samples, as :func:`mmpointrend.points.sample_features` describes them.

    Args:
        maps: Maps, shape (M, C, H, W); M is 1 or R.
        points: Points (x, y) in ``[0, 1]^2`` of the map, shape (R, P, 2).
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Samples, shape (R, P, C).
    """
    regions, number = points.shape[:2]
    channels = maps.shape[1]
    # Its coordinates end at -1 and 1.
    at = (2 * points - 1).unsqueeze(1).to(maps.dtype)
    one_map = len(maps) == 1
    if one_map:
        parts = math.gcd(channels, limits.SAMPLE_PARTS)
        maps = maps[0].unflatten(0, (parts, -1))
        at = at.reshape(1, 1, -1, 2).expand(parts, -1, -1, -1)
    with without_autocast(maps.device):
        samples = F.grid_sample(maps, at, align_corners=align_corners)
    if one_map:
        return samples.reshape(channels, regions, number).permute(1, 2, 0)
    return samples.squeeze(2).transpose(1, 2)
