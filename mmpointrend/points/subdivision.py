# Copyright (c) The mmpointrend authors.
"""The renderer: adaptive subdivision of a coarse prediction into a fine one (paper, section 3.1 and Figure 4).

R regions (RoIs or images), k channels (1 for a mask), P points, h and w of the coarse, H and W of the fine map.
"""

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.coordinates import grid_points
from mmpointrend.points.selection import select_uncertain
from mmpointrend.points.uncertainty import Uncertainty, logit_uncertainty

__all__ = ['SubdivisionObserver', 'SubdivisionStep', 'steps_to_reach', 'subdivide']


@dataclass(frozen=True)
class SubdivisionStep:
    """What the renderer shows an observer after each step.

    ``index`` is 0 for the coarse prediction, then the number of the step. ``points`` are the points predicted in it,
    (x, y) in ``[0, 1]^2`` of their region, shape (R, P, 2) with P = 0 for the coarse prediction. ``logits`` are the
    region's logits after it, shape (R, k, h, w), the renderer's own: copy what is to be kept.
    """

    index: int
    points: Tensor
    logits: Tensor


SubdivisionObserver = Callable[[SubdivisionStep], None]


def steps_to_reach(coarse_size: int, output_size: int, scale_factor: int = 2) -> int:
    """Number of subdivision steps from a coarse size to an output size.

    Args:
        coarse_size: Side of the coarse prediction in pixels.
        output_size: Side of the output in pixels.
        scale_factor: What each step multiplies the side by, an integer >= 2.

    Returns:
        Number of steps, >= 0.

    Raises:
        ValueError: No number of steps gives ``output_size``.
    """
    size, steps = coarse_size, 0
    while size < output_size:
        size, steps = size * scale_factor, steps + 1
    if size != output_size:
        reachable = [coarse_size * scale_factor**step for step in range(6)]
        raise ValueError(
            f'an output of {output_size} cannot be reached from a coarse prediction of {coarse_size} by steps of '
            f'{scale_factor}: choose one of {", ".join(map(str, reachable))}, ...'
        )
    return steps


def subdivide(
    coarse: Tensor,
    predict_points: Callable[[Tensor], Tensor],
    *,
    num_points: int,
    steps: int,
    scale_factor: int = 2,
    uncertainty: Uncertainty = logit_uncertainty,
    align_corners: bool = False,
    observer: SubdivisionObserver | None = None,
) -> Tensor:
    """Render: upsample, re-predict the N most uncertain pixels, and again.

    A step all of whose pixels the next step predicts anew is not predicted (never the last one): the result is the
    same, for bilinear interpolation of what gets overwritten leaves no trace.

    Args:
        coarse: Coarse logits, shape (R, k, h, w); R may be 0.
        predict_points: Maps points (x, y) in ``[0, 1]^2`` of their region, (R, P, 2), to logits (R, k, P).
        num_points: N, points of one step and region. The paper: 28^2 for a mask, 8096 for an image.
        steps: Number of steps, >= 0. The paper: 5 from 7x7 to 224x224.
        scale_factor: What each step multiplies the sides by, an integer >= 2.
        uncertainty: Maps logits (R, k, H, W) to their uncertainty (R, H, W).
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
        observer: Called with the coarse prediction and after each step.

    Returns:
        Logits, shape (R, k, h * scale_factor**steps, w * scale_factor**steps), in the dtype of ``coarse``.
    """
    logits = coarse
    if observer is not None:
        observer(SubdivisionStep(0, coarse.new_zeros(len(coarse), 0, 2), logits))
    for step in range(1, steps + 1):
        height, width = (side * scale_factor for side in logits.shape[-2:])
        logits = _upsample(logits, height, width, align_corners)
        points = coarse.new_zeros(len(coarse), 0, 2)
        if step == steps or num_points < scale_factor**2 * height * width:
            indices = select_uncertain(uncertainty(logits.float()), num_points)
            points = grid_points(indices, height, width, align_corners)
            values = predict_points(points).to(logits.dtype)
            # In place: `_upsample` has made these logits for this step alone.
            logits.flatten(2).scatter_(2, indices.unsqueeze(1).expand_as(values), values)
        if observer is not None:
            observer(SubdivisionStep(step, points, logits))
    return logits


def _upsample(logits: Tensor, height: int, width: int, align_corners: bool) -> Tensor:
    """Bilinear upsampling into new, contiguous memory; of no regions as well, which ``interpolate`` refuses."""
    if logits.shape[0] == 0:
        return logits.new_zeros(*logits.shape[:2], height, width)
    upsampled = F.interpolate(
        logits, size=(height, width), mode='bilinear', align_corners=align_corners
    )
    return upsampled.contiguous(memory_format=torch.contiguous_format)
