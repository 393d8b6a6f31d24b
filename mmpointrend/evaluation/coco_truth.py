# Copyright (c) The mmpointrend authors.
"""COCO ground truth as evaluators need it: ids that they can take, labels that follow names.

COCO's evaluation marks a match with the id of the annotation and reads 0 as none, so that an
annotation of id 0 is never found. Ids are given anew here, from 1 and in the file's order; nothing
that is printed holds them.
"""

import logging
import reprlib
from collections import Counter
from collections.abc import Sequence
from math import isfinite
from typing import Any

from mmdet.datasets.api_wrappers import COCO
from mmengine.logging import print_log

from mmpointrend.engine.checks.names import some_names, spelled
from mmpointrend.errors import ConfigError, InputError

__all__ = ['category_ids', 'coco_api', 'number_annotations', 'renumber']

_KEYS = {
    'images': ('id',),
    'annotations': ('image_id', 'category_id', 'area'),
    'categories': ('id', 'name'),
}


def number_annotations(content: Any, source: str, *, boxes: bool = False) -> dict[str, Any]:
    """Check the ids and numbers of a COCO file and number its annotations from 1.

    Args:
        content: The file as loaded from JSON; it is changed in place. One without ``annotations``
            has none; an annotation without ``iscrowd`` is not a crowd; sizes of 64.0 are 64.
        source: Path of the file, for messages.
        boxes: Whether boxes are compared, so that every annotation must have one.

    Returns:
        The same content.

    Raises:
        InputError: It is not a COCO file, an entry lacks what evaluation reads, an id occurs twice
            or is not a number or a text, a box, area or iscrowd is not of finite numbers, or no
            annotation is of one of its images.
    """
    if isinstance(content, dict):
        content.setdefault('annotations', [])
    for kind, keys in _KEYS.items():
        entries = content.get(kind) if isinstance(content, dict) else None
        if not isinstance(entries, list):
            raise InputError(
                f'the annotation file {source} is not in COCO format: it has no list of {kind}.'
            )
        for index, entry in enumerate(entries):
            if not isinstance(entry, dict) or any(key not in entry for key in keys):
                lacking = [key for key in keys if not isinstance(entry, dict) or key not in entry]
                raise InputError(
                    f'entry {index} of {kind} in the annotation file {source} lacks '
                    f'{", ".join(lacking)}.'
                )
        _check_ids(entries, kind, source)
    if not all(isinstance(category['name'], str | int) for category in content['categories']):
        raise InputError(f'a category in the annotation file {source} has a name that is not text.')
    _check_numbers(content['annotations'], source, boxes)
    _check_images(content, source)
    for image in content['images']:
        for side in ('height', 'width'):
            # faster-coco-eval takes no 64.0.
            if isinstance(image.get(side), float) and image[side].is_integer():
                image[side] = int(image[side])
    for number, annotation in enumerate(content['annotations'], 1):
        annotation['id'] = number
        # As numbers they overflow the byte that pycocotools has for them.
        annotation['iscrowd'] = int(bool(annotation.get('iscrowd')))
    return content


def _check_numbers(annotations: list[dict[str, Any]], source: str, boxes: bool) -> None:
    """Refuse what evaluation would fail on after all images have been tested."""
    for index, annotation in enumerate(annotations):
        area, crowd = annotation['area'], annotation.get('iscrowd')
        if not _are_finite([area]):
            odd, fix = f'area {reprlib.repr(area)}', 'write a number of square pixels'
        elif crowd is not None and not _are_finite([crowd]):
            odd, fix = f'iscrowd {reprlib.repr(crowd)}', 'write 0 or 1'
        elif boxes and not _is_box(annotation.get('bbox')):
            odd = f'bbox {reprlib.repr(annotation.get("bbox"))}'
            fix = 'write [x, y, width, height] as numbers of pixels'
        elif not isinstance(annotation['category_id'], str | int | float):
            odd = f'category_id {reprlib.repr(annotation["category_id"])}'
            fix = 'write the id of a category'
        else:
            continue
        raise InputError(
            f'entry {index} of annotations in the annotation file {source} has the {odd}: {fix}.'
        )


def _is_box(box: Any) -> bool:
    return isinstance(box, list) and len(box) == 4 and _are_finite(box)


