# Copyright (c) The mmpointrend authors.
"""Instance task: PointRend as an RoI head of mmdet."""

from mmpointrend.models.roi_heads.cascade_roi_heads import (
    CascadePointRendRoIHead,
    HTCPointRendRoIHead,
    SCNetPointRendRoIHead,
)
from mmpointrend.models.roi_heads.coarse_mask_head import CoarseMaskHead
from mmpointrend.models.roi_heads.fcn_mask_head import FCNMaskHead
from mmpointrend.models.roi_heads.implicit_point_head import ImplicitPointHead, ParameterHead
from mmpointrend.models.roi_heads.implicit_pointrend_roi_head import ImplicitPointRendRoIHead
from mmpointrend.models.roi_heads.mask_point_head import MaskPointHead
from mmpointrend.models.roi_heads.pointrend_roi_head import PointRendRoIHead
from mmpointrend.models.roi_heads.scoring_roi_heads import (
    MaskScoringPointRendRoIHead,
    PISAPointRendRoIHead,
)
from mmpointrend.models.roi_heads.standard_roi_head import StandardRoIHead

__all__ = [
    'CascadePointRendRoIHead',
    'CoarseMaskHead',
    'FCNMaskHead',
    'HTCPointRendRoIHead',
    'ImplicitPointHead',
    'ImplicitPointRendRoIHead',
    'MaskPointHead',
    'MaskScoringPointRendRoIHead',
    'PISAPointRendRoIHead',
    'ParameterHead',
    'PointRendRoIHead',
    'SCNetPointRendRoIHead',
    'StandardRoIHead',
]
