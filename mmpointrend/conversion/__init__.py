# Copyright (c) The mmpointrend authors.
"""Configs of other models with PointRend added."""

from mmpointrend.conversion.adding import add_pointrend, convert_config

__all__ = ['add_pointrend', 'convert_config']
