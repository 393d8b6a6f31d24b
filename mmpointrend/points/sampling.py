# Copyright (c) The mmpointrend authors.
"""Values of maps at points: fine-grained features, coarse predictions and labels (paper, section 3.2).

Everything here takes M maps and R regions, and an index (R,) that says on which map the points of a region lie:
several RoIs lie on one image. Without an index every region has the map of its own number, as coarse masks have. There
is no loop over images or regions.
Points are (x, y) in ``[0, 1]^2`` *of the map*; a point outside reads 0 where bilinear, as a zero border would give.

M maps, R regions, P points, C channels, H and W a map's height and width.
"""

import torch
from torch import Tensor

from mmpointrend.points.coordinates import extent, map_points_to_pixels
from mmpointrend.points.fast.in_place import read_in_place, reads_in_place
from mmpointrend.points.fast.rows import sum_rows
from mmpointrend.points.precision import for_sums

__all__ = [
    'bilinear_corners',
    'map_corners',
    'maps_of_regions',
    'sample_features',
    'sample_labels',
    'sample_masks',
    'sample_windows',
]


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
    if reads_in_place(maps, points, map_index):
        return read_in_place(maps, points, align_corners)
    height, width = maps.shape[2:]
    indices, weights = map_corners(points, height, width, map_index, align_corners)
    rows = for_sums(maps).permute(0, 2, 3, 1).reshape(-1, maps.shape[1])
    return sum_rows(rows, indices, weights.to(rows.dtype)).to(maps.dtype)


def maps_of_regions(
    maps: Tensor, map_index: Tensor | None, regions: slice
) -> tuple[Tensor, Tensor | None]:
    """The maps of some regions, and the index into them.

    Args:
        maps: Maps, shape (M, ...).
        map_index: The map of each region, shape (R,); its own where it is None.
        regions: The regions.

    Returns:
        Maps and index of these regions; no index where there was none.
    """
    if regions == slice(None):
        # A slice of everything would fill and copy a gradient of everything.
        return maps, map_index
    return (maps[regions], None) if map_index is None else (maps, map_index[regions])


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
