# Copyright (c) The mmpointrend authors.
"""Label maps that do not fit their image, or the classes of the head."""

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from torch import nn

from mmpointrend.engine.checks.dataset import leaves
from mmpointrend.engine.checks.images import described_size, orientation
from mmpointrend.engine.checks.pipelines import all_steps, follows_unknown_step
from mmpointrend.errors import InputError, PointRendError

__all__ = ['LabelMapCheck', 'LabelRange', 'watch_labels']

# Label maps that are looked at when a dataset is built, and how many where none of these has a class other than 0.
_SAMPLE, _LARGE_SAMPLE = 8, 64


@dataclass(frozen=True)
class LabelRange:
    """Labels that a semantic head can be trained on.

    Attributes:
        num_classes: Number of classes K; labels are 0 to K - 1.
        ignored: Labels that losses, or metrics, leave out.
    """

    num_classes: int
    ignored: frozenset[int]

    @classmethod
    def of_model(cls, model: nn.Module) -> 'LabelRange | None':
        """Read the range from the decode head of a model.

        Args:
            model: The model, wrapped or not.

        Returns:
            The range; None for models without a decode head, or with one that does not say.
        """
        head = getattr(model.module if is_model_wrapper(model) else model, 'decode_head', None)
        if isinstance(head, nn.ModuleList) and len(head) > 0:
            head = head[-1]
        classes, ignored = (getattr(head, name, None) for name in ('num_classes', 'ignore_index'))
        if not isinstance(classes, int) or not isinstance(ignored, int):
            return None
        # One channel tells two classes apart, whether the config says num_classes=1 or 2.
        if getattr(head, 'out_channels', None) == 1:
            classes = 2
        return cls(classes, frozenset([ignored]))

    def ignoring(self, labels: Iterable[int]) -> 'LabelRange':
        """Leave out more labels.

        Args:
            labels: The labels.

        Returns:
            The larger range.
        """
        return LabelRange(self.num_classes, self.ignored.union(labels))

    def complaint(self, path: str, labels: np.ndarray) -> str | None:
        """Look for a label out of range.

        Args:
            path: Path of the label map, for the message.
            labels: Its labels, of any shape.

        Returns:
            A sentence that names file, label and the fix; None if all labels are in range.
        """
        # The maximum alone is many times faster, and enough for maps without void.
        if labels.size == 0 or (labels.dtype == np.uint8 and labels.max() < self.num_classes):
            return None
        wrong = labels >= self.num_classes
        if labels.dtype.kind != 'u':
            wrong |= labels < 0
        for label in self.ignored:
            wrong &= labels != label
        if not wrong.any():
            return None
        ignored = ' and '.join(map(str, sorted(self.ignored)))
        return (
            f'the label map {path} holds label {labels[wrong][0]}, but the head has '
            f'{self.num_classes} classes (labels 0 to {self.num_classes - 1}) and leaves out '
            f'{ignored}: map the label in the pipeline, or set num_classes.'
        )


class LabelMapCheck:
    """A step of a pipeline that refuses label maps that do not fit.

    It looks at each map whenever it is read, before any crop.

    Args:
        is_late: Whether steps before this one may have resized image and map together.

    Attributes:
        labels: Labels that the head knows; None leaves them unchecked.
    """

    def __init__(self, is_late: bool = False) -> None:
        self.is_late = is_late
        self.labels: LabelRange | None = None

    def __call__(self, results: dict[str, Any] | None) -> dict[str, Any] | None:
        """Look at the label map of one sample.

        Args:
            results: Dict of the sample; one without ``gt_seg_map`` (H, W) passes.

        Returns:
            The same dict.

        Raises:
            InputError: The map has several channels, another size than its image, or labels out of range.
        """
        if isinstance(results, dict) and isinstance(results.get('gt_seg_map'), np.ndarray):
            complaint = self._complaint(results, results['gt_seg_map'])
            if complaint is not None:
                raise InputError(complaint)
        return results

    def _complaint(self, results: dict[str, Any], labels: np.ndarray) -> str | None:
        path = results.get('seg_map_path') or f'of {results.get("img_path")}'
        if labels.ndim > 2:
            return _complaint_about_channels(path, labels)
        complaint = _complaint_about_size(results, path, labels, self.is_late)
        if complaint is None and self.labels is not None:
            complaint = self.labels.complaint(path, labels)
        return complaint

    def __repr__(self) -> str:
        return f'{type(self).__name__}({self.labels})'


