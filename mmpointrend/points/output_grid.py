# Copyright (c) The mmpointrend authors.
"""Rendering on the output's own pixels, at the resolution that each region has there.

A mask of a fixed size is resampled to the size of its box afterwards: 224x224 is many times too much for a box of 30
pixels, and too little for one of 600. Here the last subdivision step takes the pixels of the output instead, so that
nothing is resampled after it (paper, Figure 7: a mask has to match the resolution of the region that it occupies).

Regions of about the same resolution are rendered together, in few batches (:func:`batches_by_resolution`): small ones
pixel by pixel (:func:`predict_pixels`), the others by subdivision (:func:`subdivide_onto`).

R regions, k channels, P points; A the largest number of pixels of a region in a batch, H and W its most rows and
columns.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from mmpointrend.points.coordinates import extent
from mmpointrend.points.fast import limits
from mmpointrend.points.precision import without_autocast
from mmpointrend.points.selection import select_uncertain
from mmpointrend.points.subdivision import subdivide
from mmpointrend.points.uncertainty import Uncertainty, logit_uncertainty

__all__ = [
    'OutputGrid',
    'ResolutionBatch',
    'batches_by_resolution',
    'predict_pixels',
    'subdivide_onto',
]


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
        # Half precision has no fractions of a pixel; a box that is not a number has no pixel.
        boxes = boxes.to(torch.promote_types(boxes.dtype, torch.float32))
        boxes = boxes.masked_fill(boxes.isnan().any(dim=1, keepdim=True), 0)
        low, high = boxes[:, :2], boxes[:, 2:]
        border = extent(height, width, boxes)
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

    def points(self, indices: Tensor, columns: Tensor | int) -> Tensor:
        """Positions of pixels.

        Args:
            indices: Pixels, numbered row by row from each region's first one, integer, shape (R, P).
            columns: Pixels to a row in this numbering, >= 1; of all regions, or of each, shape (R, 1).

        Returns:
            Points (x, y) in ``[0, 1]^2`` of the region, shape (R, P, 2); beyond its edges where there is no such pixel.
        """
        places = [indices % columns, torch.div(indices, columns, rounding_mode='floor')]
        return self.first[:, None] + torch.stack(places, dim=-1) * self.pitch[:, None]

    def resample(self, maps: Tensor, rows: int, columns: int) -> Tensor:
        """Bilinear values of maps of the regions at the output's pixels.

        Interpolation is one small matrix for the rows and one for the columns of a region: samples at each pixel would
        have to be told where each one lies.

        Args:
            maps: Maps that cover the regions, shape (R, k, h, w).
            rows: H.
            columns: W.

        Returns:
            Values, dtype of the grid, shape (R, k, H, W); any numbers where a region has fewer pixels.
        """
        across, down = (
            _interpolation(self.first[:, axis], self.pitch[:, axis], number, maps.shape[3 - axis])
            for axis, number in enumerate((columns, rows))
        )
        # Half precision would move the boundary.
        with without_autocast(maps.device):
            return down.unsqueeze(1) @ maps.to(down.dtype) @ across.mT.unsqueeze(1)


def _interpolation(first: Tensor, pitch: Tensor, number: int, size: int) -> Tensor:
    """Weights (R, number, size) of linear interpolation among ``size`` cells over [0, 1], each row's sum 1.

    Beyond the outermost centres the outermost values count, as in every upsampling step.
    """
    steps = torch.arange(number, device=first.device, dtype=first.dtype)
    at = ((first[:, None] + steps * pitch[:, None]) * size - 0.5).clamp(0, size - 1)
    cells = torch.arange(size, device=first.device, dtype=first.dtype)
    return (1 - (at.unsqueeze(-1) - cells).abs()).clamp_(min=0)


@dataclass(frozen=True)
class ResolutionBatch:
    """Regions that are rendered together.

    Attributes:
        regions: Their numbers.
        columns: The most columns of a region, or a few more.
        rows: The most rows of a region.
        num_pixels: The most pixels of a region.
        steps: Steps of subdivision before the output's pixels; None where all pixels are predicted.
        num_points: Points of the last step, on the output's pixels.
    """

    regions: list[int]
    columns: int
    rows: int
    num_pixels: int
    steps: int | None
    num_points: int


def batches_by_resolution(
    sizes: Sequence[tuple[int, int]],
    num_points: int,
    coarse_side: int,
    full_side: int,
    scale_factor: int = 2,
) -> list[ResolutionBatch]:
    """Regions to be rendered together, in few batches.

    Of a region of up to 2 N pixels all are predicted: a step of N points before N of them would be the same work. A
    larger one is subdivided to the side that is nearest to its longer side, by factor, and below it, so that the last
    step enlarges by the square root of the scale factor at least. Where a region is larger than ``full_side``, N
    counts for each part of that length: its boundary has as many more pixels.

    Args:
        sizes: Columns and rows of each region.
        num_points: N, points of one step and region.
        coarse_side: Side of the coarse prediction in pixels.
        full_side: Side of the map that N is meant for.
        scale_factor: What each step multiplies the side by, an integer >= 2.

    Returns:
        Batches; their subdivided regions have the same number of steps, those predicted whole a number of pixels
        within a factor of two. Regions without a pixel are in none. Where regions are many and large, batches are
        small enough to fit in memory.
    """
    groups: dict[tuple[int, int], list[int]] = {}
    for region, (columns, rows) in enumerate(sizes):
        num_pixels = columns * rows
        if num_pixels == 0:
            continue
        key = -1, num_pixels.bit_length()
        if num_pixels > 2 * num_points:
            steps = 0
            while coarse_side * scale_factor ** (steps + 1.5) <= max(columns, rows):
                steps += 1
            key = steps, 0
        groups.setdefault(key, []).append(region)
    parts = [
        (steps, part)
        for (steps, _), regions in sorted(groups.items())
        for part in _parts_in_memory(regions, sizes, coarse_side * scale_factor ** max(steps, 0))
    ]
    batches = []
    for steps, regions in parts:
        own = [sizes[region] for region in regions]
        longer = coarse_side * scale_factor ** (steps + 1) / full_side
        batches.append(
            ResolutionBatch(
                regions,
                # A multiple of 8: pixels are then chosen in two rounds.
                math.ceil(max(columns for columns, _ in own) / 8) * 8,
                max(rows for _, rows in own),
                max(columns * rows for columns, rows in own),
                None if steps < 0 else steps,
                max(num_points, int(num_points * longer)),
            )
        )
    return batches


def _parts_in_memory(
    regions: list[int], sizes: Sequence[tuple[int, int]], side: int
) -> list[list[int]]:
    """Regions that are subdivided to ``side``, in parts whose maps fit in memory."""
    columns = max(sizes[region][0] for region in regions)
    rows = max(sizes[region][1] for region in regions)
    # The output's pixels, what interpolates them, and what they are interpolated from.
    values = columns * rows + (columns + rows) * side + side**2
    if len(regions) == 1 or len(regions) * values <= limits.BATCH_VALUES:
        return [regions]
    # Wide ones apart from high ones: maps have the most columns and the most rows of a part.
    regions = sorted(regions, key=lambda region: sizes[region])
    half = len(regions) // 2
    return [
        part
        for some in (regions[:half], regions[half:])
        for part in _parts_in_memory(some, sizes, side)
    ]


def predict_pixels(
    grid: OutputGrid, num_pixels: int, predict_points: Callable[[Tensor], Tensor]
) -> Tensor:
    """Predict each of the output's pixels.

    Args:
        grid: The output pixels of each region.
        num_pixels: A.
        predict_points: Maps points (x, y) in ``[0, 1]^2`` of their region, (R, P, 2), to logits (R, k, P).

    Returns:
        Logits of each region's pixels, numbered row by row, shape (R, k, A); any numbers beyond its last pixel.
    """
    everything = torch.arange(num_pixels, device=grid.start.device).expand(len(grid.start), -1)
    return predict_points(grid.points(everything, grid.size[:, :1].clamp(min=1)))


def subdivide_onto(
    grid: OutputGrid,
    rows: int,
    columns: int,
    coarse: Tensor,
    predict_points: Callable[[Tensor], Tensor],
    *,
    num_points: int,
    last_num_points: int,
    steps: int,
    scale_factor: int = 2,
    uncertainty: Uncertainty = logit_uncertainty,
) -> Tensor:
    """Render onto the output's pixels: subdivide, interpolate at the pixels, re-predict the most uncertain.

    Args:
        grid: The output pixels of each region.
        rows: H (known to who grouped the regions; the device is not asked).
        columns: W.
        coarse: Coarse logits, shape (R, k, h, w).
        predict_points: Maps points (x, y) in ``[0, 1]^2`` of their region, (R, P, 2), to logits (R, k, P).
        num_points: N, points of one step and region.
        last_num_points: Points of the last step, on the output's pixels.
        steps: Steps before the last one, see :func:`batches_by_resolution`.
        scale_factor: What each of these multiplies the sides by, an integer >= 2.
        uncertainty: Maps logits (R, k, ...) to their uncertainty (R, ...).

    Returns:
        Logits of each region's pixels from its first one, shape (R, k, H, W); any numbers where a region has fewer.
    """
    logits = subdivide(
        coarse,
        predict_points,
        num_points=num_points,
        steps=steps,
        scale_factor=scale_factor,
        uncertainty=uncertainty,
    )
    logits = grid.resample(logits, rows, columns)
    unsure = uncertainty(logits)
    for axis, number in enumerate((columns, rows)):
        missing = torch.arange(number, device=logits.device) >= grid.size[:, axis, None]
        unsure.masked_fill_(missing.unsqueeze(1 + axis), -torch.inf)
    indices = select_uncertain(unsure, last_num_points)
    values = predict_points(grid.points(indices, columns)).to(logits.dtype)
    logits.flatten(2).scatter_(2, indices.unsqueeze(1).expand_as(values), values)
    return logits
