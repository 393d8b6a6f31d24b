# Copyright (c) The mmpointrend authors.
"""Tracing: outlines of a mask with sub-pixel vertices, from the values that the mask was thresholded from.

Coordinates are (x, y) in pixels of the image, edges at whole numbers: pixel i reaches from i to i + 1 and has its
centre at i + 0.5. Lines are straight between the vertices that contourpy's marching squares puts on the lines of a
rectilinear grid. The grid holds the centres of the image's pixels, so that these lie inside exactly if they are in the
mask, and the cells of the rendered map, so that small objects have outlines finer than pixels. An outline that meets
the image's border runs along it.

H and W of the image, h and w of a rendered map.
"""

import itertools
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from contourpy import FillType, contour_generator

__all__ = ['Polygon', 'trace', 'trace_mask', 'trace_on_pixels', 'trace_pasted']

# A probability of 0.5 to within 1e-16 in double precision; beyond it logits say nothing, but upset interpolation.
_SUREST = 40.0
# A box may end at a pixel's centre, which would then lie on the outline instead of inside.
_ROUND_CENTRE = 0.25


@dataclass(frozen=True)
class Polygon:
    """One part of a mask: what lies inside an outline and outside of its holes.

    Attributes:
        outer: Vertices (x, y) of the outline, the first one not repeated; area positive in these coordinates
            (counterclockwise with y upwards, clockwise on the screen). Shape (n, 2), n >= 3.
        holes: Outlines of the holes, area negative, each (m, 2).
    """

    outer: np.ndarray
    holes: tuple[np.ndarray, ...] = ()

    @property
    def rings(self) -> tuple[np.ndarray, ...]:
        """The outline and those of the holes."""
        return (self.outer, *self.holes)


def trace(
    values: np.ndarray, x: np.ndarray, y: np.ndarray, level: float = 0.0
) -> tuple[Polygon, ...]:
    """Trace the region where values reach a level.

    Args:
        values: Values at the crossings of a grid, finite, shape (rows, columns), 2 at least of both.
        x: Ascending coordinates of the columns.
        y: Ascending coordinates of the rows.
        level: The level; values that equal it are inside.

    Returns:
        Parts of the region, closed along the border of the grid.
    """
    # contourpy's lower level is outside.
    rings = _Rings.above(values, x, y, np.nextafter(level, -math.inf))
    return rings.keep(rings.points, rings.points != rings.points[rings.previous]).polygons()


def trace_mask(mask: np.ndarray) -> tuple[Polygon, ...]:
    """Trace a mask of which nothing but its pixels is known, along their edges.

    Args:
        mask: Bool, shape (H, W).

    Returns:
        Parts, with vertices at whole numbers; pixels that meet at a corner only are apart.
    """
    y, x = (np.arange(side + 2) - 0.5 for side in mask.shape)
    # At the level, the middle of four pixels that meet at a corner is not above it.
    rings = _Rings.above(np.pad(mask, 1), x, y, 0.5)
    before, at = rings.points[rings.previous], rings.points
    # Vertices are the middles of the pixels' edges; between one of a vertical and one of a horizontal edge is a corner.
    upright_before, upright = (np.mod(points[:, :1], 1) == 0 for points in (before, at))
    corners = np.where(upright, [1, 0], [0, 1]) * at + np.where(upright, [0, 1], [1, 0]) * before
    return rings.keep(corners, upright != upright_before).polygons()


@dataclass(frozen=True)
class _Rings:
    """Rings of all parts one after the other, so that thousands of them are handled at once.

    Attributes:
        points: Their vertices, shape (n, 2).
        ring: The ring of each vertex, ascending, shape (n,).
        first: The first ring of each part, which is its outline, and behind them the number of rings.
    """

    points: np.ndarray
    ring: np.ndarray
    first: np.ndarray

    @classmethod
    def above(cls, values: np.ndarray, x: np.ndarray, y: np.ndarray, level: float) -> '_Rings':
        """Outlines of the region where values are above a level, by contourpy."""
        inside = values > level
        columns, rows = (np.flatnonzero(inside.any(axis)) for axis in (0, 1))
        if len(columns) == 0:
            return cls(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(1, np.int64))
        # contourpy keeps three numbers in double precision of each crossing.
        across, down = (slice(max(at[0] - 1, 0), at[-1] + 2) for at in (columns, rows))
        generator = contour_generator(
            x[across],
            y[down],
            values[down, across].astype(np.float64),
            fill_type=FillType.ChunkCombinedOffsetOffset,
        )
        # Its types have those of all kinds of answers; there is one chunk.
        filled: Any = generator.filled(level, math.inf)
        (points,), (starts,), (first,) = filled
        if points is None:
            return cls(np.zeros((0, 2)), np.zeros(0, np.int64), np.zeros(1, np.int64))
        ring = np.repeat(np.arange(len(starts) - 1), np.diff(starts.astype(np.int64)))
        # The last vertex of a ring is its first one again.
        is_new = np.append(ring[1:] == ring[:-1], False)
        return cls(points[is_new], ring[is_new], first.astype(np.int64))

    @property
    def previous(self) -> np.ndarray:
        """Index of the vertex before each one in its ring."""
        indices = np.arange(-1, len(self.ring) - 1)
        starts = np.flatnonzero(np.diff(self.ring, prepend=-1))
        indices[starts] = np.append(starts[1:], len(self.ring)) - 1
        return indices

    def keep(self, points: np.ndarray, which: np.ndarray) -> '_Rings':
        """The same rings with other points, of those vertices alone of which ``which`` (n, ...) is somewhere true."""
        kept = which.any(axis=1)
        return _Rings(points[kept], self.ring[kept], self.first)

    def polygons(self) -> tuple[Polygon, ...]:
        """Parts, without rings of no area."""
        counts = np.bincount(self.ring, minlength=self.first[-1])
        ends = np.cumsum(counts)
        rings = [self.points[end - count : end] for end, count in zip(ends, counts, strict=True)]
        return tuple(
            Polygon(rings[outer], tuple(ring for ring in rings[outer + 1 : end] if len(ring) > 2))
            for outer, end in itertools.pairwise(self.first)
            if len(rings[outer]) > 2
        )


