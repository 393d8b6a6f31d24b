# Copyright (c) The mmpointrend authors.
"""COCO instances whose labels follow names."""

from mmdet.datasets import CocoDataset

from mmpointrend.engine.checks import CheckedAnnotations
from mmpointrend.registry import DATASETS


@DATASETS.register_module()
class CheckedCocoDataset(CheckedAnnotations, CocoDataset):
    """``mmdet.CocoDataset`` whose labels follow ``metainfo['classes']`` and which counts what it
    does not use.

    ``CheckedRunner``, and with it our tools, treats every ``CocoDataset`` so; with other runners
    this type does the same. Takes ``CocoDataset``'s arguments.
    """
