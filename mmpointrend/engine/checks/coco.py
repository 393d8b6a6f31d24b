# Copyright (c) The mmpointrend authors.
"""COCO datasets that say which annotations they lose, and whose labels follow names.

mmdet's ``CocoDataset`` numbers categories in the file's order, whatever order
``metainfo['classes']`` has.
"""

import logging
import sys
from functools import cache
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.registry import DATASETS

from mmpointrend.data_files import read_json
from mmpointrend.engine.checks.annotations import (
    AnnotationUse,
    check_size,
    inspect_annotations,
)
from mmpointrend.engine.checks.names import (
    complaint_about_classes,
    first_difference,
    near_names,
    some_names,
    spelled,
)
from mmpointrend.errors import InputError

__all__ = ['CheckedAnnotations', 'checked_config']


class CheckedAnnotations:
    """Mixin before a ``CocoDataset``: annotations are counted, labels follow names.

    - Annotations that cannot be used are counted by reason, and a warning has the counts. If none
      is left to train on, the dataset is refused; under ``CheckedRunner``, one that is a part of
      others only if none of them has any.
    - An instance without a mask that can be used is ignored in training, as mmdet ignores one whose
      polygons are too short; mmdet itself fails on one without ``segmentation``.
    - Labels are places in ``metainfo['classes']``, in whatever order the file lists its categories.

    A class that parses annotations in a way of its own keeps it; only its labels are seen to.
    """

    # Why there is nothing to train on, if so.
    refusal: str | None = None
    _original: type | None = None
    _counts = True

    def load_data_list(self: Any) -> list[dict[str, Any]]:
        """Load the annotation file.

        Returns:
            A dict for each image.

        Raises:
            InputError: The classes cannot be matched with the file's categories, or no annotation
                is left to train on.
        """
        complaint = complaint_about_classes(self.metainfo)
        if complaint:
            raise InputError(f'{type(self).__name__}: {complaint}')
        self._content, self._use = None, AnnotationUse.of_pipeline(self.pipeline)
        if self.COCOAPI is _stock_api():
            self.COCOAPI = _read_coco
        images = super().load_data_list()  # type: ignore[misc]
        content, self._content = self._content, None
        return self._by_name(images, content) if content else images

    def parse_data_info(self: Any, raw_data_info: dict[str, Any]) -> dict[str, Any]:
        """Parse the annotations of an image.

        Args:
            raw_data_info: The image's entry and its annotations.

        Returns:
            mmdet's dict of the image.

        Raises:
            InputError: See :meth:`load_data_list`.
        """
        if self._content is None:
            # The file's content is there while it is being parsed only, as `coco` or `lvis`.
            api = getattr(self, 'coco', None) or getattr(self, 'lvis', None)
            self._content = getattr(api, 'dataset', {})
            if self._content and self._counts:
                self._inspect(self._use)
        image = super().parse_data_info(raw_data_info)  # type: ignore[misc]
        if self._use.masks and self._counts:
            for instance in image['instances']:
                if 'mask' not in instance:
                    # mmdet's loading takes no polygon for a reason to ignore the instance.
                    instance.update(mask=[], ignore_flag=1)
        return image

    def filter_data(self: Any) -> list[dict[str, Any]]:
        """Filter images as ``filter_cfg`` says.

        Returns:
            The dicts of those that are left.

        Raises:
            InputError: None is left.
        """
        if not self.test_mode and self.filter_cfg is not None:
            for image in self.data_list:
                check_size(image, image['img_id'], self.ann_file)
        kept = super().filter_data()  # type: ignore[misc]
        if self.data_list and not kept:
            raise InputError(
                self.refusal
                or f'{type(self).__name__}: filter_cfg leaves none of {len(self.data_list)} images '
                f'of the annotation file {self.ann_file}: {self._reason_of_filter()}.'
            )
        return kept

    def __reduce_ex__(self, protocol: Any) -> tuple[Any, ...]:
        """Pickle as the class that was mixed into, which a worker can import.

        Args:
            protocol: As in ``pickle``.

        Returns:
            What ``pickle`` rebuilds the dataset from.
        """
        if self._original is None:
            return tuple(super().__reduce_ex__(protocol))
        return _bare, (self._original,), self.__dict__

    def _inspect(self: Any, use: AnnotationUse) -> None:
        _check_ids(self._content, type(self).__name__, self.ann_file)
        findings = inspect_annotations(self._content, set(self.cat_ids), use, self.ann_file)
        if not use.boxes and not use.masks:
            return
        # Files of test images may have annotations that stand for nothing.
        refusal = None if self.test_mode else findings.refusal(self.ann_file)
        self.refusal = refusal and f'{type(self).__name__}: {refusal}'
        if self.refusal and self._original is None:
            raise InputError(self.refusal)
        warning = findings.warning(self.ann_file)
        if warning and not self.refusal:
            print_log(f'{type(self).__name__}: {warning}', 'current', logging.WARNING)

    def _reason_of_filter(self: Any) -> str:
        config = self.filter_cfg
        smallest = config.get('min_size', 0)
        small = sum(min(image['width'], image['height']) < smallest for image in self.data_list)
        reasons = []
        if small:
            reasons.append(f'{small} are smaller than min_size={smallest}')
        if config.get('filter_empty_gt') and small < len(self.data_list):
            reasons.append(
                f'{"the others" if small else "all"} have no annotation of the classes '
                f'{some_names(self.metainfo["classes"])} (filter_empty_gt=True)'
            )
        return ' and '.join(reasons) or 'see the filter of the dataset'

    def _by_name(
        self: Any, images: list[dict[str, Any]], content: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """Give labels the places of their names in the classes."""
        if not self.metainfo.get('classes') or not all(map(_has_labels, images)):
            return images
        classes = [spelled(name) for name in self.metainfo['classes']]
        names = {category['id']: spelled(category['name']) for category in content['categories']}
        found = [names[number] for number in self.cat_ids]
        if found == classes or self.cat2label != {c: i for i, c in enumerate(self.cat_ids)}:
            return images
        where = f'{type(self).__name__}: the annotation file {self.ann_file}'
        lacking = [name for name in classes if name not in found]
        if lacking:
            self._judge_lacking(where, classes, found, list(names.values()), lacking)
            return images
        if len(set(found)) < len(found):
            double = next(name for name in found if found.count(name) > 1)
            raise InputError(f'{where} has several categories named {double!r}: merge them.')
        if [name for name in found if name in set(classes)] != classes:
            print_log(
                f'{where} lists its categories in another order than metainfo.classes, '
                f'{some_names(found)} and {some_names(classes)}: labels follow metainfo.classes '
                "here, while mmdet's own datasets and weights trained with them follow the file.",
                'current',
                logging.WARNING,
            )
        label_of = {found.index(name): label for label, name in enumerate(classes)}
        for image in images:
            image['instances'] = [
                {**instance, 'bbox_label': label_of[instance['bbox_label']]}
                for instance in image['instances']
                if instance['bbox_label'] in label_of
            ]
        self.cat_ids = [self.cat_ids[found.index(name)] for name in classes]
        self.cat2label = {number: label for label, number in enumerate(self.cat_ids)}
        return images

    @staticmethod
    def _judge_lacking(
        where: str, classes: list[str], found: list[str], present: list[str], lacking: list[str]
    ) -> None:
        """Refuse classes that the file lacks, unless labels do not depend on them."""
        moved = any(name in found and found.index(name) != i for i, name in enumerate(classes))
        if len(found) == len(classes) and not moved:
            # LVIS's datasets take every category of the file, whatever its name.
            print_log(
                f'{where} names categories differently than metainfo.classes: '
                f'{first_difference(found, classes)}.',
                'current',
                logging.WARNING,
            )
            return
        near = near_names(lacking, present)
        instead = f'; it has {near}' if near else f', and names {some_names(present)}'
        raise InputError(
            f'{where} has {len(set(found) & set(classes))} of the {len(classes)} classes '
            f'{some_names(classes)}: it lacks {some_names(map(repr, lacking))}{instead}; set '
            'metainfo=dict(classes=...) to the names that it has.'
        )


def _stock_api() -> Any:
    # If nobody has imported mmdet's datasets, nothing is one of them.
    module = sys.modules.get('mmdet.datasets.coco')
    return module and module.CocoDataset.COCOAPI


def _read_coco(path: str) -> Any:
    """Read a file as mmdet's COCO does, but none that has no end, and in whatever locale."""
    # What is not there is an error of the system's, for which `naming_the_dataset` knows the keys.
    Path(path).stat()
    api = _stock_api()()
    api.dataset = read_json(path)
    api.createIndex()
    # mmdet's other names of these.
    api.img_ann_map, api.cat_img_map = api.imgToAnns, api.catToImgs
    return api


def _check_ids(content: dict[str, Any], kind: str, file: str) -> None:
    """Refuse ids that occur twice, by which mmdet mixes up the entries."""
    for part in ('images', 'annotations', 'categories'):
        first: dict[Any, Any] = {}
        double = [
            entry['id']
            for entry in content.get(part, [])
            if first.setdefault(entry['id'], entry) is not entry
            # The same image listed again changes nothing.
            and (part != 'images' or _image_file(first[entry['id']]) != _image_file(entry))
        ]
        if double:
            raise InputError(
                f'{kind}: {len(double)} entries of {part} in the annotation file {file} have the '
                f'id of another one, first {double[0]!r}: give each an id of its own.'
            )


def _has_labels(image: Any) -> bool:
    instances = image.get('instances') if isinstance(image, dict) else None
    return instances is not None and all('bbox_label' in instance for instance in instances)


def _image_file(image: dict[str, Any]) -> Any:
    # LVIS v1 names images by address, and mmdet adds a file name to some.
    return image.get('coco_url', image.get('file_name'))


@cache
def _checked_class(kind: type) -> type:
    parses = kind.parse_data_info  # type: ignore[attr-defined]
    members = dict(
        _original=kind,
        _counts=parses is sys.modules['mmdet.datasets.coco'].CocoDataset.parse_data_info,
        __module__=kind.__module__,
        __doc__=kind.__doc__,
    )
    return type(kind.__name__, (CheckedAnnotations, kind), members)


def _bare(original: type) -> Any:
    kind: Any = _checked_class(original)
    return kind.__new__(kind)


def checked_config(config: Any, scope: str | None = None) -> Any:
    """Let the COCO datasets of a config be built with :class:`CheckedAnnotations`.

    Args:
        config: Config of a dataset, or of wrappers around some.
        scope: Scope in which its type is looked up; None is the default scope.

    Returns:
        A copy in which the types of such datasets are classes; other configs as they are.
    """
    if not isinstance(config, dict) or 'type' not in config:
        return config
    scope = config.get('_scope_', scope)
    copy = config.copy()
    if isinstance(config.get('dataset'), dict):
        copy['dataset'] = checked_config(config['dataset'], scope)
    elif isinstance(config.get('datasets'), list | tuple):
        copy['datasets'] = [checked_config(part, scope) for part in config['datasets']]
    else:
        kind = config['type']
        if isinstance(kind, str):
            with DATASETS.switch_scope_and_registry(scope) as registry:
                kind = registry.get(kind)
        if _is_stock_coco(kind):
            copy['type'] = _checked_class(kind)
    return copy


def _is_stock_coco(kind: Any) -> bool:
    module = sys.modules.get('mmdet.datasets.coco')
    return (
        module is not None
        and isinstance(kind, type)
        and issubclass(kind, module.CocoDataset)
        and not issubclass(kind, CheckedAnnotations)
        # Panoptic files have another format.
        and kind.COCOAPI is _stock_api()  # type: ignore[attr-defined]
    )
