# Copyright (c) The mmpointrend authors.
"""What all pictures share: figures, colours, coordinates.

Pictures are RGB uint8 (H, W, 3), in and out. Coordinates are image pixels with (0, 0) at the corner
of the first pixel and y downwards, so that a map of any resolution lies where it belongs.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from contourpy import contour_generator
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.patches import Rectangle

__all__ = ['COLOURS', 'Box', 'colours_for']

Box = tuple[float, float, float, float]
"""x1, y1, x2, y2 in image pixels."""

COLOURS = (
    (255, 82, 82),
    (64, 196, 255),
    (255, 215, 64),
    (105, 240, 174),
    (224, 64, 251),
    (255, 145, 0),
    (118, 255, 3),
    (140, 158, 255),
)
"""RGB of the instances of a picture, one after the other."""

ZOOM_COLOURS = ('#ffd740', '#40c4ff', '#ff80ab', '#b2ff59')
"""Frames of the details, in the overview and round the detail."""

_PANEL_INCHES = 2.6
_DPI = 110


def colours_for(count: int, palette: Sequence[Sequence[int]] | None = None) -> np.ndarray:
    """RGB colours (count, 3) in [0, 255]: the palette's, or `COLOURS` over and over."""
    source = palette if palette is not None and len(palette) >= count else COLOURS
    return np.array([source[i % len(source)] for i in range(count)]).reshape(count, 3)


def new_grid(rows: int, columns: int, aspect: float = 1.0) -> tuple[Figure, np.ndarray]:
    """A figure of equal panels.

    Args:
        rows: Number of rows.
        columns: Number of columns.
        aspect: Width of a panel by its height.

    Returns:
        The figure and its axes (rows, columns).
    """
    width = _PANEL_INCHES * max(1.0, aspect) ** 0.5
    size = (columns * width + 0.2, rows * (width / aspect + 0.05) + 0.4)
    engine = ConstrainedLayoutEngine(w_pad=0.03, h_pad=0.03, wspace=0.01, hspace=0.01)
    figure = Figure(figsize=size, layout=engine, dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.subplots(rows, columns, squeeze=False)
    for panel in axes.flat:
        panel.set_xticks([])
        panel.set_yticks([])
    return figure, axes


def to_picture(figure: Figure) -> np.ndarray:
    """Draws a figure: (H, W, 3) RGB uint8."""
    canvas = figure.canvas
    assert isinstance(canvas, FigureCanvasAgg)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def show_image(axes: Axes, image: np.ndarray, view: Box, title: str = '') -> None:
    """Shows the part ``view`` of an image (H, W, 3)."""
    height, width = image.shape[:2]
    axes.imshow(image, extent=(0, width, height, 0), interpolation='nearest')
    axes.set_title(title, fontsize=10)
    set_view(axes, view)


def set_view(axes: Axes, view: Box) -> None:
    """Limits a panel to a part of the image."""
    axes.set_xlim(view[0], view[2])
    axes.set_ylim(view[3], view[1])
    axes.set_aspect('equal', adjustable='box')


def outline_box(axes: Axes, box: Box, colour: str) -> None:
    """Draws the frame of a box."""
    corner, size = box[:2], (box[2] - box[0], box[3] - box[1])
    axes.add_patch(Rectangle(corner, *size, fill=False, color=colour, linewidth=1.6))


def frame_panel(axes: Axes, colour: str) -> None:
    """Colours the frame of a panel."""
    for spine in axes.spines.values():
        spine.set_color(colour)
        spine.set_linewidth(2)


def blend_masks(image: np.ndarray, masks: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Lays masks over a faded image.

    Args:
        image: (H, W, 3) RGB uint8.
        masks: (n, H, W) bool; a later one covers an earlier one.
        colours: (n, 3) RGB in [0, 255].

    Returns:
        (H, W, 3) RGB uint8.
    """
    grey = image.mean(2, keepdims=True)
    picture = 0.45 * grey + 0.15 * image
    for mask, colour in zip(masks, colours, strict=True):
        picture[mask] = 0.35 * image[mask] + 0.65 * colour
    return np.clip(picture, 0, 255).astype(np.uint8)


def draw_contour(axes: Axes, mask: np.ndarray, colour: str | np.ndarray, width: float) -> None:
    """Draws the outline of a mask (H, W) along the edges of its pixels."""
    if not mask.any() or mask.all():
        return
    # Tripling the pixels puts the level 0.5 a sixth of a pixel from their edges, not at their
    # centres; the pad closes outlines at the image's rim.
    fine = np.pad(mask.repeat(3, axis=0).repeat(3, axis=1).astype(np.float32), 1)
    y, x = ((np.arange(side) - 0.5) / 3 for side in fine.shape)
    edge = tuple(np.asarray(colour) / 255) if isinstance(colour, np.ndarray) else colour
    # Not `axes.contour`: the figure would keep its grids, 60 MB for an outline of a small photograph.
    lines: Any = contour_generator(x, y, fine).lines(0.5)
    axes.add_collection(LineCollection(lines, colors=[edge], linewidths=width), autolim=False)
