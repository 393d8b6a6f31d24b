# Copyright (c) The mmpointrend authors.
"""Which points are predicted: training strategies and the inference rule (paper, section 3.1).

A training strategy is a callable ``(num_regions, num_points, uncertainty_at, device) -> points``, with
``uncertainty_at`` mapping points (R, P', 2) to their uncertainty (R, P'). A strategy of your own is any class with
that ``__call__``; :mod:`mmpointrend.models.selection` tells how a config names it.

R regions, P points; points are (x, y) in ``[0, 1]^2`` of their region.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

from mmpointrend.points.coordinates import regular_grid
from mmpointrend.points.fast.top_n import largest

__all__ = [
    'BiasedSelection',
    'PointSelection',
    'RegularGridSelection',
    'UniformSelection',
    'select_uncertain',
]


class PointSelection(Protocol):
    """What a training strategy has to be."""

    def __call__(
        self,
        num_regions: int,
        num_points: int,
        uncertainty_at: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> Tensor:
        """Choose the points of one training step.

        Args:
            num_regions: R.
            num_points: P.
            uncertainty_at: Maps points (R, P', 2), for any P', to their uncertainty (R, P').
            device: Where the points are wanted.

        Returns:
            Points (x, y) in ``[0, 1]^2`` of their region, shape (R, P, 2), no gradient.
        """


@dataclass(frozen=True)
class BiasedSelection:
    """Over-generate k P uniform points, keep the beta P most uncertain, fill up with uniform ones.

    The uncertainty has to be taken of the *sampled* prediction. Sampling an uncertainty map instead goes wrong
    between a logit of -1 and one of +1: half way the prediction is 0 and as unsure as can be, where the two
    uncertainties are -1 and so is everything between them.

    Args:
        oversample_ratio: k >= 1. The paper: 3; 1 with ``importance_sample_ratio=0`` is uniform.
        importance_sample_ratio: beta in [0, 1]. The paper: 0.75 (mildly biased), with k=10 and 1.0 heavily.

    Raises:
        ValueError: A ratio is outside its range.
    """

    oversample_ratio: float = 3
    importance_sample_ratio: float = 0.75

    def __post_init__(self) -> None:
        if self.oversample_ratio < 1:
            raise ValueError(
                f'oversample_ratio is {self.oversample_ratio}: it has to be at least 1, for the '
                'most uncertain points are kept out of oversample_ratio * num_points'
            )
        if not 0 <= self.importance_sample_ratio <= 1:
            raise ValueError(
                f'importance_sample_ratio is {self.importance_sample_ratio}: it is the share of points kept for '
                'their uncertainty and has to lie between 0 and 1'
            )

    def __call__(
        self,
        num_regions: int,
        num_points: int,
        uncertainty_at: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> Tensor:
        """Choose points, see :class:`PointSelection`."""
        num_uncertain = int(self.importance_sample_ratio * num_points)
        candidates = torch.rand(
            num_regions, int(self.oversample_ratio * num_points), 2, device=device
        )
        kept = uncertainty_at(candidates).topk(num_uncertain, dim=1).indices
        uncertain = candidates.gather(1, kept.unsqueeze(-1).expand(-1, -1, 2))
        uniform = torch.rand(num_regions, num_points - num_uncertain, 2, device=device)
        return torch.cat([uncertain, uniform], dim=1)


@dataclass(frozen=True)
class UniformSelection:
    """Independent uniform points (paper, Table 4)."""

    def __call__(
        self,
        num_regions: int,
        num_points: int,
        uncertainty_at: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> Tensor:
        """Choose points, see :class:`PointSelection`."""
        return torch.rand(num_regions, num_points, 2, device=device)


@dataclass(frozen=True)
class RegularGridSelection:
    """The centres of a square grid, the same for every region (paper, Table 4)."""

    def __call__(
        self,
        num_regions: int,
        num_points: int,
        uncertainty_at: Callable[[Tensor], Tensor],
        device: torch.device,
    ) -> Tensor:
        """Choose points, see :class:`PointSelection`.

        Raises:
            ValueError: ``num_points`` is no square number.
        """
        side = math.isqrt(num_points)
        if side * side != num_points:
            raise ValueError(
                f'num_points is {num_points}: a regular grid needs a square number, such as {side * side}'
            )
        return regular_grid(side, side, device).expand(num_regions, -1, -1)


def select_uncertain(uncertainty: Tensor, num_points: int) -> Tensor:
    """The N most uncertain pixels of each region: the rule of a subdivision step at inference.

    Args:
        uncertainty: Uncertainty maps, the higher the less sure, shape (R, ...).
        num_points: N; the whole map is taken where it has fewer pixels.

    Returns:
        Row-major pixel indices in ``[0, H * W)``, ascending, shape (R, min(N, H * W)).
    """
    flat = uncertainty.flatten(1)
    chosen = largest(flat, min(num_points, flat.shape[1]))
    # In raster order: the maps are then read at neighbouring places one after the other.
    return chosen.sort(dim=1).values
