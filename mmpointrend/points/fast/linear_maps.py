# Copyright (c) The mmpointrend authors.
"""Linear layers of bilinear samples of a map: projected on the map, or on the samples, whichever is less work.

A linear layer commutes with bilinear interpolation, ``weight @ sample(map) == sample(weight @ map)``, and maps have
fewer cells than rendering has points: a mask takes 3,136 points, its coarse prediction has 49 cells, and 100 masks
have five times as many points as a P2 of 200 x 304 has cells.

R regions, M maps, P points, C channels of a map, H and W its height and width, n rows that one value is a sum of.
"""

from collections.abc import Iterator, Sequence
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.fast import limits
from mmpointrend.points.fast.box_sampler import covered_cells
from mmpointrend.points.fast.rows import sum_rows
from mmpointrend.points.sampling import map_corners, maps_of_regions, sample_features

__all__ = ['LinearMap', 'linear_map']


class LinearMap(Protocol):
    """Linear layers of the samples of one map; reading and layers are separate, for layers share what was read."""

    def read(self, points: Tensor, regions: slice) -> tuple[Tensor, ...]:
        """What all layers need of points (r, P, 2) of some regions, points in ``[0, 1]^2`` of the map: (r, ...)."""

    def layer(self, number: int, reading: tuple[Tensor, ...], regions: slice) -> Tensor:
        """Layer ``number`` at these points, bias included: new memory, (r, P, out)."""


def linear_map(
    maps: Tensor,
    weights: Sequence[Tensor],
    biases: Sequence[Tensor | None],
    map_index: Tensor | None,
    num_points: int,
    align_corners: bool,
    extents: Tensor | None = None,
) -> LinearMap:
    """The quicker way to layers of the samples of a map.

    Args:
        maps: Map, shape (M, C, H, W).
        weights: Weight of each layer that reads it, (out, C), or (M, 1, C) where each map has its own. Their dtype is
            what is computed in.
        biases: Bias of each of these, (out,), or (M, 1, 1) where each map has its own; or none.
        map_index: The map of each region, shape (R,); its own where it is None.
        num_points: Number of points that will be read, over all regions.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
        extents: Boxes (x1, y1, x2, y2) in ``[0, 1]`` of the map that hold all points of each region, shape (R, 4).
            They save work, where they are known.

    Returns:
        The layers.
    """
    tiles = None
    height, width = maps.shape[2:]
    num_cells = len(maps) * height * width
    # Only the CPU asks which cells are needed: the answer has to be on the host, for which a GPU, or a compiled graph,
    # would have to stop.
    asks = maps.device.type == 'cpu' and not torch.compiler.is_compiling()
    if (
        asks
        and extents is not None
        and map_index is not None
        and height * width % limits.PROJECT_TILE == 0
    ):
        covered = covered_cells(extents, map_index, len(maps), height, width, align_corners)
        tiles = covered.view(-1, limits.PROJECT_TILE).any(dim=1)
        num_covered = int(tiles.sum()) * limits.PROJECT_TILE
        if num_covered <= (1 - limits.PROJECT_UNTOUCHED) * num_cells:
            num_cells = num_covered
        else:
            tiles = None
    few_channels = map_index is None and maps.shape[1] <= limits.PROJECT_FEW_CHANNELS
    if num_cells <= limits.PROJECT_CELLS_A_POINT * num_points and not few_channels:
        return _ProjectedMap(maps, weights, biases, map_index, align_corners, tiles)
    return _SampledMap(maps, weights, biases, map_index, align_corners)


class _SampledMap:
    """Samples the map and applies the layers to the samples; see :func:`linear_map`."""

    def __init__(
        self,
        maps: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        map_index: Tensor | None,
        align_corners: bool,
    ) -> None:
        self._maps, self._weights, self._biases = maps, weights, biases
        self._map_index, self._align_corners = map_index, align_corners

    def read(self, points: Tensor, regions: slice) -> tuple[Tensor, ...]:
        """Samples (r, P, C)."""
        maps, map_index = maps_of_regions(self._maps, self._map_index, regions)
        samples = sample_features(maps, points, map_index, self._align_corners)
        return (samples.to(self._weights[0].dtype),)

    def layer(self, number: int, reading: tuple[Tensor, ...], regions: slice) -> Tensor:
        """Layer ``number`` of the samples."""
        weight, bias = self._weights[number], self._biases[number]
        if weight.ndim == 2:
            return F.linear(reading[0], weight, bias)
        products = reading[0] @ weight[regions].mT
        return products if bias is None else products.add_(bias[regions])


