# Copyright (c) The mmpointrend authors.
"""Datasets that cannot be read, or lack images, masks or classes."""

import logging
import os
import reprlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mmpointrend.data_files import check_regular, read_json, without_pickles
from mmpointrend.engine.checks.annotations import pipeline_steps
from mmpointrend.engine.checks.coco import checked_config
from mmpointrend.engine.checks.names import (
    complaint_about_classes,
    first_difference,
    near_names,
    only_order_differs,
    some_names,
)
from mmpointrend.errors import InputError, PointRendError

__all__ = ['build_dataset', 'check_dataset', 'leaves', 'naming_the_dataset']

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
        InputError: A file or folder is missing or unreadable, or an annotation file has no end; any
            other error is passed on as it is.
    """
    for leaf in leaves(config):
        _check_end(leaf)
    try:
        yield
    except PointRendError:
        raise
    except Exception as error:
        for leaf in leaves(config):
            complaint = (
                _complaint_about_keys(leaf, error)
                or _complaint_about_dataset(leaf)
                or _complaint_about_subset(leaf, error)
            )
            if complaint:
                raise InputError(f'{leaf.get("type")}: {complaint}') from error
        _refuse_mixed_classes(config, error)
        # What mmengine says of an empty dataset when it packs the list of its images.
        if 'need at least one array' in str(error):
            raise InputError(_no_image(config)) from error
        raise


def build_dataset(config: dict[str, Any]) -> Any:
    """Build a dataset as ``CheckedRunner`` does.

    Args:
        config: The dataset's config.

    Returns:
        The dataset.

    Raises:
        InputError: It cannot be read or used.
    """
    with naming_the_dataset(config), without_pickles(config):
        dataset = DATASETS.build(checked_config(config))
    check_dataset(dataset)
    return dataset


def _check_end(config: dict[str, Any]) -> None:
    """Refuse a pipe or a device as annotations, which would be read for ever."""
    for key, what in (('ann_file', 'the annotation file'), ('proposal_file', 'the proposal file')):
        path = config.get(key) if isinstance(config, dict) else None
        if isinstance(path, str) and path and '://' not in path:
            path = os.path.join(str(config.get('data_root') or ''), path)
            if os.path.exists(path) and not os.path.isdir(path):
                check_regular(path, what)


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


def _complaint_about_keys(config: dict[str, Any], error: Exception) -> str | None:
    """What is wrong with how a dataset's config gives its classes or its folder of images."""
    for key in ('classes', 'CLASSES'):
        if key in config and isinstance(error, TypeError):
            return f'{key} is not read here: write metainfo=dict(classes={config[key]!r}).'
    if isinstance(error, KeyError) and error.args == ('img',):
        return 'data_prefix has no folder of images: set data_prefix=dict(img=...).'
    metainfo = config.get('metainfo')
    if not isinstance(metainfo, dict):
        return None
    classes = metainfo.get('classes')
    # mmengine reads names from a file, one a line.
    if isinstance(classes, str) and Path(classes).is_file():
        return None
    return complaint_about_classes(metainfo)


def _complaint_about_subset(config: dict[str, Any], error: Exception) -> str | None:
    """Which names mmseg does not find among a dataset's own."""
    classes = (config.get('metainfo') or {}).get('classes')
    if not classes or 'subset of classes' not in str(error):
        return None
    known = _own_classes(config)
    unknown = [name for name in classes if name not in known]
    near = near_names(unknown, known)
    instead = f'it has {near}' if near else f'its own are {some_names(known)}'
    return (
        f'metainfo.classes has {some_names(map(repr, unknown))}, but a dataset of this type has '
        f'other classes, and {instead}: take names of its own, or type=BaseSegDataset for label '
        'maps of your own.'
    )


def _own_classes(config: dict[str, Any]) -> tuple[str, ...]:
    kind = config.get('type')
    if isinstance(kind, str):
        with DATASETS.switch_scope_and_registry(config.get('_scope_')) as registry:
            kind = registry.get(kind)
    return tuple(getattr(kind, 'METAINFO', {}).get('classes', ()))


