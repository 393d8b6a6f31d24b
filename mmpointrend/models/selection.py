# Copyright (c) The mmpointrend authors.
"""The training strategy that a config asks for.

A model's ``train_cfg`` (of an RoI head its ``rcnn`` part) chooses by ``oversample_ratio`` and
``importance_sample_ratio``, the keys that mmdet and mmseg know, or names any strategy as
``point_selection=dict(type='RegularGridSelection')``. A strategy of your own is registered with
``@POINT_SELECTIONS.register_module()`` and needs the ``__call__`` of
:class:`mmpointrend.points.PointSelection`.
"""

import torch
from mmengine.config import ConfigDict

from mmpointrend.errors import ConfigError
from mmpointrend.models.scope import scoped
from mmpointrend.points import (
    BiasedSelection,
    PointSelection,
    RegularGridSelection,
    UniformSelection,
)
from mmpointrend.registry import POINT_SELECTIONS
from mmpointrend.rules import MAX_POINTS, PART, check, naming, number, optional, whole

__all__ = ['build_selection']

_RULES = {
    'num_points': whole(1, MAX_POINTS).needed(),
    'oversample_ratio': number(),
    'importance_sample_ratio': number(),
    'point_selection': optional(PART),
}

for _strategy in (BiasedSelection, RegularGridSelection, UniformSelection):
    POINT_SELECTIONS.register_module(module=_strategy)


def build_selection(train_cfg: ConfigDict, where: str) -> PointSelection:
    """Build the strategy of a train_cfg.

    Args:
        train_cfg: Config with ``num_points`` and either ``point_selection`` or the two ratios.
        where: The config's name for messages, such as 'train_cfg.rcnn'.

    Returns:
        The strategy.

    Raises:
        ConfigError: ``num_points`` is missing or not positive, or the strategy refuses its arguments or
            so many points.
    """
    check(train_cfg, where, _RULES)
    num_points = train_cfg['num_points']
    ratios = {
        key: train_cfg[key]
        for key in ('oversample_ratio', 'importance_sample_ratio')
        if key in train_cfg
    }
    cfg = train_cfg.get('point_selection') or {'type': 'BiasedSelection', **ratios}
    with naming(where, ''):
        selection = POINT_SELECTIONS.build(scoped(cfg, 'mmpointrend'))
        # No region: what the strategy cannot do with so many points it says now, and no random number is drawn.
        selection(0, num_points, lambda points: points[..., 0], torch.device('cpu'))
    candidates = num_points * getattr(selection, 'oversample_ratio', 1)
    if candidates > 4 * MAX_POINTS:
        raise ConfigError(
            f'{where} has {num_points} num_points and an oversample_ratio of {selection.oversample_ratio}: more than '
            f'{4 * MAX_POINTS} candidates per region are not drawn, for lack of memory; lower one of them'
        )
    return selection
