# Copyright (c) The mmpointrend authors.
"""LVIS's rules of evaluation, for data sets of which each image tells of some categories only."""

from collections.abc import Iterable, Sequence
from typing import Any

from faster_coco_eval.core.faster_eval_api import COCOeval_faster

from mmpointrend.evaluation.evaluate_coco import evaluate_coco

__all__ = ['evaluate_federated', 'in_scope', 'most_confident']

_MAX_DETECTIONS = 300


def most_confident(records: Iterable[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """The ``count`` records of highest score of each image, the earlier first where scores agree.

    Args:
        records: COCO results.
        count: How many of an image to keep.
    """
    by_image: dict[Any, list[dict[str, Any]]] = {}
    for record in records:
        by_image.setdefault(record['image_id'], []).append(record)
    return [
        record
        for image in by_image.values()
        for record in sorted(image, key=lambda r: r['score'], reverse=True)[:count]
    ]


def in_scope(records: Iterable[dict[str, Any]], truth: dict[str, Any]) -> list[dict[str, Any]]:
    """The records whose category is annotated or negative in their image.

    Of the others LVIS does not say whether they are there.

    Args:
        records: COCO results.
        truth: LVIS annotations.
    """
    known = {image['id']: set(image['neg_category_ids']) for image in truth['images']}
    for annotation in truth['annotations']:
        if annotation['image_id'] in known:
            known[annotation['image_id']].add(annotation['category_id'])
    return [record for record in records if record['category_id'] in known[record['image_id']]]


def evaluate_federated(
    truth: dict[str, Any],
    records: Iterable[dict[str, Any]],
    metric: str,
    *,
    dilation_ratio: float,
    cat_ids: Sequence[int],
    img_ids: Sequence[int],
    iou_thrs: Sequence[float] | None,
) -> COCOeval_faster:
    """Evaluate by LVIS's rules: of each image the 300 most confident detections; those of a
    category that is neither annotated nor negative there are dropped; unmatched ones of a category
    that is not exhaustively annotated there are ignored.

    Args:
        truth: LVIS annotations.
        records: COCO results.
        metric: ``bbox``, ``segm`` or ``boundary``.
        dilation_ratio: Boundary width as a share of the image's diagonal.
        cat_ids: Categories to evaluate.
        img_ids: Images to evaluate.
        iou_thrs: IoU thresholds; 0.5 to 0.95 in steps of 0.05 where None.

    Returns:
        The evaluator; see `evaluate_coco`.
    """
    return evaluate_coco(
        truth,
        # faster-coco-eval would drop those out of scope as well, but fails on an image of which
        # it drops all.
        in_scope(most_confident(records, _MAX_DETECTIONS), truth),
        metric,
        dilation_ratio=dilation_ratio,
        cat_ids=cat_ids,
        img_ids=img_ids,
        iou_thrs=iou_thrs,
        federated=True,
    )
