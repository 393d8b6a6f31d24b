# Copyright (c) The mmpointrend authors.
"""Implicit PointRend (arXiv 2104.06404) as an RoI head of mmdet. R RoIs, D parameters of an RoI's MLP."""

import math
from typing import Any

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.checks import (
    features_of_mask_head,
    fill_in,
    probe_mask_head,
    type_of,
)
from mmpointrend.models.roi_heads.implicit_point_head import ImplicitPointHead, ParameterHead
from mmpointrend.models.roi_heads.mask_sources import ImplicitSource, MaskSource
from mmpointrend.models.roi_heads.pointrend_roi_head import PointRendRoIHead
from mmpointrend.models.scope import build_part
from mmpointrend.models.selection import build_selection
from mmpointrend.registry import MODELS
from mmpointrend.rules import MAX_POINTS, check, whole

__all__ = ['ImplicitPointRendRoIHead']


@MODELS.register_module()
class ImplicitPointRendRoIHead(PointRendRoIHead):
    """PointRend whose mask head predicts, for each RoI, the parameters of the MLP that predicts its points.

    There is no coarse mask: no coarse loss, nothing to select training points by, and rendering starts from a grid of N
    predicted points, so that N (``test_cfg.subdivision_num_points``) has to be a square number. Otherwise it has the
    config keys of :class:`PointRendRoIHead`, with a :class:`ParameterHead` as ``mask_head`` and an
    :class:`ImplicitPointHead` as ``point_head``.
    """

    def _build_mask_head(self, config: ConfigDict, stage: int = 0) -> Any:
        """Nothing yet: the point head says how many numbers the mask head predicts."""
        self._mask_head_config = config

    def _init_point_head(self, config: ConfigDict) -> int:
        """Build both heads; the side of the grid that rendering starts from."""
        for key, part, kind in (
            ('point_head', config, ImplicitPointHead),
            ('mask_head', self._mask_head_config, ParameterHead),
        ):
            if not issubclass(type_of(part), kind):
                raise ConfigError(
                    f"roi_head.{key} is {part.type}: ImplicitPointRendRoIHead needs 'mmpointrend.{kind.__name__}'"
                )
        self.point_head = build_part(config, MMDET_MODELS, 'mmdet', 'roi_head.point_head')
        channels, height, width = features_of_mask_head(self.mask_roi_extractor, self._shared_head)
        known = ConfigDict(
            {'in_channels': channels, 'roi_feat_size': (height, width), **self._mask_head_config}
        )
        number = self.point_head.mlp.num_parameters
        filled = fill_in(known, 'roi_head.mask_head', 'num_parameters', number)
        self.mask_head = build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.mask_head')
        # Says at once what the mask head cannot take.
        probe_mask_head(self.mask_head, self.mask_roi_extractor, self._shared_head)
        if self.test_cfg is None:
            return 1
        if self.test_cfg.get('refine_min_cells', 0) > 0:
            raise ConfigError(
                f'test_cfg.rcnn.refine_min_cells is {self.test_cfg.refine_min_cells}: Implicit PointRend has no coarse '
                'mask that small boxes could keep, so leave it out'
            )
        rule = {'subdivision_num_points': whole(1, MAX_POINTS).needed()}
        check(self.test_cfg, 'test_cfg.rcnn', rule)
        num_points = self.test_cfg['subdivision_num_points']
        side = math.isqrt(num_points)
        if side * side != num_points:
            raise ConfigError(
                f'test_cfg.rcnn.subdivision_num_points is {num_points}: rendering starts from a square grid of so many '
                f'points, so set it to a square number, such as {side * side}'
            )
        return side

    def _fill_in_targets(self, train_cfg: ConfigDict, mask_head: Any, where: str) -> ConfigDict:
        """The settings as they are: parameters have no targets. A strategy that asks for uncertainties is refused."""
        source = self._source(torch.zeros(0, 1, 1, 1), None)
        selection = build_selection(train_cfg, where)
        # No region: it asks now, or never.
        selection(0, train_cfg['num_points'], source.uncertainty, torch.device('cpu'))
        return train_cfg

    def _source(self, outputs: Tensor, labels: Tensor | None) -> MaskSource:
        """Where point logits come from, given the RoIs' parameters (R, D, 1, 1) and classes."""
        return ImplicitSource(self.point_head, outputs, labels, self._coarse_size)
