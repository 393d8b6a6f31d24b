# Copyright (c) The mmpointrend authors.
"""COCO's evaluation by faster-coco-eval, of annotations as they come."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from mmpointrend.evaluation.cocofy import FEDERATED

__all__ = ['evaluate_coco']


def evaluate_coco(
    ground_truth: dict[str, Any],
    predictions: list[dict[str, Any]],
    iou_type: str = 'boundary',
    dilation_ratio: float = 0.02,
    cat_ids: Sequence[int] | None = None,
    img_ids: Sequence[int] | None = None,
    iou_thrs: Sequence[float] | None = None,
    federated: bool = False,
) -> COCOeval_faster:
    """Runs COCO's evaluation, at most 100 detections an image, by faster-coco-eval.

    Args:
        ground_truth: The content of a COCO instance file. It is not changed.
        predictions: COCO results with RLE ``segmentation``; without ``bbox``, so that the sizes
            are those of the masks (``bbox`` alone where ``iou_type`` is ``bbox``). They are not
            changed.
        iou_type: ``boundary`` (the lesser of mask IoU and boundary IoU), ``segm`` or ``bbox``.
        dilation_ratio: Boundary width as a share of the image's diagonal.
        cat_ids: Categories to evaluate; all where None.
        img_ids: Images to evaluate; all where None.
        iou_thrs: IoU thresholds; 0.5 to 0.95 in steps of 0.05 where None.
        federated: LVIS's rules: up to 300 detections an image and category; detections whose
            category is neither annotated nor negative in their image (``neg_category_ids``) are
            dropped, and unmatched ones whose category is not exhaustively annotated there
            (``not_exhaustive_category_ids``) are ignored.

    Returns:
        The evaluator; ``stats`` holds the twelve COCO figures in [0, 1], -1 where there is no
        ground truth; of LVIS's rules ``all_stats`` holds the AP of rare, common and frequent
        categories from 14 on.
    """
    images, categories = (_numbers(ground_truth[kind]) for kind in ('images', 'categories'))
    truth = COCO(
        dict(
            ground_truth,
            images=[
                dict(image, id=images[image['id']], **_lists(image, categories, federated))
                for image in ground_truth['images']
            ],
            categories=[
                # LVIS's figures by frequency need one of every category, which COCO's have not.
                dict(c, id=categories[c['id']], frequency=_frequency(c))
                for c in ground_truth['categories']
            ],
            annotations=list(_renamed(ground_truth.get('annotations', ()), images, categories)),
        )
    )
    evaluator = COCOeval_faster(
        truth,
        truth.loadRes(list(_renamed(predictions, images, categories))),
        iouType=iou_type,
        boundary_dilation_ratio=dilation_ratio,
        lvis_style=federated,
    )
    if federated:
        evaluator.params.maxDets = [300]
    if cat_ids is not None:
        evaluator.params.catIds = [categories[number] for number in cat_ids]
    if img_ids is not None:
        evaluator.params.imgIds = [images[number] for number in img_ids]
    if iou_thrs is not None:
        evaluator.params.iouThrs = np.atleast_1d(iou_thrs)
    evaluator.run()
    return evaluator


def _lists(
    image: dict[str, Any], categories: dict[Any, int], federated: bool
) -> dict[str, list[int]]:
    """LVIS's lists of an image, of categories numbered anew."""
    if not federated:
        return {}
    return {key: [categories[n] for n in image[key] if n in categories] for key in FEDERATED}


def _frequency(category: dict[str, Any]) -> str:
    given = category.get('frequency')
    return given if given in ('r', 'c', 'f') else 'f'


def _numbers(entries: Sequence[dict[str, Any]]) -> dict[Any, int]:
    """A whole number for each id, which faster-coco-eval insists on, in the ids' order."""
    ids = [entry['id'] for entry in entries]
    # Of 64 bits with their sign.
    if all(type(number) is int and abs(number) < 2**63 for number in ids):
        return {number: number for number in ids}
    return {number: place for place, number in enumerate(sorted(ids), 1)}


def _renamed(
    entries: Iterable[dict[str, Any]], images: dict[Any, int], categories: dict[Any, int]
) -> Iterator[dict[str, Any]]:
    """Copies of annotations or results, numbered from 1: an id of 0 is taken for no match."""
    known = (e for e in entries if e['image_id'] in images and e['category_id'] in categories)
    for number, entry in enumerate(known, 1):
        yield dict(
            entry,
            id=number,
            image_id=images[entry['image_id']],
            category_id=categories[entry['category_id']],
        )
