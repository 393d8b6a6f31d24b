# Copyright (c) The mmpointrend authors.
"""Adapters of the core to OpenMMLab's interfaces."""

from mmpointrend.models.decode_heads import PointRendHead, SemanticPointHead
from mmpointrend.models.roi_heads import CoarseMaskHead, MaskPointHead, PointRendRoIHead
from mmpointrend.models.selection import build_selection

__all__ = [
    'CoarseMaskHead',
    'MaskPointHead',
    'PointRendHead',
    'PointRendRoIHead',
    'SemanticPointHead',
    'build_selection',
]
