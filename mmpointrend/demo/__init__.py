# Copyright (c) The mmpointrend authors.
"""The demo: PointRend against the standard heads on generated pictures."""

from mmpointrend.demo.command import run_demo
from mmpointrend.demo.stages import Options

__all__ = ['Options', 'run_demo']
