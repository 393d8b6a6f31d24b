# Copyright (c) The mmpointrend authors.
"""Semantic task: PointRend as a decode head of mmseg."""

from mmpointrend.models.decode_heads.pointrend_head import PointRendHead
from mmpointrend.models.decode_heads.semantic_point_head import SemanticPointHead
from mmpointrend.models.decode_heads.void_cross_entropy import VoidCrossEntropyLoss

__all__ = ['PointRendHead', 'SemanticPointHead', 'VoidCrossEntropyLoss']
