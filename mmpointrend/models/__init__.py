# Copyright (c) The mmpointrend authors.
"""Adapters of the core to OpenMMLab's interfaces."""

from mmpointrend.models.decode_heads import PointRendHead, SemanticPointHead
from mmpointrend.models.dense_heads import Mask2FormerHead
from mmpointrend.models.roi_heads import (
    CoarseMaskHead,
    FCNMaskHead,
    ImplicitPointHead,
    ImplicitPointRendRoIHead,
    MaskPointHead,
    ParameterHead,
    PointRendRoIHead,
    StandardRoIHead,
)
from mmpointrend.models.selection import build_selection
from mmpointrend.models.taps import tapped_backbone, tapped_neck
from mmpointrend.models.tta import SegTTAModel

__all__ = [
    'CoarseMaskHead',
    'FCNMaskHead',
    'ImplicitPointHead',
    'ImplicitPointRendRoIHead',
    'Mask2FormerHead',
    'MaskPointHead',
    'ParameterHead',
    'PointRendHead',
    'PointRendRoIHead',
    'SegTTAModel',
    'SemanticPointHead',
    'StandardRoIHead',
    'build_selection',
    'tapped_backbone',
    'tapped_neck',
]
