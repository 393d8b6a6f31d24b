# Copyright (c) The mmpointrend authors.
"""Values of maps at points: fine-grained features, coarse predictions and labels (paper, section 3.2).

Everything here takes M maps and R regions, and an index (R,) that says on which map the points of a region lie:
several RoIs lie on one image. Without an index every region has the map of its own number, as coarse masks have. There
is no loop over images or regions.
Points are (x, y) in ``[0, 1]^2`` *of the map*; a point outside reads 0 where bilinear, as a zero border would give.

M maps, R regions, P points, C channels, H and W a map's height and width.
"""

import math
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mmpointrend.points.coordinates import extent, map_points_to_pixels
from mmpointrend.points.memory import zeros

__all__ = [
    'BoxSampler',
    'bilinear_corners',
    'covered_cells',
    'map_corners',
    'sample_features',
    'sample_labels',
    'sample_masks',
    'sample_rows',
    'sample_windows',
    'without_autocast',
]

# Reading rows wants the whole map channels-last, `grid_sample` reads four corners in each channel's own place: as long
# as for three cells of the copy, or for eight in both directions (256 channels).
_CELLS_A_POINT = {False: 3, True: 8}
# `grid_sample` is parallel over its batch alone, so that it gets the channels of one map as so many maps: 8,192 points
# of 256 channels take 6 -> 2 ms by two threads, and 6 -> 4.5 ms by one.
_PARTS = 16
# With few channels there is little to read, and the time goes into indices and weights, of which `grid_sample` makes
# none: 75,000 points of one channel take 0.2 ms instead of 5 (8 channels, both directions: 1.6 instead of 5.9).
_FEW_CHANNELS = 16


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Context in which positions and weights of interpolation keep their precision.

    Args:
        device: Where they are.

    Returns:
        The context; it does nothing on devices that have no autocast.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def bilinear_corners(
    points: Tensor, height: int, width: int, align_corners: bool = False
) -> tuple[Tensor, Tensor]:
    """The four pixels round each point, and what each contributes to the bilinear value there.

    Args:
        points: Points (x, y) in ``[0, 1]^2`` of a map, shape (R, P, 2).
        height: Height of the map in pixels.
        width: Width of the map in pixels.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Row-major pixel indices in ``[0, height * width)``, and the weights in ``[0, 1]``, each (R, P, 4). A corner
        outside the map has weight 0 and the index of a border pixel.
    """
    pixels = map_points_to_pixels(points, height, width, align_corners)
    low = pixels.floor()
    fraction_x, fraction_y = (pixels - low).unbind(-1)
    left, top = low.unbind(-1)
    columns = torch.stack([left, left + 1, left, left + 1], dim=-1)
    rows = torch.stack([top, top, top + 1, top + 1], dim=-1)
    weights = torch.stack(
        [
            (1 - fraction_x) * (1 - fraction_y),
            fraction_x * (1 - fraction_y),
            (1 - fraction_x) * fraction_y,
            fraction_x * fraction_y,
        ],
        dim=-1,
    )
    inside = (columns >= 0) & (columns < width) & (rows >= 0) & (rows < height)
    return _row_major(columns, rows, height, width), weights * inside


def _row_major(columns: Tensor, rows: Tensor, height: int, width: int) -> Tensor:
    """Indices of pixels, of the nearest border pixel outside the map and of any pixel where a coordinate is NaN."""
    # Integers before the product, which a float32 no longer holds exactly beyond 2^24 pixels, and before the clamp,
    # which leaves NaN: as an index it would end the process on a GPU, as a weight it shows in the loss.
    return rows.long().clamp(0, height - 1) * width + columns.long().clamp(0, width - 1)


def map_corners(
    points: Tensor,
    height: int,
    width: int,
    map_index: Tensor | None = None,
    align_corners: bool = False,
) -> tuple[Tensor, Tensor]:
    """:func:`bilinear_corners` among the pixels of several maps, one map after the other.

    Args:
        points: Points (x, y) in ``[0, 1]^2`` of the map, shape (R, P, 2).
        height: Height of the maps in pixels.
        width: Width of the maps in pixels.
        map_index: The map of each region, in ``[0, M)``, integer, shape (R,); its own where it is None.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Indices in ``[0, M * height * width)`` and weights in ``[0, 1]``, each (R, P, 4).
    """
    indices, weights = bilinear_corners(points, height, width, align_corners)
    if map_index is None:
        map_index = torch.arange(len(points), device=points.device)
    return indices + (map_index * (height * width))[:, None, None], weights


