# Copyright (c) The mmpointrend authors.
"""Predictions of all images as one file of COCO's annotation format."""

import json
import logging
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from tempfile import TemporaryFile
from typing import Any, TextIO

import numpy as np
from mmengine.logging import print_log
from pycocotools import mask as mask_api

from mmpointrend.engine.saving import naming_the_disk
from mmpointrend.errors import printable
from mmpointrend.images import Picture
from mmpointrend.polygons import (
    MOST_RINGS,
    Polygon,
    instance_polygons,
    label_map_polygons,
    to_coco,
)
from mmpointrend.writers.base import Output, Writer, is_semantic, to_array

__all__ = ['CocoWriter', 'PolygonWriter']


class CocoWriter(Writer):
    """Writes ``coco.json``: images, annotations with run lengths, and the categories of the dataset.

    An instance is an annotation with its ``score`` and the box that was predicted, ``[x, y, width, height]``; of a
    label map, each class that occurs is one. ``file_name`` is the path as it was given; frames of a video have its name
    and ``frame_index``. Entries go to the disk as they come, and the file appears when the writer is closed.
    """

    file_name = 'coco.json'

    def __init__(self, output: Output) -> None:
        super().__init__(output)
        with ExitStack() as stack:
            part = stack.enter_context(output.replacing(self.file_name))
            self._annotations: TextIO = stack.enter_context(part.open('x', encoding='ascii'))
            self._images: TextIO = stack.enter_context(TemporaryFile('w+', dir=output.folder))
            self._stack = stack.pop_all()
        self._image_count = self._annotation_count = self._empty_count = 0
        categories = [
            {'id': number, 'name': name, 'supercategory': ''}
            for number, name in zip(output.category_ids, output.classes, strict=False)
        ]
        self._annotations.write(f'{{"categories": {json.dumps(categories)},\n"annotations": [')

    def add(self, picture: Picture, sample: Any) -> None:
        """Write the annotations of an image.

        Args:
            picture: The image.
            sample: Its prediction.
        """
        self._image_count += 1
        height, width = picture.image.shape[:2]
        image = {
            'id': self._image_count,
            'file_name': printable(picture.name),
            'height': height,
            'width': width,
        }
        if picture.frame is not None:
            image['frame_index'] = picture.frame.index
        with naming_the_disk(str(self.output.folder / self.file_name)):
            self._images.write(('' if self._image_count == 1 else ',\n') + json.dumps(image))
            for entry in self._entries(sample):
                self._annotation_count += 1
                entry |= {
                    'id': self._annotation_count,
                    'image_id': self._image_count,
                    'iscrowd': 0,
                }
                self._annotations.write(
                    ('\n' if self._annotation_count == 1 else ',\n') + json.dumps(entry)
                )

    def _entries(self, sample: Any) -> Iterator[dict[str, Any]]:
        """Annotations of an image but for their ids."""
        if is_semantic(sample):
            labels = to_array(sample.pred_sem_seg.data)[0]
            polygons = self._label_map_polygons(sample)
            for label in np.unique(labels).tolist():
                yield self._entry(label, labels == label, polygons.get(label))
            return
        instances = sample.pred_instances
        for label, score, box, mask, parts in zip(
            to_array(instances.labels).tolist(),
            to_array(instances.scores).tolist(),
            to_array(instances.bboxes).tolist(),
            instances.masks,
            self._instance_polygons(sample),
            strict=True,
        ):
            entry = self._entry(label, to_array(mask).astype(bool), parts)
            x1, y1, x2, y2 = box
            entry |= {'bbox': [x1, y1, x2 - x1, y2 - y1], 'score': score}
            yield entry

    def _entry(
        self, label: int, mask: np.ndarray, polygons: Sequence[Polygon] | None
    ) -> dict[str, Any]:
        runs = mask_api.encode(np.asfortranarray(mask, np.uint8))
        segmentation: Any = {'size': runs['size'], 'counts': runs['counts'].decode()}
        if not mask.any():
            self._empty_count += 1
        elif polygons and sum(len(part.rings) for part in polygons) <= MOST_RINGS:
            segmentation = to_coco(polygons)
        return {
            'category_id': self.output.category_id(label),
            'segmentation': segmentation,
            'area': int(mask_api.area(runs)),
            'bbox': mask_api.toBbox(runs).tolist(),
        }

    def _label_map_polygons(self, sample: Any) -> dict[int, tuple[Polygon, ...]]:
        return {}

    def _instance_polygons(self, sample: Any) -> Sequence[tuple[Polygon, ...] | None]:
        return [None] * len(sample.pred_instances)

    def close(self) -> None:
        """Put the file in its place."""
        with self._stack:
            self._annotations.write('],\n"images": [\n')
            self._images.seek(0)
            while chunk := self._images.read(1 << 20):
                self._annotations.write(chunk)
            self._annotations.write(']}\n')
            # The disk may be full, which only now comes out.
            self._annotations.flush()
        if self._empty_count:
            print_log(
                f'{self.output.folder / self.file_name}: {self._empty_count} of {self._annotation_count} '
                'annotations have a mask without a pixel.',
                'current',
                logging.WARNING,
            )


class PolygonWriter(CocoWriter):
    """Writes ``polygons.json``: the same with polygons, see :mod:`mmpointrend.polygons`.

    Masks without a pixel, and those of more than a thousand parts and holes, have run lengths in this file too.
    """

    file_name = 'polygons.json'

    def _label_map_polygons(self, sample: Any) -> dict[int, tuple[Polygon, ...]]:
        return label_map_polygons(sample)

    def _instance_polygons(self, sample: Any) -> Sequence[tuple[Polygon, ...] | None]:
        return instance_polygons(sample)
