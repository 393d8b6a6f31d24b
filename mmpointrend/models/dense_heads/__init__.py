# Copyright (c) The mmpointrend authors.
"""Heads of others that train on the core's points."""

from mmpointrend.models.dense_heads.mask2former_head import Mask2FormerHead

__all__ = ['Mask2FormerHead']