def sample_rows(rows: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """Weighted sums of rows, differentiable in the rows.

    One ``embedding_bag`` reads each row's C channels in one stretch: on a CPU ten times as fast as ``grid_sample``.

    Args:
        rows: Rows, shape (N, C).
        indices: Rows of each sum, in ``[0, N)``, integer, shape (R, P, n).
        weights: What each contributes, dtype of ``rows``, shape (R, P, n).

    Returns:
        Sums, shape (R, P, C).
    """
    sums = F.embedding_bag(
        # Short indices take a fifth less time, forward and backward.
        indices.flatten(0, 1).int(),
        rows,
        per_sample_weights=weights.flatten(0, 1),
        mode='sum',
    )
    return sums.unflatten(0, indices.shape[:2])


def sample_features(
    maps: Tensor, points: Tensor, map_index: Tensor | None = None, align_corners: bool = False
) -> Tensor:
    """Bilinear samples of feature maps or logits, differentiable in the maps.

    Equal to ``grid_sample`` with zero padding.

    Args:
        maps: Feature maps, floating point, shape (M, C, H, W).
        points: Points (x, y) in ``[0, 1]^2`` of the map, shape (R, P, 2).
        map_index: The map of each region, in ``[0, M)``, integer, shape (R,); its own where it is None.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Samples, points-major, in the maps' dtype, shape (R, P, C).
    """
    channels, height, width = maps.shape[1:]
    one_map = len(maps) == 1
    num_points = points.shape[1] if map_index is None else points[..., 0].numel()
    few = _CELLS_A_POINT[maps.requires_grad] * num_points < height * width
    # `grid_sample` takes coordinates in the maps' dtype, of which half precision has too few.
    if (
        (few or channels <= _FEW_CHANNELS)
        and (map_index is None or one_map)
        and maps.dtype.itemsize >= 4
        and points.numel() > 0
    ):
        regions, number = points.shape[:2]
        # Its coordinates end at -1 and 1.
        at = (2 * points - 1).unsqueeze(1).to(maps.dtype)
        if one_map:
            parts = math.gcd(channels, _PARTS)
            maps = maps[0].unflatten(0, (parts, -1))
            at = at.reshape(1, 1, -1, 2).expand(parts, -1, -1, -1)
        with without_autocast(maps.device):
            samples = F.grid_sample(maps, at, align_corners=align_corners)
        if one_map:
            return samples.reshape(channels, regions, number).permute(1, 2, 0)
        return samples.squeeze(2).transpose(1, 2)
    indices, weights = map_corners(points, height, width, map_index, align_corners)
    rows = _for_sums(maps).permute(0, 2, 3, 1).reshape(-1, channels)
    return sample_rows(rows, indices, weights.to(rows.dtype)).to(maps.dtype)


def _for_sums(values: Tensor) -> Tensor:
    """In single precision where gradients are wanted.

    Many points add up in one cell's gradient: in half precision small ones would be lost to the sum.
    """
    return values.float() if values.requires_grad and values.dtype.itemsize < 4 else values


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
        self._rows = _for_sums(_Cells.apply(maps, numbers, cells))

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
        return sample_rows(self._rows, rows.clamp(min=0), weights).to(self._dtype)


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


def sample_masks(masks: Tensor, points: Tensor, map_index: Tensor) -> Tensor:
    """Bilinear values of binary masks: the training target of an RoI's points, not thresholded (paper, App. A).

    Reads the four corners of each point alone, so masks stay in the integer type they are stored in.

    Args:
        masks: Masks with values 0 and 1, any dtype, shape (M, H, W).
        points: Points (x, y) in ``[0, 1]^2`` of the mask, shape (R, P, 2).
        map_index: The mask of each region, in ``[0, M)``, integer, shape (R,).

    Returns:
        Values in ``[0, 1]``, float32, shape (R, P).
    """
    height, width = masks.shape[-2:]
    firsts = torch.arange(len(masks), device=masks.device) * (height * width)
    whole = firsts.new_tensor([0, 0, width, height]).expand(len(masks), 4)
    windows = torch.cat([whole, firsts[:, None]], dim=1)
    return sample_windows(
        masks.reshape(-1), windows, points * extent(height, width, points), map_index
    )


def sample_windows(pixels: Tensor, windows: Tensor, places: Tensor, map_index: Tensor) -> Tensor:
    """Bilinear values of binary masks of which only windows are stored, see :func:`sample_masks`.

    Args:
        pixels: The windows' pixels with values 0 and 1, one window after the other, each row by row, any dtype, shape
            (num_pixels,).
        windows: Left and top edge, width and height of each window in pixels of its map, and the index of its first
            pixel, int64, shape (M, 5). Outside its window a mask is 0.
        places: Points (x, y) in pixels of the map, *edges* at whole numbers, shape (R, P, 2).
        map_index: The mask of each region, in ``[0, M)``, integer, shape (R,).

    Returns:
        Values in ``[0, 1]``, float32, shape (R, P).
    """
    if len(pixels) == 0:
        return places.new_zeros(places.shape[:2], dtype=torch.float32)
    left, top, width, height, first = windows[map_index][:, :, None, None].unbind(1)
    centred = places.float() - 0.5
    low = centred.floor()
    fraction = centred - low
    # The two columns and the two rows around each point, counted in its window, (R, P, 2).
    columns, rows = (torch.stack([start, start + 1], dim=-1) for start in low.long().unbind(-1))
    columns, rows = columns - left, rows - top
    weights_x, weights_y = (torch.stack([1 - part, part], dim=-1) for part in fraction.unbind(-1))
    weights_x = weights_x * ((columns >= 0) & (columns < width))
    weights_y = weights_y * ((rows >= 0) & (rows < height))
    # Outside the window the weight is 0, so that any pixel will do.
    columns = columns.clamp(min=0).minimum((width - 1).clamp(min=0))
    rows = rows.clamp(min=0).minimum((height - 1).clamp(min=0))
    index = (first + rows * width)[..., None] + columns[..., None, :]
    values = pixels[index.clamp(max=len(pixels) - 1)].float()
    return (values * weights_y[..., None] * weights_x[..., None, :]).sum((-1, -2))


def sample_labels(labels: Tensor, points: Tensor, align_corners: bool = False) -> Tensor:
    """Nearest class labels: the training target of an image's points (paper, App. B).

    Args:
        labels: Class labels, integer, shape (R, H, W), one map a region.
        points: Points (x, y) in ``[0, 1]^2`` of the map, shape (R, P, 2).
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        Labels, dtype of ``labels``, shape (R, P).
    """
    height, width = labels.shape[-2:]
    # Half-way points round to the even pixel, as they do in `grid_sample`. The clamp matters: the last half pixel
    # can round past the border, where a zero border would make it class 0.
    columns, rows = map_points_to_pixels(points, height, width, align_corners).round().unbind(-1)
    return labels.flatten(1).gather(1, _row_major(columns, rows, height, width))
