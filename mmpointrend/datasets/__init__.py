# Copyright (c) The mmpointrend authors.
"""Data sets and transforms that mmdet and mmseg do not have."""

from mmpointrend.datasets.shapes import ShapesInstanceDataset, ShapesSemanticDataset

__all__ = ['ShapesInstanceDataset', 'ShapesSemanticDataset']
