# Copyright (c) The mmpointrend authors.
"""PointRend on any model: see :mod:`mmpointrend.conversion`."""

from mmpointrend.conversion import add_pointrend, convert_config

__all__ = ['add_pointrend', 'convert_config']
