# Copyright (c) The mmpointrend authors.
"""Samples as detections of supervision, a library to draw, track and count them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from mmdet.structures import DetDataSample
from mmseg.structures import SegDataSample

from mmpointrend.errors import InputError

if TYPE_CHECKING:
    import supervision

__all__ = ['to_supervision']


def to_supervision(
    result: DetDataSample | SegDataSample, classes: Sequence[str] | None = None
) -> supervision.Detections:
    """Turn a sample into ``supervision.Detections``.

    Args:
        result: What :func:`~mmpointrend.apis.predict` returns of an image.
        classes: Names of the classes, such as ``model.dataset_meta['classes']``; they become
            ``data['class_name']``.

    Returns:
        Boxes (x1, y1, x2, y2) in pixels, masks (n, H, W) bool, scores and class numbers of n instances; of a label
        map one detection for each class in it, without scores.

    Raises:
        InputError: supervision is not installed, or the sample has no prediction.
    """
    try:
        import supervision
    except ImportError as error:
        raise InputError(
            'to_supervision needs supervision, which is not installed: pip install '
            '"mmpointrend[supervision]".'
        ) from error
    if 'pred_instances' in result:
        detections = supervision.Detections.from_mmdetection(result.cpu())
        if detections.mask is not None:
            detections.mask = detections.mask.astype(bool)
    elif 'pred_sem_seg' in result:
        labels = result.pred_sem_seg.data[0].cpu().numpy()
        present = np.unique(labels).astype(int)
        masks = labels == present[:, None, None]
        detections = supervision.Detections(
            xyxy=supervision.mask_to_xyxy(masks).astype(np.float32), mask=masks, class_id=present
        )
    else:
        raise InputError('the sample has neither pred_instances nor pred_sem_seg: predict first.')
    if classes is not None and detections.class_id is not None:
        detections.data['class_name'] = np.array(
            [classes[i] for i in detections.class_id], dtype=str
        )
    return detections
