# Copyright (c) The mmpointrend authors.
"""What becomes of the annotations of a COCO file: counts by reason of those that mmdet drops.

mmdet's ``CocoDataset`` passes over boxes without extent and over ids that it does not know,
``LoadAnnotations`` over masks that it cannot use, both without a word; text or NaN in a file ends
in an error of something else, or in none at all.
"""

import reprlib
from dataclasses import dataclass
from math import isfinite
from typing import Any

import numpy as np

from mmpointrend.engine.checks.reasons import (
    AREA,
    CATEGORY,
    CROWD,
    DAMAGED_RUNS,
    FAR,
    FLAT,
    IGNORED,
    IMAGE,
    LONG,
    NO_MASK,
    NUMBERS,
    OUTSIDE,
    POLYGON,
    POLYGON_NUMBERS,
    RUN_LENGTHS,
    SIZE_OF_RUNS,
    SMALL,
    UNIT_BOX,
    UNIT_POLYGON,
    Findings,
    Reason,
)
from mmpointrend.errors import InputError
from mmpointrend.run_lengths import is_decodable

__all__ = ['AnnotationUse', 'check_size', 'inspect_annotations', 'pipeline_steps']

# Polygons further out than this many image sides are of something else.
_FAR = 10
# pycocotools takes 80 bytes for each pixel of an outline.
_LONGEST = 2_000_000
# A tuple, which isinstance looks through faster than a union.
_NUMBER = (int, float)


@dataclass(frozen=True)
class AnnotationUse:
    """What a pipeline takes of annotations.

    Args:
        boxes: Whether it loads boxes.
        masks: Whether it loads masks.
        keeps_polygons: Whether masks stay polygons (``poly2mask=False``).
    """

    boxes: bool
    masks: bool
    keeps_polygons: bool

    @classmethod
    def of_pipeline(cls, pipeline: Any) -> 'AnnotationUse':
        """Read off a pipeline what it loads.

        Args:
            pipeline: A composed pipeline; its steps may hold further ones.

        Returns:
            What the loading steps take, together.
        """
        steps = [step for step in pipeline_steps(pipeline) if hasattr(step, 'with_mask')]
        masks = [step for step in steps if step.with_mask]
        return cls(
            any(getattr(step, 'with_bbox', True) for step in steps),
            bool(masks),
            any(not getattr(step, 'poly2mask', True) for step in masks),
        )


def pipeline_steps(step: Any) -> list[Any]:
    """List the steps of a pipeline, and those inside of them.

    Args:
        step: A composed pipeline, or a step that may hold further ones.

    Returns:
        The innermost steps.
    """
    # RandomChoice holds lists of steps.
    inner = step if isinstance(step, list | tuple) else getattr(step, 'transforms', None)
    if not isinstance(inner, list | tuple):
        return [step]
    return [leaf for part in inner for leaf in pipeline_steps(part)]


def inspect_annotations(
    content: dict[str, Any], wanted: set[Any], use: AnnotationUse, file: str
) -> Findings:
    """Look at every annotation of a COCO file.

    Annotations that mmdet would fail on are changed in place, so that it drops them: unreadable
    boxes get ``ignore``, and where masks are loaded a mask that cannot be used becomes None.

    Args:
        content: The file's content, with ``images``, ``annotations`` and ``categories``.
        wanted: Ids of the categories that the dataset takes; annotations of the file's other
            categories do not count.
        use: What the pipeline takes.
        file: Name of the file, for messages.

    Returns:
        The counts.

    Raises:
        InputError: The size of an image that has annotations is not given in numbers.
    """
    images = {image['id']: image for image in content['images']}
    categories = {category['id'] for category in content['categories']}
    findings = Findings()
    # Files of test images have no annotations.
    for annotation in content.get('annotations', []):
        category = annotation['category_id']
        if category not in wanted and category in categories:
            annotation['ignore'] = True
            continue
        findings.total += 1
        reasons = _faults(annotation, images.get(annotation['image_id']), use, file)
        if not reasons and category not in wanted:
            reasons = [CATEGORY]
        if not reasons:
            findings.usable += 1
            continue
        first, *others = reasons
        if first not in findings.first:
            findings.first[first] = f'id {annotation["id"]}{_value(first, annotation)}'
        findings.counts[first] = findings.counts.get(first, 0) + 1
        findings.hidden.update(dict.fromkeys(others))
    return findings


def check_size(image: dict[str, Any], number: Any, file: str) -> None:
    """Refuse an image whose size is not given in numbers.

    Args:
        image: What has its ``width`` and ``height``.
        number: Its id, for the message.
        file: Name of the annotation file, for the message.

    Raises:
        InputError: Its size is something else.
    """
    width, height = image['width'], image['height']
    if not (isinstance(width, _NUMBER) and isinstance(height, _NUMBER)):
        raise InputError(
            f'image id {reprlib.repr(number)} of the annotation file {file} has the size '
            f'{reprlib.repr(width)} x {reprlib.repr(height)}: write width and height as numbers of '
            'pixels.'
        )


