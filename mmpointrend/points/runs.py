# Copyright (c) The mmpointrend authors.
"""Where the values of masks change, column by column: what run lengths are made of, without a mask of the whole image.

R regions, H and W of a stack of their crops. Boxes' pixels are (column, row).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ['as_crops', 'run_changes']


def run_changes(
    crops: Tensor, corners: Tensor, sizes: Tensor, heights: Tensor
) -> tuple[Tensor, Tensor]:
    """Pixels at which masks change, numbered column by column in the image.

    One comparison of neighbours, one compaction: a GPU is waited for once, for their number.

    Args:
        crops: Crops of masks, bool, shape (R, H, W); a mask is False outside its crop.
        corners: Column and row of each crop's first pixel in the image, integer, shape (R, 2).
        sizes: Columns and rows of each crop, at most W and H, integer, shape (R, 2); pixels beyond are ignored.
        heights: Height of each crop's image, integer, shape (R,).

    Returns:
        The region of each change, ascending, and the pixel that differs from the one before it, in
        ``[0, height * width]``, ascending within a region, each shape (n,). The first pixel of all is compared with
        False, what would follow the last one is False. If a crop is as high as the image, a pixel stands twice where a
        mask goes on from one column to the next.
    """
    num_rows, num_columns = crops.shape[1:]
    columns, rows = (sizes[:, axis, None, None] for axis in range(2))
    inside = torch.arange(num_columns, device=crops.device)[:, None] < columns
    inside = inside & (torch.arange(num_rows, device=crops.device) < rows)
    # A pixel of background after each column: columns are not neighbours.
    values = F.pad(crops.mT & inside, (0, 1)).flatten(1)
    changes = values.clone()
    changes[:, 1:] ^= values[:, :-1]
    regions, places = changes.nonzero().unbind(1)
    column = torch.div(places, num_rows + 1, rounding_mode='floor')
    corner = corners[regions]
    first = (corner[:, 0] + column) * heights[regions] + corner[:, 1]
    return regions, first + places % (num_rows + 1)


def as_crops(masks: Tensor, sizes: Tensor, rows: int, columns: int) -> Tensor:
    """Crops of masks whose pixels are numbered row by row.

    Args:
        masks: Pixels of each mask, one row after the other, shape (R, A).
        sizes: Columns and rows of each, integer, shape (R, 2).
        rows: H.
        columns: W.

    Returns:
        Crops, shape (R, H, W); any values beyond a mask's own size.
    """
    row, column = (torch.arange(number, device=masks.device) for number in (rows, columns))
    places = row[:, None] * sizes[:, 0, None, None] + column
    return masks.gather(1, places.clamp_(max=masks.shape[1] - 1).flatten(1)).unflatten(
        1, (rows, columns)
    )
