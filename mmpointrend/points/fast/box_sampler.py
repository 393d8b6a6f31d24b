# Copyright (c) The mmpointrend authors.
"""Samples of a training step, read from one copy of the cells under the boxes.

M maps, R regions, P points, C channels, H and W a map's height and width.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmpointrend.points.coordinates import map_points_to_pixels
from mmpointrend.points.fast.memory import zeros
from mmpointrend.points.fast.rows import sum_rows
from mmpointrend.points.precision import for_sums
from mmpointrend.points.sampling import map_corners

__all__ = ['BoxSampler', 'covered_cells']


class BoxSampler:
    """Bilinear samples of feature maps within boxes: what the RoIs of a training step read of a map.

    Equal to :func:`sample_features`, differentiable in the maps, and may be called several times. It copies only the
    cells that the boxes cover, once, and carries the gradients of all calls, added up in these cells, back to the map
    at once. The boxes of a training step cover a third of a map or less. A GPU is waited for once, for their number.

    Args:
        maps: Feature maps, floating point, shape (M, C, H, W).
        boxes: Boxes (x1, y1, x2, y2) in ``[0, 1]^2`` of the map, or reaching beyond it, shape (R, 4).
        map_index: The map of each box, in ``[0, M)``, integer, shape (R,).
    """

    def __init__(self, maps: Tensor, boxes: Tensor, map_index: Tensor) -> None:
        self._map_index, self._dtype = map_index, maps.dtype
        self._height, self._width = maps.shape[-2:]
        covered = covered_cells(boxes, map_index, len(maps), self._height, self._width)
        numbers, cells = covered.flatten(1).nonzero(as_tuple=True)
        self._row_of_cell = torch.full((covered.numel(),), -1, device=maps.device)
        self._row_of_cell[covered.flatten()] = torch.arange(len(cells), device=maps.device)
        self._rows = for_sums(_Cells.apply(maps, numbers, cells))

    def __call__(self, points: Tensor) -> Tensor:
        """Samples at points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of the map, within the boxes, shape (R, P, 2).

        Returns:
            Samples, points-major, in the maps' dtype, shape (R, P, C); NaN where a point is outside its box and what
            it reads was not copied.
        """
        indices, weights = map_corners(points, self._height, self._width, self._map_index)
        rows = self._row_of_cell[indices]
        weights = weights.to(self._rows.dtype).masked_fill(rows < 0, torch.nan)
        return sum_rows(self._rows, rows.clamp(min=0), weights).to(self._dtype)


def covered_cells(
    boxes: Tensor,
    map_index: Tensor,
    num_maps: int,
    height: int,
    width: int,
    align_corners: bool = False,
) -> Tensor:
    """Which cells of maps samples within boxes can read.

    Args:
        boxes: Boxes (x1, y1, x2, y2) in ``[0, 1]^2`` of the map, or reaching beyond it, shape (R, 4).
        map_index: The map of each box, in ``[0, M)``, integer, shape (R,).
        num_maps: M.
        height: Height of the maps in pixels.
        width: Width of the maps in pixels.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Bool, shape (M, height, width); at least one cell is covered.
    """
    corners = map_points_to_pixels(boxes.unflatten(-1, (2, 2)), height, width, align_corners)
    corners = corners.floor()
    # One cell more on every side than the corners read, for the rounding of points. The corners may be in any order.
    left, top = (corners.amin(dim=1) - 1).long().unbind(-1)
    right, bottom = (corners.amax(dim=1) + 3).long().unbind(-1)
    left, top = left.clamp(0, width - 1), top.clamp(0, height - 1)
    # Where a corner is NaN or infinite no cell is right, but some range is needed.
    right, bottom = (
        right.clamp(max=width).maximum(left + 1),
        bottom.clamp(max=height).maximum(top + 1),
    )
    # A box is the sum, over rows and columns, of four ones at its corners: no loop over boxes.
    changes = torch.zeros(num_maps, height + 1, width + 1, dtype=torch.int32, device=boxes.device)
    one = torch.ones_like(left, dtype=torch.int32)
    for row, column, change in (
        (top, left, one),
        (top, right, -one),
        (bottom, left, -one),
        (bottom, right, one),
    ):
        changes.index_put_((map_index, row, column), change, accumulate=True)
    covered = changes.cumsum(1).cumsum(2)[:, :height, :width] > 0
    # Without any box there is still a tensor of rows to read no point from.
    covered[0, 0, 0] = True
    return covered


class _Cells(torch.autograd.Function):
    """Distinct cells of maps (M, C, H, W) as rows (N, C).

    Indexing alone gives the same, but its backward does not know that the cells are distinct, and adds them one by one.
    """

    @staticmethod
    def forward(ctx: Any, maps: Tensor, numbers: Tensor, cells: Tensor) -> Tensor:
        """Rows of the cells ``cells`` (N,) of maps ``numbers`` (N,)."""
        ctx.save_for_backward(numbers, cells)
        ctx.shape = maps.shape
        return maps.flatten(2)[numbers, :, cells]

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, None, None]:
        """Gradient of the maps."""
        numbers, cells = ctx.saved_tensors
        maps = zeros(ctx.shape, gradient.dtype, gradient.device)
        maps.flatten(2)[numbers, :, cells] = gradient
        return maps, None, None
