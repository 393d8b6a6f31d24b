# Copyright (c) The mmpointrend authors.
"""Which polygons can be drawn."""

import math
from collections.abc import Iterable, Sequence

import numpy as np

from mmpointrend.errors import InputError

__all__ = ['can_be_drawn', 'check_polygons']

# pycocotools walks along an outline in steps of a fifth of a pixel, and keeps them all. Beyond the first limit its
# integers overflow, an outline of the second takes a few hundred megabytes; no number at all makes it run for ever.
_FARTHEST, _LONGEST = 1e7, 4e6


def can_be_drawn(polygon: Sequence[float] | np.ndarray) -> bool:
    """Whether pycocotools can rasterise a polygon in bounded time and memory.

    Args:
        polygon: Coordinates x1, y1, x2, y2, ... in pixels.

    Returns:
        False for NaN, infinite and very large coordinates, and for outlines of millions of pixels.
    """
    if len(polygon) == 0:
        return True
    # Of lists Python's own functions are faster, of arrays numpy's.
    low, high, total = (
        (polygon.min(), polygon.max(), polygon.sum())
        if isinstance(polygon, np.ndarray)
        else (min(polygon), max(polygon), sum(polygon))
    )
    # The sum is no number if one coordinate is none, whatever the comparisons of min and max make of it.
    if not (low > -_FARTHEST and high < _FARTHEST and math.isfinite(total)):
        return False
    if len(polygon) * (high - low) < _LONGEST:
        return True
    points = np.asarray(polygon[: len(polygon) // 2 * 2], dtype=np.float64).reshape(-1, 2)
    return bool(np.abs(points - np.roll(points, 1, axis=0)).max(axis=1).sum() < _LONGEST)


def check_polygons(masks: Iterable[Iterable[np.ndarray]], image: str) -> None:
    """Refuse masks that pycocotools would draw for ever, or only with a lot of memory.

    Args:
        masks: Polygons of each object, coordinates x1, y1, x2, y2, ... in pixels.
        image: What the message calls the image.

    Raises:
        InputError: A polygon cannot be drawn.
    """
    for number, polygons in enumerate(masks):
        if not all(map(can_be_drawn, polygons)):
            raise InputError(
                f'the mask of object {number} of {image} has coordinates that are not finite, or far '
                'beyond any image: take it out of the annotations, or write it anew in pixels.'
            )
