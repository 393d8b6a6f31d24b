# Copyright (c) The mmpointrend authors.
"""Where points are: the one convention of the package, and the ways from one frame to another.

A point is (x, y) in ``[0, 1]^2`` of its region, whatever the region is: a whole image or the box of an RoI. With
``align_corners=False`` (the default everywhere) 0 and 1 are the outer *edges* of the border pixels, so the centre of
pixel ``i`` of ``n`` is at ``(i + 0.5) / n``. With ``align_corners=True`` 0 and 1 are the *centres* of the border
pixels, and pixel ``i`` is at ``i / (n - 1)``.

R regions, P points, H and W a map's height and width.
"""

import torch
from torch import Tensor

__all__ = [
    'extent',
    'grid_points',
    'map_points_to_pixels',
    'regular_grid',
    'roi_points_to_image',
]


def extent(height: float, width: float, like: Tensor) -> Tensor:
    """Size of a map as a tensor, in the order of a point.

    Args:
        height: Height of the map.
        width: Width of the map.
        like: A tensor of the dtype wanted, where it is wanted.

    Returns:
        (width, height), shape (2,).
    """
    # Filled in where it is wanted: a GPU that is sent a list of numbers is waited for, with all its earlier work.
    return torch.stack([like.new_full((), width), like.new_full((), height)])


def grid_points(indices: Tensor, height: int, width: int, align_corners: bool = False) -> Tensor:
    """Positions of the pixels of a grid.

    Args:
        indices: Row-major pixel indices in ``[0, height * width)``, any shape, integer.
        height: Height of the grid in pixels.
        width: Width of the grid in pixels.
        align_corners: The convention, see the module.

    Returns:
        Points (x, y) in ``[0, 1]^2`` of the grid's region, float32, shape (*indices.shape, 2).
    """
    columns = (indices % width).float()
    rows = torch.div(indices, width, rounding_mode='floor').float()
    if align_corners:
        return torch.stack([columns / max(width - 1, 1), rows / max(height - 1, 1)], dim=-1)
    return torch.stack([(columns + 0.5) / width, (rows + 0.5) / height], dim=-1)


def regular_grid(
    height: int, width: int, device: torch.device | str | None = None, align_corners: bool = False
) -> Tensor:
    """Every pixel of a grid, row by row.

    Args:
        height: Height of the grid in pixels.
        width: Width of the grid in pixels.
        device: Where the points are wanted.
        align_corners: The convention, see the module.

    Returns:
        Points (x, y) in ``[0, 1]^2``, float32, shape (height * width, 2).
    """
    indices = torch.arange(height * width, device=device)
    return grid_points(indices, height, width, align_corners)


def roi_points_to_image(boxes: Tensor, points: Tensor) -> Tensor:
    """Carry points of RoIs over to the image that the RoIs lie in.

    Args:
        boxes: RoIs as (x1, y1, x2, y2) in the image's pixels, shape (R, 4).
        points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).

    Returns:
        Points (x, y) in the image's pixels, shape (R, P, 2); outside the image where the RoI is.
    """
    top_left, bottom_right = boxes[:, None, :2], boxes[:, None, 2:4]
    return points * (bottom_right - top_left) + top_left


def map_points_to_pixels(
    points: Tensor, height: int, width: int, align_corners: bool = False
) -> Tensor:
    """Carry points of a region over to the pixel grid of a map that covers the region.

    Args:
        points: Points (x, y) in ``[0, 1]^2`` of the region, shape (..., 2).
        height: Height of the map in pixels.
        width: Width of the map in pixels.
        align_corners: The convention, see the module.

    Returns:
        Points (x, y) in pixels of the map, with pixel ``i``'s *centre* at ``i``, shape (..., 2).
    """
    size = extent(height, width, points)
    return points * (size - 1) if align_corners else points * size - 0.5