def _complaint_about_channels(path: str, labels: np.ndarray) -> str:
    channels = labels.shape[-1]
    colours = labels[..., :3] if channels > 2 else labels[..., :1]
    if (colours == colours[..., :1]).all():
        return (
            f'the label map {path} has {channels} channels, of which the first holds the labels: '
            'write it anew with that channel alone.'
        )
    return (
        f'the label map {path} is a picture of {channels} channels, but one number per pixel is '
        "needed: write the number of each pixel's class in a single channel (a PNG with a palette "
        "is read as numbers with imdecode_backend='pillow' in LoadAnnotations)."
    )


def _complaint_about_size(
    results: dict[str, Any], path: str, labels: np.ndarray, is_late: bool
) -> str | None:
    """A sentence if the map has not the size of the image as it was read, or as it is now."""
    shapes = [results.get('ori_shape')]
    if is_late:
        shapes.append(getattr(results.get('img'), 'shape', None))
    sizes = {tuple(shape[:2]) for shape in shapes if shape is not None}
    # LoadAnnotations drops sides of one pixel.
    shape = labels.shape + (1,) * (2 - labels.ndim)
    if not sizes or shape in sizes or (1 in shape and shape[::-1] in sizes):
        return None
    whole = results['ori_shape'] if 'ori_shape' in results else results['img'].shape
    image_path = results.get('img_path')
    turned = ''
    fix = 'take the map that belongs to the image, or scale it to the size of the image (nearest neighbour)'
    if shape == tuple(whole[1::-1]) and orientation(image_path) > 4:
        turned = f', turned by its EXIF orientation {orientation(image_path)}'
        fix = (
            "set color_type='color_ignore_orientation' in LoadImageFromFile, or save the image "
            'upright and without EXIF'
        )
    return (
        f'the label map {path} is {described_size(shape)} pixels, its image {image_path} '
        f'{described_size(whole)}{turned}: {fix}.'
    )


def watch_labels(dataset: Any, labels: LabelRange, loader: str) -> None:
    """Tell the checks in a dataset's pipelines what labels the head knows.

    It warns of datasets whose label maps, as far as a sample shows, hold class 0 and void alone,
    such as masks of 0 and 255 where 255 is void.

    Args:
        dataset: A built dataset, its pipelines checked by ``name_files_on_loading``.
        labels: Labels that the head knows.
        loader: Name of the data loader in the config, for the message.
    """
    for leaf in leaves(dataset):
        steps = list(all_steps(leaf))
        for step in steps:
            if isinstance(step, LabelMapCheck):
                step.labels = labels
        if labels.num_classes > 1:
            _warn_of_void(leaf, labels, loader)


def _warn_of_void(leaf: Any, labels: LabelRange, loader: str) -> None:
    load = next((s for s in all_steps(leaf) if getattr(s, 'loads_label_maps', False)), None)
    # Steps of others may yet change labels.
    if load is None or follows_unknown_step(leaf) or not hasattr(leaf, 'get_data_info'):
        return
    looked_at: set[int] = set()
    found: set[int] = set()
    for size in (_SAMPLE, _LARGE_SAMPLE):
        for index in np.linspace(0, len(leaf) - 1, min(size, len(leaf))).astype(int).tolist():
            if index in looked_at:
                continue
            looked_at.add(index)
            seen = _labels_in(leaf, load, index)
            if seen is None:
                return
            found.update(seen)
            # The first map ends this in nearly all datasets: it has a class other than 0.
            if found - {0} - labels.ignored:
                return
    void = found & labels.ignored - {0}
    # Of test sets whose truth is kept secret all is void.
    if not void or (found == void and loader == 'test_dataloader'):
        return
    number = min(void)
    example = leaf.get_data_info(min(looked_at)).get('seg_map_path')
    print_log(
        f'{loader}: the {len(looked_at)} label maps that were looked at, of {len(leaf)}, hold label '
        f'{" and ".join(map(str, sorted(found)))} alone, and {number} is void (ignore_index), which '
        f'losses and metrics leave out, such as {example}; if {number} marks a class, write the '
        'number of the class, such as 1, in the files instead.',
        'current',
        logging.WARNING,
    )


def _labels_in(leaf: Any, load: Any, index: int) -> set[int] | None:
    """Labels of one map; None if it is none, or the dataset adds something of its own before it is read."""
    try:
        labels = load(leaf.get_data_info(index)).get('gt_seg_map')
    except PointRendError:
        raise
    except Exception:
        return None
    if not isinstance(labels, np.ndarray) or labels.ndim != 2 or labels.dtype.kind not in 'ui':
        return None
    return set(np.unique(labels).tolist())
