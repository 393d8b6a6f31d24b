# Copyright (c) The mmpointrend authors.
"""Pictures of the renderer at work: the map, the points and the uncertainty of every step.

k channels, P points, h and w of a step's map, H and W of the image.
"""

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.axes import Axes
from torch import Tensor

from mmpointrend.points import SubdivisionStep, probability_uncertainty
from mmpointrend.visualization.canvas import (
    Box,
    colours_for,
    new_grid,
    set_view,
    show_image,
    to_picture,
)

__all__ = ['draw_subdivision', 'uncertainty_map']

_MARGIN = 0.06
_POINT_COLOUR = '#ff1744'


def uncertainty_map(logits: Tensor) -> np.ndarray:
    """How unsure a map of logits is, in [0, 1].

    Args:
        logits: (k, h, w).

    Returns:
        (h, w): 1 where the mask's probability is 0.5, or where the two best classes are equally
        probable; 0 where the prediction is certain.
    """
    unsure = probability_uncertainty(logits.unsqueeze(0).float())[0]
    spread = 0.5 if len(logits) == 1 else 1.0
    return (1 + unsure / spread).numpy()


def _colour_map(logits: Tensor, palette: Sequence[Sequence[int]] | None) -> np.ndarray:
    """A step's prediction as (h, w) probability of a mask, or as (h, w, 3) uint8 class colours."""
    if len(logits) == 1:
        return logits[0].float().sigmoid().numpy()
    return colours_for(len(logits), palette)[logits.argmax(0).numpy()].astype(np.uint8)


class _Frame:
    """Where a region's [0, 1]^2 and its maps lie in the image.

    With ``align_corners`` 0 and 1 are the centres of the region's first and last pixel, and the
    cells of a map stick out of it by half a cell.
    """

    def __init__(self, box: Box, align_corners: bool) -> None:
        inset = 0.5 if align_corners else 0.0
        self.corner = np.array(box[:2]) + inset
        self.size = np.array(box[2:]) - box[:2] - 2 * inset
        self.align_corners = align_corners

    def points(self, points: Tensor) -> np.ndarray:
        """Points (P, 2) of the region in image pixels."""
        return self.corner + points.numpy() * self.size

    def extent(self, height: int, width: int) -> tuple[float, float, float, float]:
        """Left, right, bottom, top of a map of (height, width) cells in image pixels."""
        cells = np.array([width, height])
        lost = self.size / np.maximum(cells - 1, 1) / 2 if self.align_corners else np.zeros(2)
        (left, top), (right, bottom) = self.corner - lost, self.corner + self.size + lost
        return left, right, bottom, top


def _scatter(axes: Axes, points: np.ndarray, share: float, colour: str) -> None:
    """Draws points, smaller where they stand close; ``share`` is their distance by the view."""
    size = float(np.clip((150 * share) ** 2, 0.35, 7))
    axes.scatter(points[:, 0], points[:, 1], s=size, c=colour, linewidths=0)


def _title(step: SubdivisionStep) -> str:
    """Resolution and number of points of a step."""
    height, width = step.logits.shape[-2:]
    count = step.points.shape[1]
    if step.index == 0:
        return f'coarse: {width} × {height}'  # noqa: RUF001
    what = f'{count} points' if count else 'none: the next step takes all'
    return f'step {step.index}: {width} × {height}\n{what}'  # noqa: RUF001


def draw_subdivision(
    image: np.ndarray,
    steps: Sequence[SubdivisionStep],
    box: Box | None = None,
    *,
    region: int = 0,
    view: Box | None = None,
    align_corners: bool = False,
    palette: Sequence[Sequence[int]] | None = None,
) -> np.ndarray:
    """Draws the steps of one rendering, side by side.

    Three rows: the step's points over the image; its map, every cell of it as large as it is, with
    the points; the uncertainty of the map, from which the next step takes its points.

    Args:
        image: (H, W, 3) RGB uint8, the original image.
        steps: One rendering, as `record_subdivision` lists them.
        box: The region in image pixels: a detection's box, or None for the whole image.
        region: Which of the rendering's regions.
        view: Part of the image to show; the region with a small margin where None.
        align_corners: The head's convention.
        palette: RGB colours of the classes, for maps of several channels.

    Returns:
        (h, w, 3) RGB uint8, one labelled picture.
    """
    height, width = image.shape[:2]
    whole = box is None
    left, top, right, bottom = (0.0, 0.0, float(width), float(height)) if box is None else box
    frame = _Frame((left, top, right, bottom), align_corners)
    if view is None:
        x, y = (0.0, 0.0) if whole else (_MARGIN * (right - left), _MARGIN * (bottom - top))
        view = (left - x, top - y, right + x, bottom + y)
    aspect = (view[2] - view[0]) / (view[3] - view[1])
    figure, axes = new_grid(3, len(steps), aspect)
    for column, step in zip(axes.T, steps, strict=True):
        logits, points = step.logits[region], frame.points(step.points[region])
        extent = frame.extent(*logits.shape[-2:])
        cell = (extent[1] - extent[0]) / logits.shape[-1] / (view[2] - view[0])
        show_image(column[0], image, view, _title(step))
        maps = (_colour_map(logits, palette), uncertainty_map(logits))
        for panel, values, colours in zip(column[1:], maps, ('gray', 'inferno'), strict=True):
            panel.imshow(
                values, extent=extent, cmap=colours, vmin=0, vmax=1, interpolation='nearest'
            )
            set_view(panel, view)
            panel.set_facecolor('black')
        on_map = _POINT_COLOUR if len(logits) == 1 else 'white'  # classes have colours of their own
        _scatter(column[0], points, cell, _POINT_COLOUR)
        _scatter(column[1], points, cell, on_map)
    for panel, name in zip(axes[:, 0], ('points', 'prediction', 'uncertainty'), strict=True):
        panel.set_ylabel(name, fontsize=10)
    return to_picture(figure)


def paste_logits(logits: Tensor, box: Box, height: int, width: int) -> np.ndarray:
    """Draws a region's mask logits into the image, to show a step as a mask.

    Args:
        logits: (1, h, w).
        box: The region in image pixels.
        height: H of the image.
        width: W of the image.

    Returns:
        (H, W) bool: where the bilinear probability is at least 0.5; False outside of the box.
    """
    x = (torch.arange(width) + 0.5 - box[0]) / max(box[2] - box[0], 1e-6)
    y = (torch.arange(height) + 0.5 - box[1]) / max(box[3] - box[1], 1e-6)
    grid = torch.stack(torch.meshgrid(x, y, indexing='xy'), dim=-1)
    probability = torch.nn.functional.grid_sample(
        logits[None].float().sigmoid(), 2 * grid[None] - 1, align_corners=False,
        padding_mode='border',
    )[0, 0]  # fmt: skip
    inside = ((grid >= 0) & (grid < 1)).all(-1)
    return ((probability >= 0.5) & inside).numpy()
