# Copyright (c) The mmpointrend authors.
"""COCO ground truth for masks: what has none is neither found nor missed.

COCO's evaluation fails on an annotation without a mask after all images have been tested, and its
rasteriser runs for ever along a polygon that leads to infinity.
"""

import logging
import math
from typing import Any

from mmengine.logging import print_log

from mmpointrend.errors import InputError
from mmpointrend.outlines import can_be_drawn
from mmpointrend.run_lengths import is_decodable

__all__ = ['with_masks']

# Masks are compared as run lengths, boundaries as pixels.
_MAX_PIXELS = 2**30


def with_masks(content: dict[str, Any], source: str, margin: float = 0) -> dict[str, Any]:
    """Turn annotations without a mask into crowds that fill their boxes.

    Crowds are neither found nor missed, and detections in them do not count.

    Args:
        content: COCO annotations; it is left as it is.
        source: Path of their file, for messages.
        margin: Width of what is put around an image, as a share of its diagonal, in [0, 1).

    Returns:
        The content, or a copy if an annotation was changed; the log warns of those without masks.

    Raises:
        InputError: No annotation has a mask, or the size of an image is missing.
    """
    sizes = {image['id']: _size(image, margin) for image in content['images']}
    annotations, lost = [], []
    for index, annotation in enumerate(content['annotations']):
        if annotation['image_id'] not in sizes:
            continue
        size = sizes[annotation['image_id']]
        if size is None:
            raise InputError(
                f'the image {annotation["image_id"]!r} in the annotation file {source} has no '
                'height and width that an image can have: write its own.'
            )
        mask = _usable(annotation.get('segmentation'), size)
        if mask is None:
            lost.append(index)
            annotation = _crowd(annotation, size)
        elif mask is not annotation['segmentation']:
            annotation = dict(annotation, segmentation=mask)
        if annotation is not None:
            annotations.append(annotation)
    if not lost:
        same = all(a is b for a, b in zip(annotations, content['annotations'], strict=False))
        return content if same else dict(content, annotations=annotations)
    count = len(content['annotations'])
    clause = (
        f'{len(lost)} of the {count} annotations of {source} have no mask in segmentation that can '
        f'be read, the first is entry {lost[0]}'
    )
    if len(lost) == count:
        raise InputError(
            f"{clause}: leave 'segm' and 'boundary' out of metric, or set ann_file to annotations "
            'with masks.'
        )
    print_log(
        f'{clause}: in the figures of masks they count neither as found nor as missed.',
        'current',
        logging.WARNING,
    )
    return dict(content, annotations=annotations)


def _size(image: dict[str, Any], margin: float) -> tuple[int, int] | None:
    height: Any = image.get('height')
    width: Any = image.get('width')
    for side in (height, width):
        # NaN is not in any range either.
        if not (isinstance(side, int | float) and 1 <= side <= _MAX_PIXELS) or side != int(side):
            return None
    # A margin of a strip is wider than the strip.
    around = 2 * margin * math.hypot(height, width)
    fits = (height + around) * (width + around) <= _MAX_PIXELS
    return (int(height), int(width)) if fits else None


def _usable(mask: Any, size: tuple[int, int]) -> Any:
    """A mask as it is, or its polygons that can be drawn; None if there is nothing of it."""
    if isinstance(mask, dict):
        return mask if _is_run_lengths(mask, size) else None
    if not isinstance(mask, list):
        return None
    polygons = [polygon for polygon in mask if _is_polygon(polygon)]
    return mask if len(polygons) == len(mask) and mask else polygons or None


def _is_run_lengths(mask: dict[str, Any], size: tuple[int, int]) -> bool:
    return mask.get('size') == list(size) and is_decodable(mask.get('counts'), size[0] * size[1])


def _is_polygon(polygon: Any) -> bool:
    """Whether there are three points or more, in numbers that can be drawn."""
    if not isinstance(polygon, list) or len(polygon) < 6 or len(polygon) % 2:
        return False
    return all(type(number) in (int, float) for number in polygon) and can_be_drawn(polygon)


def _crowd(annotation: dict[str, Any], size: tuple[int, int]) -> dict[str, Any] | None:
    """The annotation as a crowd in its box; None if the box is none."""
    height, width = size
    try:
        x, y, w, h = (float(value) for value in annotation['bbox'])
    except (KeyError, TypeError, ValueError, OverflowError):
        return None
    left, right = max(x, 0), min(x + w, width)
    top, bottom = max(y, 0), min(y + h, height)
    # Not so where a number is NaN either.
    if not (left < right and top < bottom):
        return None
    outline = [left, top, right, top, right, bottom, left, bottom]
    return dict(annotation, iscrowd=1, segmentation=[outline])
