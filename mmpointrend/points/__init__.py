# Copyright (c) The mmpointrend authors.
"""The core of PointRend, for any region and any framework: it needs torch and nothing else.

Three parts (paper, section 3): *point selection* (:mod:`.selection`, :mod:`.uncertainty`), *point features*
(:mod:`.coordinates`, :mod:`.sampling`) and the *point head* (:mod:`.mlp`); :mod:`.subdivision` renders with them,
:mod:`.output_grid` on the output's own pixels, by what :mod:`.predictor` predicts. In :mod:`.implicit` every region has
a point head of its own. What is only speed has a room of its own, :mod:`.fast`.
What differs between instance and semantic segmentation enters as an argument.
"""

from mmpointrend.points.coordinates import (
    extent,
    grid_points,
    map_points_to_pixels,
    regular_grid,
    roi_points_to_image,
)
from mmpointrend.points.fast.box_sampler import BoxSampler, covered_cells
from mmpointrend.points.fast.memory import zeros
from mmpointrend.points.fast.projecting import ProjectingPredictor
from mmpointrend.points.fast.rows import sum_rows as sample_rows
from mmpointrend.points.implicit import ImplicitPredictor, InstanceMLP, PositionalEncoding
from mmpointrend.points.mlp import PointMLP
from mmpointrend.points.output_grid import (
    OutputGrid,
    ResolutionBatch,
    batches_by_resolution,
    predict_pixels,
    subdivide_onto,
)
from mmpointrend.points.predictor import (
    PointPredictor,
    SamplingPredictor,
    point_predictor,
)
from mmpointrend.points.runs import as_crops, run_changes
from mmpointrend.points.sampling import (
    bilinear_corners,
    map_corners,
    sample_features,
    sample_labels,
    sample_masks,
    sample_windows,
)
from mmpointrend.points.selection import (
    BiasedSelection,
    PointSelection,
    RegularGridSelection,
    UniformSelection,
    select_uncertain,
)
from mmpointrend.points.subdivision import (
    SubdivisionObserver,
    SubdivisionStep,
    steps_to_reach,
    subdivide,
)
from mmpointrend.points.uncertainty import (
    UNCERTAINTIES,
    Uncertainty,
    logit_uncertainty,
    probability_uncertainty,
)

__all__ = [
    'UNCERTAINTIES',
    'BiasedSelection',
    'BoxSampler',
    'ImplicitPredictor',
    'InstanceMLP',
    'OutputGrid',
    'PointMLP',
    'PointPredictor',
    'PointSelection',
    'PositionalEncoding',
    'ProjectingPredictor',
    'RegularGridSelection',
    'ResolutionBatch',
    'SamplingPredictor',
    'SubdivisionObserver',
    'SubdivisionStep',
    'Uncertainty',
    'UniformSelection',
    'as_crops',
    'batches_by_resolution',
    'bilinear_corners',
    'covered_cells',
    'extent',
    'grid_points',
    'logit_uncertainty',
    'map_corners',
    'map_points_to_pixels',
    'point_predictor',
    'predict_pixels',
    'probability_uncertainty',
    'regular_grid',
    'roi_points_to_image',
    'run_changes',
    'sample_features',
    'sample_labels',
    'sample_masks',
    'sample_rows',
    'sample_windows',
    'select_uncertain',
    'steps_to_reach',
    'subdivide',
    'subdivide_onto',
    'zeros',
]