def _refuse_mixed_classes(config: dict[str, Any], error: Exception) -> None:
    """Name the classes that differ where mmengine does not concatenate datasets."""
    if 'meta information' not in str(error) and 'in the meta' not in str(error):
        return
    lists = [(leaf, (leaf.get('metainfo') or {}).get('classes')) for leaf in leaves(config)]
    first, classes = lists[0]
    for leaf, others in lists[1:]:
        if (others or _own_classes(leaf)) != (classes or _own_classes(first)):
            raise InputError(
                f'concatenated datasets have different classes, '
                f'{some_names(classes or _own_classes(first))} and '
                f'{some_names(others or _own_classes(leaf))}: give each the same '
                'metainfo=dict(classes=...), in the same order.'
            ) from error


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
        content = read_json(path)
    except InputError as error:
        return str(error)
    needed = ('images', 'annotations', 'categories')
    lacking = [
        key
        for key in needed
        if not isinstance(content, dict) or not isinstance(content.get(key), list)
    ]
    if lacking:
        return f'the annotation file {path} is not in COCO format: it lacks {", ".join(lacking)}.'
    for kind, keys in _COCO_KEYS.items():
        for index, entry in enumerate(content[kind]):
            where = f'entry {index} of {kind} in the annotation file {path}'
            if not isinstance(entry, dict):
                return f'{where} is {type(entry).__name__} instead of an object.'
            lacking = [key for key in keys if key not in entry]
            # LVIS v1 names images by their address.
            if lacking and (lacking != ['file_name'] or 'coco_url' not in entry):
                return (
                    f'{where} lacks {", ".join(lacking)}: each of {kind} needs {", ".join(keys)}.'
                )
            for key in (key for key in keys if key.endswith('id')):
                if not isinstance(entry[key], int | float | str):
                    return (
                        f'{where} has the {key} {reprlib.repr(entry[key])}: write a whole number.'
                    )
            for key, kinds in (('file_name', str), ('name', str | int | float)):
                if not isinstance(entry.get(key, ''), kinds):
                    return f'{where} has the {key} {reprlib.repr(entry[key])}: write text.'
    return None


def check_dataset(dataset: Any) -> None:
    """Refuse datasets without anything to train on, or whose labels do not mean the classes of
    ``metainfo``.

    mmdet numbers the categories that are there in the file's order, so that labels shift where a
    class is missing; datasets within one loader have to agree.

    Args:
        dataset: A built dataset.

    Raises:
        InputError: The message names the annotation file, or what differs.
    """
    parts = list(leaves(dataset))
    refusals = [refusal for part in parts if (refusal := getattr(part, 'refusal', None))]
    if refusals and len(refusals) == len(parts):
        raise InputError(refusals[0])
    for refusal in refusals:
        print_log(refusal, 'current', logging.WARNING)
    agreed: tuple[str, ...] | None = None
    for leaf in parts:
        metainfo = getattr(leaf, 'metainfo', None) or {}
        complaint = complaint_about_classes(metainfo) or _complaint_about_zero_label(leaf)
        if complaint:
            raise InputError(f'{type(leaf).__name__}: {complaint}')
        classes = metainfo.get('classes')
        if not classes:
            continue
        categories = getattr(leaf, 'cat_ids', None)
        if categories is not None and len(categories) != len(classes):
            raise InputError(
                f'{type(leaf).__name__}: the annotation file {leaf.ann_file} has '
                f'{len(categories)} of the {len(classes)} classes {some_names(classes)}; set '
                'metainfo=dict(classes=...) to the names that it has.'
            )
        agreed = agreed or tuple(classes)
        if only_order_differs(agreed, classes):
            raise InputError(
                f'datasets of one loader have the same classes in different orders, '
                f'{some_names(agreed)} and {some_names(classes)}: '
                f'{first_difference(agreed, classes)}; give each the same '
                'metainfo=dict(classes=...).'
            )


def _complaint_about_zero_label(dataset: Any) -> str | None:
    """Whether mmseg's loading would stop at the first image, since dataset and step disagree."""
    whole = getattr(dataset, 'reduce_zero_label', None)
    for step in pipeline_steps(getattr(dataset, 'pipeline', None)):
        own = getattr(step, 'reduce_zero_label', None)
        if None not in (whole, own) and own != whole:
            return (
                f'reduce_zero_label is {whole} in the dataset, but {own} in the '
                f'{type(step).__name__} of its pipeline: leave it out there, and set the '
                "dataset's to whether label 0 is void."
            )
    return None
