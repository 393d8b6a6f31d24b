# Copyright (c) The mmpointrend authors.
"""Adapters of the core to OpenMMLab's interfaces."""

from mmpointrend.models.decode_heads import PointRendHead, SemanticPointHead
from mmpointrend.models.roi_heads import CoarseMaskHead, MaskPointHead, PointRendRoIHead
from mmpointrend.models.selection import build_selection
from mmpointrend.models.tta import SegTTAModel

__all__ = [
    'CoarseMaskHead',
    'MaskPointHead',
    'PointRendHead',
    'PointRendRoIHead',
    'SegTTAModel',
    'SemanticPointHead',
    'build_selection',
]
