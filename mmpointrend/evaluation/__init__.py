# Copyright (c) The mmpointrend authors.
"""Metrics of masks and of their boundaries, and masks on ground-truth boxes."""

from mmpointrend.evaluation.ap_star_metric import APStarMetric
from mmpointrend.evaluation.boundary import boundary_width, mask_boundary
from mmpointrend.evaluation.boundary_iou_metric import BoundaryIoUMetric
from mmpointrend.evaluation.cityscapes_metric import CityscapesMetric
from mmpointrend.evaluation.coco_boundary_metric import CocoBoundaryMetric
from mmpointrend.evaluation.gt_box import (
    GTBoxMaskMetric,
    GTBoxTestLoop,
    GTBoxValLoop,
    predict_on_gt_boxes,
)
from mmpointrend.evaluation.lvis_metric import LVISMetric
from mmpointrend.evaluation.trimap_iou_metric import TrimapIoUMetric

__all__ = [
    'APStarMetric',
    'BoundaryIoUMetric',
    'CityscapesMetric',
    'CocoBoundaryMetric',
    'GTBoxMaskMetric',
    'GTBoxTestLoop',
    'GTBoxValLoop',
    'LVISMetric',
    'TrimapIoUMetric',
    'boundary_width',
    'mask_boundary',
    'predict_on_gt_boxes',
]
