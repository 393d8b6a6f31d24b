# Copyright (c) The mmpointrend authors.
"""From regions to logits: the renderer on RoIs, to maps of a fixed size or onto the output's own pixels.

R RoIs of all images together, P points.
"""

import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mmpointrend.models.rendering import Rendering
from mmpointrend.models.roi_heads.frames import RoIFrames
from mmpointrend.models.roi_heads.mask_sources import MaskSource, PredictPoints
from mmpointrend.models.roi_heads.small_boxes import covered_cells, keep_coarse
from mmpointrend.points import (
    OutputGrid,
    ResolutionBatch,
    SubdivisionObserver,
    batches_by_resolution,
    predict_pixels,
    subdivide,
    subdivide_onto,
)

__all__ = ['Regions', 'render', 'render_onto']

_ALL = slice(None)


class Regions(NamedTuple):
    """RoIs whose masks are wanted.

    Attributes:
        frames: The RoIs on the fine levels.
        source: Where the logits of their points come from.
        refine_min_cells: Regions that cover fewer cells of the finest level are rendered without refinement.
    """

    frames: RoIFrames
    source: MaskSource
    refine_min_cells: float = 0

    def take(self, numbers: Tensor) -> 'Regions':
        """Some of the regions, by their numbers."""
        return Regions(self.frames[numbers], self.source[numbers], self.refine_min_cells)

    def point_predictor(self, num_points: int | None = None) -> PredictPoints:
        """Logits at points of the regions.

        Args:
            num_points: See :func:`mmpointrend.points.point_predictor`.

        Returns:
            What maps points (r, P, 2) of all regions, or those of a slice, to logits (r, 1, P) of their own classes;
            without labels to logits (r, k, P) of all.
        """
        predictor = self.source.predictor(self.frames, num_points)

        def predict(points: Tensor, regions: slice = _ALL) -> Tensor:
            return predictor(points, self.frames.points(points, regions), regions)

        return predict

    def start_rendering(self, num_points: int) -> tuple[Tensor, PredictPoints]:
        """Begin to render.

        Args:
            num_points: Points that will be predicted, over all regions and steps.

        Returns:
            Logits of each region's own class, shape (R, 1, h, h), and what refines them, see :meth:`point_predictor`.
        """
        predict = self.point_predictor(num_points)
        start = self.source.start(predict)
        if self.refine_min_cells > 0:
            cells = covered_cells(self.frames.rois, self.frames.strides)
            predict = keep_coarse(predict, start, cells < self.refine_min_cells)
        return start, predict


def render(
    regions: Regions, rendering: Rendering, observer: SubdivisionObserver | None = None
) -> Tensor:
    """Render masks of a fixed size.

    Args:
        regions: The regions.
        rendering: Steps and points.
        observer: Called after each step.

    Returns:
        Logits of each region's own class, shape (R, 1, H, W).
    """
    number = len(regions.frames.rois)
    start, predict = regions.start_rendering(number * rendering.num_points * rendering.steps)
    return subdivide(
        start,
        predict,
        num_points=rendering.num_points,
        steps=rendering.steps,
        scale_factor=rendering.scale_factor,
        observer=observer,
    )


def render_onto(
    regions: Regions,
    grid: OutputGrid,
    sizes: Sequence[tuple[int, int]],
    rendering: Rendering,
    coarse_side: int,
) -> Iterator[tuple[ResolutionBatch, Tensor]]:
    """Render masks on the output's pixels, see :mod:`mmpointrend.points.output_grid`.

    Args:
        regions: The regions.
        grid: The output's pixels of each region.
        sizes: Columns and rows of these, on the host.
        rendering: Steps and points of a mask of fixed size.
        coarse_side: Side of the map that rendering starts from.

    Yields:
        A batch of regions, and the logits of their own classes: shape (r, A) row by row if all pixels were predicted,
        else (r, H, W).
    """
    batches = batches_by_resolution(
        sizes,
        rendering.num_points,
        coarse_side,
        coarse_side * rendering.scale_factor**rendering.steps,
        rendering.scale_factor,
    )
    order = [region for batch in batches for region in batch.regions]
    numbers = torch.tensor(order, device=regions.frames.rois.device, dtype=torch.long)
    regions, grid = regions.take(numbers), grid[numbers]
    total = sum(len(batch.regions) * _num_points(batch, rendering) for batch in batches)
    start, predict = regions.start_rendering(total)
    begin = 0
    for batch in batches:
        part = slice(begin, begin + len(batch.regions))
        begin = part.stop
        predict_part = functools.partial(predict, regions=part)
        if batch.steps is None:
            logits = predict_pixels(grid[part], batch.num_pixels, predict_part)
        else:
            logits = subdivide_onto(
                grid[part],
                batch.rows,
                batch.columns,
                start[part],
                predict_part,
                num_points=rendering.num_points,
                last_num_points=batch.num_points,
                steps=batch.steps,
                scale_factor=rendering.scale_factor,
            )
        yield batch, logits[:, 0]


def _num_points(batch: ResolutionBatch, rendering: Rendering) -> int:
    """Points of one region of a batch, over all steps."""
    if batch.steps is None:
        return batch.num_pixels
    return batch.steps * rendering.num_points + batch.num_points