def _faults(
    annotation: dict[str, Any], image: dict[str, Any] | None, use: AnnotationUse, file: str
) -> list[Reason]:
    """Why an annotation is dropped, and what would be next; empty if it is used."""
    if image is None:
        return [IMAGE]
    fault = _fault(annotation, image, file)
    if fault is NUMBERS:
        annotation['ignore'] = True
    if fault is NUMBERS or fault is IGNORED:
        return [fault]
    mask = _mask_fault(annotation, image, use.keeps_polygons) if use.masks else None
    # Run lengths are dropped by mmdet itself.
    if mask is not None and mask is not RUN_LENGTHS:
        annotation['segmentation'] = None
    return [reason for reason in (fault, mask) if reason is not None]


def _value(reason: Reason, annotation: dict[str, Any]) -> str:
    """What an annotation holds, where the reason does not say it."""
    if reason is IMAGE:
        return f': image_id {reprlib.repr(annotation["image_id"])}'
    if reason is CATEGORY:
        return f': category_id {reprlib.repr(annotation["category_id"])}'
    return f': {_odd_value(annotation)}' if reason is NUMBERS else ''


def _odd_value(annotation: dict[str, Any]) -> str:
    """Name the first field that is not a number as it should be."""
    for key in ('area', 'iscrowd', 'ignore'):
        value = annotation.get(key, 0)
        if not (isinstance(value, int | float) or (value is None and key != 'area')):
            return f'{key} {reprlib.repr(value)}'
    return f'bbox {reprlib.repr(annotation["bbox"])}'


def _fault(annotation: dict[str, Any], image: dict[str, Any], file: str) -> Reason | None:
    """Why an annotation is dropped, its mask aside, in the order in which mmdet asks."""
    ignored, crowd = annotation.get('ignore'), annotation.get('iscrowd')
    if ignored or crowd:
        # '0' is true, too.
        if isinstance(ignored, str) or isinstance(crowd, str):
            return NUMBERS
        if ignored:
            return IGNORED
    area = annotation['area']
    try:
        x, y, width, height = annotation['bbox']
        if not isfinite(x + y + width + height) or not isinstance(area, _NUMBER):
            return NUMBERS
    except (TypeError, ValueError, OverflowError):
        return NUMBERS
    check_size(image, image['id'], file)
    inside = min(x + width, image['width']) > max(x, 0) and min(y + height, image['height']) > max(
        y, 0
    )
    if width < 1 or height < 1:
        unit = width > 0 and height > 0 and 0 <= x <= 1 and 0 <= y <= 1
        return UNIT_BOX if unit and width <= 1 and height <= 1 else SMALL
    if not inside:
        return OUTSIDE
    if area <= 0:
        return AREA
    return CROWD if crowd else None


def _mask_fault(
    annotation: dict[str, Any], image: dict[str, Any], keeps_polygons: bool
) -> Reason | None:
    """Why a mask cannot be used; None if it can."""
    mask = annotation.get('segmentation')
    if not mask:
        return NO_MASK
    if isinstance(mask, list):
        return _polygon_fault(mask, annotation['bbox'], _FAR * max(image['width'], image['height']))
    if not isinstance(mask, dict):
        return POLYGON_NUMBERS
    size = mask.get('size')
    counts = mask.get('counts')
    if not isinstance(size, list) or not counts or not isinstance(counts, list | str):
        return DAMAGED_RUNS
    if size != [image['height'], image['width']]:
        return SIZE_OF_RUNS
    if not is_decodable(counts, size[0] * size[1]):
        return DAMAGED_RUNS
    return RUN_LENGTHS if keeps_polygons else None


def _polygon_fault(polygons: list[Any], box: list[float], far: float) -> Reason | None:
    if not isinstance(polygons[0], list):
        return FLAT if isinstance(polygons[0], int | float) else POLYGON_NUMBERS
    highest, usable = 0.0, False
    for polygon in polygons:
        if not isinstance(polygon, list):
            return POLYGON_NUMBERS
        # mmdet leaves these out and takes the others.
        if len(polygon) < 6 or len(polygon) % 2:
            continue
        try:
            # Sums and extremes run in C: files have tens of millions of coordinates.
            finite = isfinite(sum(polygon))
            high, low = max(polygon), min(polygon)
        except (TypeError, OverflowError):
            return POLYGON_NUMBERS
        if not finite:
            return POLYGON_NUMBERS
        if high > far or low < -far:
            return FAR
        if len(polygon) * (high - low) > _LONGEST and _length(polygon) > _LONGEST:
            return LONG
        highest, usable = max(highest, high), True
    if not usable:
        return POLYGON
    return UNIT_POLYGON if highest <= 1 and max(box[2:]) > 2 else None


def _length(polygon: list[float]) -> float:
    """Length of a closed outline, of each side the longer of its two extents."""
    points = np.array(polygon, float).reshape(-1, 2)
    return float(np.abs(points - np.roll(points, 1, 0)).max(1).sum())
