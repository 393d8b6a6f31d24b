# Copyright (c) The mmpointrend authors.
"""Datasets that cannot be read, or lack images, masks or classes."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmpointrend.engine.checks.names import some_names
from mmpointrend.errors import InputError, PointRendError

__all__ = ['check_dataset', 'leaves', 'naming_the_dataset']

# What mmdet's CocoDataset reads of each entry.
_COCO_KEYS = {
    'images': ('id', 'file_name', 'height', 'width'),
    'annotations': ('id', 'image_id', 'category_id', 'bbox', 'area'),
    'categories': ('id', 'name'),
}


def leaves(dataset: Any) -> Iterator[Any]:
    """Datasets that read files, under any stack of wrappers (repeat, concat, class balance,
    multi-image mix).

    Args:
        dataset: A built dataset, or the config of one.

    Yields:
        The innermost ones.
    """

    def inner(name: str) -> Any:
        return dataset.get(name) if isinstance(dataset, dict) else getattr(dataset, name, None)

    if inner('datasets'):
        for part in inner('datasets'):
            yield from leaves(part)
    elif inner('dataset'):
        yield from leaves(inner('dataset'))
    else:
        yield dataset


@contextmanager
def naming_the_dataset(config: dict[str, Any]) -> Iterator[None]:
    """Turn a failure to build a dataset into a sentence where a file or folder of it is to blame.

    Args:
        config: The dataset's config, with its ``data_root``, ``ann_file`` and ``data_prefix``.

    Raises:
        InputError: A file or folder is missing or unreadable; any other error is passed on as it
            is.
    """
    try:
        yield
    except PointRendError:
        raise
    except Exception as error:
        for leaf in leaves(config):
            complaint = _complaint_about_dataset(leaf)
            if complaint:
                raise InputError(f'{leaf.get("type")}: {complaint}') from error
        # What mmengine says of an empty dataset when it packs the list of its images.
        if 'need at least one array' in str(error):
            raise InputError(_no_image(config)) from error
        raise


def _no_image(config: dict[str, Any]) -> str:
    places = []
    for leaf in leaves(config):
        root = leaf.get('data_root') or ''
        parts = [leaf.get('ann_file'), *(leaf.get('data_prefix') or {}).values()]
        suffix = f' (suffix {leaf["img_suffix"]})' if 'img_suffix' in leaf else ''
        places.append(
            f'{leaf.get("type")} {" and ".join(str(_joined(root, p)) for p in parts if p)}{suffix}'
        )
    return (
        f'no image to use was found in {"; ".join(places)}: check data_root, the suffix, and that '
        'the annotations are of the classes of metainfo.'
    )


def _complaint_about_dataset(config: dict[str, Any]) -> str | None:
    """First file or folder of a dataset's config that cannot be read, as a clause; None where all
    can."""
    root = config.get('data_root') or ''
    annotations = config.get('ann_file') or ''
    if annotations and '://' not in str(annotations):
        path = _joined(root, annotations)
        if not path.exists():
            return f'the annotation file {path} does not exist; set data_root and ann_file.'
        if path.suffix == '.json':
            complaint = _complaint_about_json(path)
            if complaint:
                return complaint
    for kind, folder in (config.get('data_prefix') or {}).items():
        path = _joined(root, folder)
        if folder and '://' not in str(path) and not path.is_dir():
            return f'the folder {path} does not exist; set data_root and data_prefix.{kind}.'
    return None


def _joined(root: str, path: str) -> Path:
    # As mmengine does: a root ending in '/' or not, an absolute path wins.
    return Path(root) / path


def _complaint_about_json(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        return f'the annotation file {path} is damaged or no JSON ({error}); copy it anew.'
    needed = ('images', 'annotations', 'categories')
    lacking = [key for key in needed if not isinstance(content, dict) or key not in content]
    if lacking:
        return f'the annotation file {path} is not in COCO format: it lacks {", ".join(lacking)}.'
    for kind, keys in _COCO_KEYS.items():
        for index, entry in enumerate(content[kind]):
            lacking = [key for key in keys if key not in entry]
            if lacking:
                return (
                    f'entry {index} of {kind} in the annotation file {path} lacks '
                    f'{", ".join(lacking)}.'
                )
    return None


def check_dataset(dataset: Any) -> None:
    """Refuse a COCO dataset whose annotation file lacks some of its classes, or its masks.

    mmdet numbers the categories that are there, so that the labels of all that follow would shift;
    and where ``poly2mask=False`` keeps polygons, it ignores instances that are none.

    Args:
        dataset: A built dataset, other kinds pass.

    Raises:
        InputError: The message names the annotation file.
    """
    for leaf in leaves(dataset):
        if _first_mask_is_dropped(leaf):
            raise InputError(
                f'{type(leaf).__name__}: the masks of the annotation file {leaf.ann_file} are run '
                'lengths, which poly2mask=False in the pipeline drops; write polygons (for '
                'Cityscapes: tools/dataset_converters/cityscapes_to_coco.py) or set poly2mask=True.'
            )
        classes = (getattr(leaf, 'metainfo', None) or {}).get('classes')
        categories = getattr(leaf, 'cat_ids', None)
        if classes and categories is not None and len(categories) != len(classes):
            raise InputError(
                f'{type(leaf).__name__}: the annotation file {leaf.ann_file} has '
                f'{len(categories)} of the {len(classes)} classes {some_names(classes)}; set '
                'metainfo=dict(classes=...) to the names that it has.'
            )


def _first_mask_is_dropped(dataset: Any) -> bool:
    """Whether the pipeline keeps polygons and the first mask that counts is none."""
    steps = getattr(getattr(dataset, 'pipeline', None), 'transforms', None) or []
    if all(getattr(step, 'poly2mask', True) for step in steps):
        return False
    for index in range(len(dataset)):
        for instance in dataset.get_data_info(index).get('instances', []):
            if not instance['ignore_flag']:
                return not isinstance(instance.get('mask'), list)
    return False
