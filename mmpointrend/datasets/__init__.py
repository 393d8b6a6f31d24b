# Copyright (c) The mmpointrend authors.
"""Data sets that mmdet and mmseg do not have."""

from mmpointrend.datasets.camvid import CamVidDataset
from mmpointrend.datasets.checked_coco import CheckedCocoDataset
from mmpointrend.datasets.coco_stuff import CocoPanopticStuffDataset
from mmpointrend.datasets.shapes import ShapesInstanceDataset, ShapesSemanticDataset

__all__ = [
    'CamVidDataset',
    'CheckedCocoDataset',
    'CocoPanopticStuffDataset',
    'ShapesInstanceDataset',
    'ShapesSemanticDataset',
]
