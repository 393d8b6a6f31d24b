# Copyright (c) The mmpointrend authors.
"""Adapters of the core to OpenMMLab's interfaces."""

from mmpointrend.models.decode_heads import PointRendHead, SemanticPointHead
from mmpointrend.models.dense_heads import Mask2FormerHead
from mmpointrend.models.roi_heads import (
    CascadePointRendRoIHead,
    CoarseMaskHead,
    FCNMaskHead,
    HTCPointRendRoIHead,
    ImplicitPointHead,
    ImplicitPointRendRoIHead,
    MaskPointHead,
    MaskScoringPointRendRoIHead,
    ParameterHead,
    PISAPointRendRoIHead,
    PointRendRoIHead,
    SCNetPointRendRoIHead,
    StandardRoIHead,
)
from mmpointrend.models.segmentor import PointRendSegmentor
from mmpointrend.models.selection import build_selection
from mmpointrend.models.taps import tapped_backbone, tapped_neck
from mmpointrend.models.tta import SegTTAModel

__all__ = [
    'CascadePointRendRoIHead',
    'CoarseMaskHead',
    'FCNMaskHead',
    'HTCPointRendRoIHead',
    'ImplicitPointHead',
    'ImplicitPointRendRoIHead',
    'Mask2FormerHead',
    'MaskPointHead',
    'MaskScoringPointRendRoIHead',
    'PISAPointRendRoIHead',
    'ParameterHead',
    'PointRendHead',
    'PointRendRoIHead',
    'PointRendSegmentor',
    'SCNetPointRendRoIHead',
    'SegTTAModel',
    'SemanticPointHead',
    'StandardRoIHead',
    'build_selection',
    'tapped_backbone',
    'tapped_neck',
]
