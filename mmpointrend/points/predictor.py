# Copyright (c) The mmpointrend authors.
"""Logits at points of given maps: the point head with its point features (paper, section 3.3).

Rendering reads the same maps at many points, for which :mod:`mmpointrend.points.fast.projecting` takes the head apart.

R regions, M maps, P points, C channels of the fine-grained features, K channels of the coarse prediction, k outputs.
"""

from collections.abc import Callable, Sequence
from typing import Protocol

import torch
from torch import Tensor

from mmpointrend.points.fast.projecting import ProjectingPredictor
from mmpointrend.points.mlp import PointMLP
from mmpointrend.points.sampling import maps_of_regions, sample_features

__all__ = ['PointPredictor', 'SamplingPredictor', 'point_predictor']

PointHead = Callable[..., Tensor]
"""Maps features (R, P, C), coarse logits (R, P, K) and, where a region has one, classes (R,) to logits (R, k, P)."""

_ALL = slice(None)


class PointPredictor(Protocol):
    """What :func:`point_predictor` returns."""

    def __call__(
        self, points: Tensor, fine_points: Sequence[Tensor], regions: slice = _ALL
    ) -> Tensor:
        """Logits of points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their region, shape (r, P, 2).
            fine_points: The same points in ``[0, 1]^2`` of each fine map.
            regions: The r regions out of R that the points belong to.

        Returns:
            Logits, shape (r, k, P), or (r, 1, P) where the predictor knows the regions' classes.
        """


def point_predictor(
    head: PointHead,
    fine: Sequence[Tensor],
    coarse: Tensor,
    map_index: Tensor | None,
    classes: Tensor | None = None,
    align_corners: bool = False,
    num_points: int | None = None,
    extents: Sequence[Tensor] | None = None,
) -> PointPredictor:
    """The fastest predictor that the head allows.

    Args:
        head: The point head, a :class:`PointMLP` or anything with its ``forward``.
        fine: Fine-grained feature maps, each (M, C_l, H_l, W_l), their channels C together.
        coarse: Coarse prediction, shape (R, K, h, w).
        map_index: The fine map of each region, in ``[0, M)``, integer, shape (R,); its own where it is None.
        classes: The one class wanted of each region, integer, shape (R,); all where it is None.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
        num_points: In rendering, the number of points of all regions that all calls together will ask for: what is done
            once per map depends on it, not the result. None in training, where a map is read once.
        extents: In rendering, boxes (x1, y1, x2, y2) in ``[0, 1]`` of each fine map that hold all points of a region,
            each (R, 4), where they are known: the rest of the map is then left alone.

    Returns:
        The predictor: logits (R, k, P), or (R, 1, P) where ``classes`` is given.
    """
    if num_points is not None and isinstance(head, PointMLP) and head.is_linear:
        return ProjectingPredictor(
            head, fine, coarse, map_index, classes, align_corners, num_points, extents
        )
    return SamplingPredictor(head, fine, coarse, map_index, classes, align_corners)


class SamplingPredictor:
    """Samples the maps and asks the head: for any head, and for training.

    Arguments are those of :func:`point_predictor`.
    """

    def __init__(
        self,
        head: PointHead,
        fine: Sequence[Tensor],
        coarse: Tensor,
        map_index: Tensor | None,
        classes: Tensor | None = None,
        align_corners: bool = False,
    ) -> None:
        self._head, self._fine, self._coarse = head, fine, coarse
        self._map_index, self._classes, self._align_corners = map_index, classes, align_corners

    def __call__(
        self, points: Tensor, fine_points: Sequence[Tensor], regions: slice = _ALL
    ) -> Tensor:
        """Logits of points, see :class:`PointPredictor`."""
        coarse, _ = maps_of_regions(self._coarse, None, regions)
        features = []
        for level, at in zip(self._fine, fine_points, strict=True):
            maps, map_index = maps_of_regions(level, self._map_index, regions)
            features.append(sample_features(maps, at, map_index, self._align_corners))
        return self._head(
            features[0] if len(features) == 1 else torch.cat(features, dim=-1),
            sample_features(coarse, points, align_corners=self._align_corners),
            *([] if self._classes is None else [self._classes[regions]]),
        )
