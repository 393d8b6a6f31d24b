# Copyright (c) The mmpointrend authors.
"""Logits at points of given maps: the point head with its point features (paper, section 3.3).

A linear layer commutes with bilinear interpolation, ``weight @ sample(map) == sample(weight @ map)``, and maps have
fewer cells than rendering has points: a mask takes 3,136 points, its coarse prediction has 49 cells, and 100 masks
have five times as many points as a P2 of 200 x 304 has cells. So :class:`ProjectingPredictor` applies the first layer
to the feature maps and the coarse part of *every* layer to the coarse map; what is left per point are the hidden
layers.

R regions, M maps, P points, C channels of the fine-grained features, K channels of the coarse prediction, k outputs.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.mlp import PointMLP
from mmpointrend.points.sampling import map_corners, sample_features, sample_rows

__all__ = ['PointPredictor', 'ProjectingPredictor', 'SamplingPredictor', 'point_predictor']

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


# Points whose hidden features (256 channels: 4 MB) stay in a CPU's cache from one layer to the next. A GPU has no
# such limit.
_POINTS_IN_CACHE = 4096


def point_predictor(
    head: PointHead,
    fine: Sequence[Tensor],
    coarse: Tensor,
    map_index: Tensor | None,
    classes: Tensor | None = None,
    align_corners: bool = False,
    num_points: int | None = None,
) -> PointPredictor:
    """The fastest predictor that the head allows.

    Args:
        head: The point head, a :class:`PointMLP` or anything with its ``forward``.
        fine: Fine-grained feature maps, each (M, C_l, H_l, W_l), their channels C together.
        coarse: Coarse prediction, shape (R, K, h, w).
        map_index: The fine map of each region, in ``[0, M)``, integer, shape (R,); its own where it is None.
        classes: The one class wanted of each region, integer, shape (R,); all where it is None.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
        num_points: In rendering, the number of points of a region that all calls together will ask for: what is done
            once per map depends on it, not the result. None in training, where a map is read once.

    Returns:
        The predictor: logits (R, k, P), or (R, 1, P) where ``classes`` is given.
    """
    if num_points is not None and isinstance(head, PointMLP) and head.is_linear:
        return ProjectingPredictor(
            head, fine, coarse, map_index, classes, align_corners, num_points
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
        coarse = self._coarse[regions]
        features = []
        for level, at in zip(self._fine, fine_points, strict=True):
            maps, map_index = _of_regions(level, self._map_index, regions)
            features.append(sample_features(maps, at, map_index, self._align_corners))
        return self._head(
            features[0] if len(features) == 1 else torch.cat(features, dim=-1),
            sample_features(coarse, points, align_corners=self._align_corners),
            *([] if self._classes is None else [self._classes[regions]]),
        )


def _of_regions(
    maps: Tensor, map_index: Tensor | None, regions: slice
) -> tuple[Tensor, Tensor | None]:
    """The maps of some regions, and the index into them."""
    return (maps[regions], None) if map_index is None else (maps, map_index[regions])


class _LinearMap:
    """Linear functions of the bilinear samples of one map, for the layers that read it.

    Projects the map where that is less work than projecting the samples.

    Args:
        maps: Map, shape (M, C, H, W).
        weights: Weight of each layer that reads it, (out, C), or (M, out, C) where each map has its own.
        map_index: The map of each region, shape (R,); its own where it is None.
        num_points: Number of points that will be read, over all regions.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
    """

    def __init__(
        self,
        maps: Tensor,
        weights: Sequence[Tensor],
        map_index: Tensor | None,
        num_points: int,
        align_corners: bool,
    ) -> None:
        self._maps, self._map_index, self._align_corners = maps, map_index, align_corners
        self._weights = weights
        self._projections: list[Tensor] | None = None
        num_cells = len(maps) * maps.shape[2] * maps.shape[3]
        if num_cells <= num_points:
            cells = maps.flatten(2).transpose(1, 2)
            self._projections = [(cells @ weight.mT).flatten(0, 1) for weight in weights]

    def read(self, points: Tensor, regions: slice) -> tuple[Tensor, ...]:
        """What :meth:`linear` needs to know of points (r, P, 2) of the map, each tensor (r, P, ...)."""
        if self._projections is None:
            maps, map_index = _of_regions(self._maps, self._map_index, regions)
            return (sample_features(maps, points, map_index, self._align_corners),)
        height, width = self._maps.shape[-2:]
        # All maps are in the projections, so here a region keeps its map's number.
        numbers = torch.arange(len(self._maps), device=points.device)
        map_index = (numbers if self._map_index is None else self._map_index)[regions]
        indices, weights = map_corners(points, height, width, map_index, self._align_corners)
        # The embedding bag is quicker with short indices.
        return indices.int(), weights.to(self._maps.dtype)

    def linear(self, layer: int, reading: tuple[Tensor, ...], regions: slice) -> Tensor:
        """Layer number ``layer`` at the points of a reading, which are those of some regions: (r, P, out)."""
        if self._projections is not None:
            return sample_rows(self._projections[layer], *reading)
        weight = self._weights[layer]
        return reading[0] @ (weight[regions] if weight.ndim == 3 else weight).mT


class ProjectingPredictor:
    """A :class:`PointMLP` taken apart, equal to :class:`SamplingPredictor` but for rounding.

    Arguments are those of :func:`point_predictor`. Computes in the maps' dtype, or in autocast's.
    """

    def __init__(
        self,
        head: PointMLP,
        fine: Sequence[Tensor],
        coarse: Tensor,
        map_index: Tensor | None,
        classes: Tensor | None,
        align_corners: bool,
        num_points: int,
    ) -> None:
        dtype, device = fine[0].dtype, coarse.device.type
        # Shapes alone (the `meta` device) have no autocast.
        if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        weights, biases, self._activations = head.layers(classes)
        self._biases = [bias.to(dtype) for bias in biases]
        num_coarse = coarse.shape[1]
        # Without coarse features at each layer only the first one reads them.
        self._num_reading = len(weights) if head.coarse_each_layer else 1
        coarse_weights = [
            weight[..., -num_coarse:].to(dtype) for weight in weights[: self._num_reading]
        ]
        self._weights = [
            (weight[..., :-num_coarse] if layer < self._num_reading else weight).to(dtype)
            for layer, weight in enumerate(weights)
        ]
        self._num_regions = len(coarse)
        total = len(coarse) * num_points
        per_level = self._weights[0].split([level.shape[1] for level in fine], dim=-1)
        self._fine = [
            _LinearMap(level.to(dtype), [weight], map_index, total, align_corners)
            for level, weight in zip(fine, per_level, strict=True)
        ]
        self._coarse = _LinearMap(coarse.to(dtype), coarse_weights, None, total, align_corners)

    def __call__(
        self, points: Tensor, fine_points: Sequence[Tensor], regions: slice = _ALL
    ) -> Tensor:
        """Logits of points, see :class:`PointPredictor`."""
        start, stop, _ = regions.indices(self._num_regions)
        num_points = points.shape[1]
        together = max(stop - start, 1)
        if points.device.type == 'cpu':
            together = max(_POINTS_IN_CACHE // max(num_points, 1), 1)
        # At least one part, so that no region is a tensor like any other.
        firsts = range(start, max(stop, start + 1), together)
        parts = [slice(first, min(first + together, stop)) for first in firsts]
        logits = [
            self._predict(
                points[part.start - start : part.stop - start],
                [at[part.start - start : part.stop - start] for at in fine_points],
                part,
            )
            for part in parts
        ]
        return torch.cat(logits).transpose(1, 2)

    def _predict(self, points: Tensor, fine_points: list[Tensor], regions: slice) -> Tensor:
        """Logits (r, P, k) of points of some regions."""
        coarse = self._coarse.read(points, regions)
        first = [
            level.linear(0, level.read(at, regions), regions)
            for level, at in zip(self._fine, fine_points, strict=True)
        ]
        x = functools.reduce(torch.Tensor.add_, first)
        for layer, (weight, bias) in enumerate(zip(self._weights, self._biases, strict=True)):
            if layer == 0:
                # It has no input but the maps.
                x = x.add_(bias)
            elif weight.ndim == 3:
                x = torch.baddbmm(bias[regions], x, weight[regions].mT)
            else:
                x = F.linear(x, weight, bias)
            if layer < self._num_reading:
                # In place, as every sum here: a tenth of the time.
                x = x.add_(self._coarse.linear(layer, coarse, regions))
            if layer < len(self._activations):
                x = self._activations[layer](x)
        return x