def trace_pasted(
    logits: np.ndarray, box: np.ndarray, size: tuple[int, int], threshold: float = 0.5
) -> tuple[Polygon, ...]:
    """Trace a map that covers a box, as mmdet pastes it: probabilities interpolated bilinearly, 0 beyond the box.

    Args:
        logits: Mask logits, shape (h, w).
        box: Box (x1, y1, x2, y2) in pixels of the image; it may reach over its border.
        size: H and W.
        threshold: Probability of the outline, where the logit is ``log(threshold / (1 - threshold))``.

    Returns:
        Parts, inside of the image.
    """
    box = np.asarray(box, np.float64)
    if not np.isfinite(box).all() or (box[2:] <= box[:2]).any():
        return ()
    probabilities = np.pad(_sigmoid(logits), 1)
    x, y = (
        _lines(box[axis], box[axis + 2], logits.shape[1 - axis], size[1 - axis]) for axis in (0, 1)
    )
    if len(x) < 2 or len(y) < 2:
        return ()
    # In units of the padded map's cells.
    across = (x - box[0]) / (box[2] - box[0]) * logits.shape[1] + 0.5
    down = (y - box[1]) / (box[3] - box[1]) * logits.shape[0] + 0.5
    values = _interpolate(_interpolate(probabilities, down).T, across).T
    return trace(values, x, y, threshold)


def _sigmoid(logits: np.ndarray) -> np.ndarray:
    logits = np.nan_to_num(logits.astype(np.float64), nan=-_SUREST).clip(-_SUREST, _SUREST)
    return 1 / (1 + np.exp(-logits))


def _lines(low: float, high: float, cells: int, side: int) -> np.ndarray:
    """Ascending coordinates of the grid's lines on an axis: centres of pixels and of cells, in the image.

    Half a cell beyond the box probabilities are 0.
    """
    pitch = (high - low) / cells
    first, last = max(low - pitch / 2, 0.0), min(high + pitch / 2, float(side))
    if last <= first:
        return np.zeros(0)
    centres = np.arange(math.ceil(first - 0.5), math.floor(last - 0.5) + 1) + 0.5
    knots = low + (np.arange(-1, cells + 1) + 0.5) * pitch
    knots = knots[(knots > first) & (knots < last)]
    return np.unique(np.concatenate([knots, centres, [first, last]]))


def _interpolate(values: np.ndarray, at: np.ndarray) -> np.ndarray:
    """Rows of ``values`` at real-valued positions, linearly."""
    cells = np.floor(at).astype(np.int64).clip(0, len(values) - 2)
    part = (at - cells).clip(0, 1)[:, None]
    return values[cells] * (1 - part) + values[cells + 1] * part


def trace_on_pixels(
    logits: np.ndarray,
    corner: tuple[int, int],
    box: np.ndarray,
    size: tuple[int, int],
    threshold: float = 0.5,
) -> tuple[Polygon, ...]:
    """Trace logits that were rendered at the image's own pixels.

    Args:
        logits: Logits of the pixels whose centres lie in the box, shape (rows, columns).
        corner: Column and row of the first of them.
        box: Box (x1, y1, x2, y2) in pixels of the image, at which the mask ends.
        size: H and W.
        threshold: Probability of the outline.

    Returns:
        Parts, inside of the image.
    """
    level = _logit(threshold)
    if 0 in logits.shape or level == math.inf:
        return ()
    values = np.nan_to_num(logits.astype(np.float64), nan=-_SUREST).clip(-_SUREST, _SUREST)
    lines = []
    for axis, number in enumerate(values.shape[::-1]):
        centres = corner[axis] + np.arange(number) + 0.5
        first = max(min(float(box[axis]), centres[0] - _ROUND_CENTRE), 0)
        last = min(max(float(box[axis + 2]), centres[-1] + _ROUND_CENTRE), size[1 - axis])
        lines.append(np.concatenate([[first], centres, [last]]))
    x, y = lines
    return trace(np.pad(values, 1, mode='edge'), x, y, max(level, -_SUREST))


def _logit(probability: float) -> float:
    if probability >= 1:
        return math.inf
    return math.log(probability / (1 - probability)) if probability > 0 else -math.inf