def _are_finite(numbers: list[Any]) -> bool:
    try:
        # A sum of texts is none, and whole numbers beyond floats overflow.
        return isfinite(sum(numbers))
    except (TypeError, OverflowError):
        return False


def _check_ids(entries: list[dict[str, Any]], kind: str, source: str) -> None:
    ids = [entry['id'] for entry in entries if 'id' in entry]
    kinds = {type(number) for number in ids}
    if not (kinds <= {int, float} or kinds == {str}):
        names = ', '.join(sorted(kind.__name__ for kind in kinds))
        raise InputError(
            f'the ids of {kind} in the annotation file {source} are of several types or odd ones '
            f'({names}): write whole numbers.'
        )
    if len(set(ids)) < len(ids):
        number, count = Counter(ids).most_common(1)[0]
        raise InputError(
            f'{count} entries of {kind} in the annotation file {source} have the id {number!r}: '
            'give each an id of its own.'
        )


def _check_images(content: dict[str, Any], source: str) -> None:
    """Tell of annotations whose image is not in the file."""
    images = {image['id'] for image in content['images']}
    try:
        lost = [a['image_id'] for a in content['annotations'] if a['image_id'] not in images]
    except TypeError as error:
        raise InputError(
            f'an image_id in the annotation file {source} is neither a number nor a text.'
        ) from error
    if not lost:
        return
    count = len(content['annotations'])
    clause = (
        f'of the {count} annotations of {source} {len(lost)} are of images that it does not have '
        f'(the first is of {lost[0]!r})'
    )
    if len(lost) == count:
        raise InputError(f'{clause}: make image_id the id of an image, of the same type.')
    print_log(f'{clause}: they do not count.', 'current', logging.WARNING)


def coco_api(content: dict[str, Any]) -> COCO:
    """Index content as mmdet indexes a file.

    Args:
        content: A COCO file as loaded from JSON.

    Returns:
        mmdet's COCO.
    """
    api = COCO()
    api.dataset = content
    api.createIndex()
    # mmdet's other names of these, which it sets when it is made.
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
    return api


def renumber(api: Any, source: str, *, boxes: bool = False) -> None:
    """Number the annotations of a COCO that another metric has read.

    Args:
        api: pycocotools' COCO or one derived from it; it is changed in place.
        source: Path of its file, for messages.
        boxes: Whether boxes are compared.

    Raises:
        InputError: As of `number_annotations`.
    """
    number_annotations(api.dataset, source, boxes=boxes)
    api.createIndex()
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs


def category_ids(
    classes: Sequence[str], categories: list[dict[str, Any]], source: str, *, tell: bool = True
) -> list[Any]:
    """Category id of each class, by name.

    Args:
        classes: The dataset's classes, in the order of labels.
        categories: Those of a COCO file, with ``id`` and ``name``, in any order.
        source: Path of the file, for messages.
        tell: Whether to warn of categories in another order: a dataset may number by them.

    Returns:
        Ids in the order of labels.

    Raises:
        ConfigError: A class is not among the categories.
        InputError: Two categories have the name of a class.
    """
    names = [category['name'] for category in categories]
    counts = Counter(names)
    otherwise = {spelled(name): name for name in names}
    wanted = [name if name in counts else otherwise.get(spelled(name), name) for name in classes]
    missing = [name for name in wanted if name not in counts]
    if missing:
        raise ConfigError(
            f'the annotation file {source} lacks {len(missing)} of the {len(wanted)} classes '
            f'{some_names(missing)}; its categories are {some_names(names)}: set ann_file to the '
            'annotations of the dataset that is tested, or metainfo=dict(classes=...) of that '
            'dataset to names that it has.'
        )
    doubled = [name for name in wanted if counts[name] > 1]
    if doubled:
        raise InputError(
            f'the annotation file {source} has {counts[doubled[0]]} categories named '
            f'{doubled[0]!r}: give each a name of its own.'
        )
    ids = {category['name']: category['id'] for category in categories}
    known = set(wanted)
    by_file = [name for name in names if name in known]
    if tell and by_file != wanted:
        print_log(
            f'The categories of {source} come in another order {some_names(by_file)} than the '
            f'classes {some_names(wanted)}; labels follow the classes by name, which does not fit '
            "a dataset that numbers by the file (mmdet's, unless CheckedRunner builds it).",
            'current',
            logging.WARNING,
        )
    return [ids[name] for name in wanted]
