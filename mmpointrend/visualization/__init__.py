# Copyright (c) The mmpointrend authors.
"""Pictures of what PointRend does and of what it gains."""

from mmpointrend.visualization.comparison import compare_panels, find_details
from mmpointrend.visualization.hook import SubdivisionVisualizationHook
from mmpointrend.visualization.recording import record_subdivision
from mmpointrend.visualization.subdivision import draw_subdivision, paste_logits, uncertainty_map

__all__ = [
    'SubdivisionVisualizationHook',
    'compare_panels',
    'draw_subdivision',
    'find_details',
    'paste_logits',
    'record_subdivision',
    'uncertainty_map',
]
