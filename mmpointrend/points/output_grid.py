# Copyright (c) The mmpointrend authors.
"""Rendering on the output's own pixels, at the resolution that each region has there.

A mask of a fixed size is resampled to the size of its box afterwards: 224x224 is many times too much for a box of 30
pixels, and too little for one of 600. Here the last subdivision step takes the pixels of the output instead, so that
nothing is resampled after it (paper, Figure 7: a mask has to match the resolution of the region that it occupies).

R regions, k channels, P points, A the largest number of output pixels of a region. A region's pixels are numbered
row by row from its own first one, so that regions of any shape fit one tensor (R, A) with little left over.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.selection import select_uncertain
from mmpointrend.points.subdivision import subdivide
from mmpointrend.points.uncertainty import Uncertainty, logit_uncertainty

__all__ = ['OutputGrid', 'batches_by_resolution', 'subdivide_onto']


@dataclass(frozen=True)
class OutputGrid:
    """The output pixels whose centres lie in each region; coordinates are (x, y).

    Attributes:
        start: Column and row of each region's first pixel in the output, shape (R, 2), integer.
        size: Number of columns and rows, shape (R, 2), integer, 0 where a region has no pixel.
        first: The first pixel's centre in ``[0, 1]^2`` of the region, shape (R, 2).
        pitch: Distance of neighbouring pixels in the same frame, shape (R, 2).
    """

    start: Tensor
    size: Tensor
    first: Tensor
    pitch: Tensor

    @classmethod
    def of_boxes(cls, boxes: Tensor, height: int, width: int) -> 'OutputGrid':
        """Grids of boxes.

        Args:
            boxes: Boxes (x1, y1, x2, y2) in pixels of the output, shape (R, 4); they may reach over its border.
            height: Height of the output in pixels.
            width: Width of the output in pixels.

        Returns:
            The grid of each box.
        """
        low, high = boxes[:, :2], boxes[:, 2:]
        border = boxes.new_tensor([width, height])
        # Pixel i has its centre at i + 0.5.
        start = (low - 0.5).ceil().clamp(min=0).minimum(border)
        end = (high - 0.5).ceil().clamp(min=0).minimum(border)
        size = (end - start).clamp(min=0)
        # A region without pixels has no pitch either: any finite number will do.
        pitch = 1 / torch.where(size > 0, high - low, 1)
        return cls(start.long(), size.long(), (start + 0.5 - low) * pitch, pitch)

    @classmethod
    def cat(cls, grids: Sequence['OutputGrid']) -> 'OutputGrid':
        """The grids of several sets of regions, one set after the other."""
        return cls(
            torch.cat([grid.start for grid in grids]),
            torch.cat([grid.size for grid in grids]),
            torch.cat([grid.first for grid in grids]),
            torch.cat([grid.pitch for grid in grids]),
        )

    def __getitem__(self, regions: Tensor | slice) -> 'OutputGrid':
        """The grids of some regions."""
        return OutputGrid(
            self.start[regions], self.size[regions], self.first[regions], self.pitch[regions]
        )

    def points(self, indices: Tensor) -> Tensor:
        """Positions of pixels.

        Args:
            indices: A region's pixels, numbered row by row, integer, shape (R, P).

        Returns:
            Points (x, y) in ``[0, 1]^2`` of the region, shape (R, P, 2); beyond its lower edge where there is no such
            pixel.
        """
        columns = self.size[:, :1].clamp(min=1)
        places = [indices % columns, torch.div(indices, columns, rounding_mode='floor')]
        return self.first[:, None] + torch.stack(places, dim=-1) * self.pitch[:, None]


def batches_by_resolution(
    sizes: Sequence[tuple[int, int]], num_points: int, coarse_side: int, scale_factor: int = 2
) -> list[tuple[int, list[int]]]:
    """Regions to be rendered together by :func:`subdivide_onto`, in few batches.

    Together are regions of which all pixels are predicted, their numbers of pixels within a factor of two; and of the
    others those with the same number of steps before the last one, which are all that stay below their longer side.

    Args:
        sizes: Columns and rows of each region.
        num_points: N, points of one step and region.
        coarse_side: Side of the coarse prediction in pixels.
        scale_factor: What each step multiplies the side by, an integer >= 2.

    Returns:
        Batches: the steps before the last one, and numbers of regions. Regions without a pixel are in none.
    """
    batches: dict[tuple[int, int], list[int]] = {}
    for region, (columns, rows) in enumerate(sizes):
        num_pixels = columns * rows
        if num_pixels == 0:
            continue
        key = 0, num_pixels.bit_length()
        if num_pixels > num_points:
            steps = 0
            while coarse_side * scale_factor ** (steps + 1) < max(columns, rows):
                steps += 1
            key = steps, num_points.bit_length() + 1
        batches.setdefault(key, []).append(region)
    return [(steps, regions) for (steps, _), regions in sorted(batches.items())]


def subdivide_onto(
    grid: OutputGrid,
    num_pixels: int,
    coarse: Tensor,
    predict_points: Callable[[Tensor], Tensor],
    *,
    num_points: int,
    steps: int,
    scale_factor: int = 2,
    uncertainty: Uncertainty = logit_uncertainty,
) -> Tensor:
    """Render onto the output's pixels: subdivide, interpolate at the pixels, re-predict the N most uncertain.

    Where no region has more than N pixels all of them are predicted, and nothing else.

    Args:
        grid: The output pixels of each region.
        num_pixels: A, the largest number of pixels of a region (known to who grouped the regions; the device is not
            asked).
        coarse: Coarse logits, shape (R, k, h, w).
        predict_points: Maps points (x, y) in ``[0, 1]^2`` of their region, (R, P, 2), to logits (R, k, P).
        num_points: N, points of one step and region.
        steps: Steps before the last one, see :func:`batches_by_resolution`.
        scale_factor: What each of these multiplies the sides by, an integer >= 2.
        uncertainty: Maps logits (R, k, ...) to their uncertainty (R, ...).

    Returns:
        Logits of each region's pixels, numbered row by row, shape (R, k, A); rubbish beyond a region's last pixel.
    """
    everything = torch.arange(num_pixels, device=coarse.device).expand(len(coarse), -1)
    points = grid.points(everything)
    if num_pixels <= num_points:
        return predict_points(points)
    logits = subdivide(
        coarse,
        predict_points,
        num_points=num_points,
        steps=steps,
        scale_factor=scale_factor,
        uncertainty=uncertainty,
    )
    # Beyond the outermost centres the outermost values, as in every upsampling step.
    at = 2 * points.unsqueeze(1) - 1
    logits = F.grid_sample(
        logits.to(at.dtype), at, padding_mode='border', align_corners=False
    ).squeeze(2)
    missing = everything >= grid.size.prod(dim=1, keepdim=True)
    indices = select_uncertain(uncertainty(logits).masked_fill(missing, -torch.inf), num_points)
    values = predict_points(grid.points(indices)).to(logits.dtype)
    return logits.scatter(2, indices.unsqueeze(1).expand_as(values), values)
