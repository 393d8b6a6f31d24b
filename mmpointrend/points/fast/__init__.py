# Copyright (c) The mmpointrend authors.
"""What is only speed: nothing here changes a result, but for rounding.

The modules of :mod:`mmpointrend.points` read as the idea, and ask here for a quicker way to one expression or one
class. What stands in for what:

============================================ ===================================================================
:func:`.top_n.largest`                       ``values.topk(number, dim=1).indices``
:func:`.margin.negative_margin`              the second of ``scores.topk(2, dim=1).values`` minus the first
:func:`.rows.sum_rows`                       ``(rows[indices] * weights.unsqueeze(-1)).sum(-2)``
:func:`.in_place.reads_in_place`             False
:class:`.box_sampler.BoxSampler`             ``functools.partial(sample_features, maps, map_index=map_index)``
:class:`.projecting.ProjectingPredictor`     :class:`mmpointrend.points.SamplingPredictor`
:func:`.memory.zeros`                        ``torch.zeros``
============================================ ===================================================================

:mod:`.linear_maps` is the projecting predictor's own. All constants stand in :mod:`.limits`. A test swaps every piece
for what it stands in for, and renders the same masks.
"""
