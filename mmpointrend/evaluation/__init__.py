# Copyright (c) The mmpointrend authors.
"""Metrics of the boundary, and masks on ground-truth boxes."""

from mmpointrend.evaluation.boundary import boundary_width, mask_boundary
from mmpointrend.evaluation.boundary_iou_metric import BoundaryIoUMetric
from mmpointrend.evaluation.coco_boundary_metric import CocoBoundaryMetric
from mmpointrend.evaluation.gt_box import (
    GTBoxMaskMetric,
    GTBoxTestLoop,
    GTBoxValLoop,
    predict_on_gt_boxes,
)

__all__ = [
    'BoundaryIoUMetric',
    'CocoBoundaryMetric',
    'GTBoxMaskMetric',
    'GTBoxTestLoop',
    'GTBoxValLoop',
    'boundary_width',
    'mask_boundary',
    'predict_on_gt_boxes',
]