class _ProjectedMap:
    """Applies the layers to the map and samples the results; see :func:`linear_map`.

    Args:
        tiles: Which tiles of the maps will be read, bool, shape (M * H * W / 16,); all where it is None.
    """

    def __init__(
        self,
        maps: Tensor,
        weights: Sequence[Tensor],
        biases: Sequence[Tensor | None],
        map_index: Tensor | None,
        align_corners: bool,
        tiles: Tensor | None,
    ) -> None:
        self._size = maps.shape[2:]
        self._align_corners = align_corners
        # All maps are in the projections, so here a region keeps its map's number.
        numbers = torch.arange(len(maps), device=maps.device)
        self._map_index = numbers if map_index is None else map_index
        self._ranks = None if tiles is None else tiles.cumsum(0).sub_(1).clamp_(min=0)
        self._with_bias = biases[0] is not None
        self._rows = [
            _project(maps, weight, bias, tiles)
            for weight, bias in zip(weights, biases, strict=True)
        ]
        self._first_bias = len(self._rows[0]) - len(maps)

    def read(self, points: Tensor, regions: slice) -> tuple[Tensor, ...]:
        """Rows that each point's sum consists of, and what each contributes."""
        map_index = self._map_index[regions]
        height, width = self._size
        indices, weights = map_corners(points, height, width, map_index, self._align_corners)
        if self._ranks is not None:
            tiles = torch.div(indices, limits.PROJECT_TILE, rounding_mode='floor')
            indices = self._ranks[tiles] * limits.PROJECT_TILE + indices % limits.PROJECT_TILE
        if self._with_bias:
            # The row of the map's bias: adding it afterwards would take a pass over all points in every layer.
            bias = (self._first_bias + map_index)[:, None, None].expand(-1, points.shape[1], 1)
            indices = torch.cat([indices, bias], dim=-1)
            weights = torch.cat([weights, torch.ones_like(weights[..., :1])], dim=-1)
        # The embedding bag is quicker with short indices.
        return indices.int(), weights.to(self._rows[0].dtype)

    def layer(self, number: int, reading: tuple[Tensor, ...], regions: slice) -> Tensor:
        """Sums of rows of the projection."""
        return sum_rows(self._rows[number], *reading)


def _project(maps: Tensor, weight: Tensor, bias: Tensor | None, tiles: Tensor | None) -> Tensor:
    """Rows (cells, out) of the maps' cells, or of those in some tiles; after them a row for the bias of each map."""
    needs_gradient = torch.is_grad_enabled() and (weight.requires_grad or maps.requires_grad)
    is_small = tiles is None and maps.shape[2:].numel() <= limits.PROJECT_CELLS
    # A weight of each map's own makes few outputs, one for a class: there is little to keep in the cache.
    if needs_gradient or is_small or weight.ndim == 3:
        cells = maps.flatten(2) if tiles is None else torch.cat([*_parts(maps, tiles)], dim=1)[None]
        rows = (cells.to(weight.dtype).mT @ weight.mT).flatten(0, 1)
    else:
        num_cells = maps[:, 0].numel() if tiles is None else int(tiles.sum()) * limits.PROJECT_TILE
        rows = weight.new_empty(num_cells, len(weight))
        begin = 0
        for cells in _parts(maps, tiles):
            end = begin + cells.shape[1]
            torch.mm(cells.to(weight.dtype).T, weight.T, out=rows[begin:end])
            begin = end
    if bias is None:
        return rows
    return torch.cat([rows, bias.reshape(-1, rows.shape[1]).expand(len(maps), -1)])


def _parts(maps: Tensor, tiles: Tensor | None) -> Iterator[Tensor]:
    """Cells (C, n) of maps (M, C, H, W), or of those in some tiles, as many at a time as stay in the cache."""
    for number, of_map in enumerate(maps.flatten(2)):
        if tiles is None:
            yield from of_map.split(limits.PROJECT_CELLS, dim=1)
            continue
        in_tiles = of_map.unflatten(1, (-1, limits.PROJECT_TILE))
        kept = tiles.view(len(maps), -1)[number].nonzero().squeeze(1)
        for part in kept.split(limits.PROJECT_CELLS // limits.PROJECT_TILE):
            yield in_tiles.index_select(1, part).flatten(1)
