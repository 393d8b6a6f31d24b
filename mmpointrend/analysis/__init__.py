# Copyright (c) The mmpointrend authors.
"""What a model costs, counted without running it on data."""

from mmpointrend.analysis.complexity import Layer, MaskBranch, Step, count_layers, count_mask_branch

__all__ = ['Layer', 'MaskBranch', 'Step', 'count_layers', 'count_mask_branch']
