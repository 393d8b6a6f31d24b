# Copyright (c) The mmpointrend authors.
"""Implicit PointRend (arXiv 2104.06404) as an RoI head of mmdet.

B images, R RoIs of all images together, C channels of a fine feature level, P points, D parameters of an RoI's MLP.
"""

import math
from collections.abc import Callable
from typing import Any

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.config import ConfigDict
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.checks import fill_in, probe_mask_head
from mmpointrend.models.roi_heads.implicit_point_head import ImplicitPointHead, ParameterHead
from mmpointrend.models.roi_heads.pointrend_roi_head import PointRendRoIHead
from mmpointrend.models.scope import build_part
from mmpointrend.models.selection import build_selection
from mmpointrend.points import ImplicitPredictor, PointPredictor, regular_grid
from mmpointrend.registry import MODELS
from mmpointrend.rules import MAX_POINTS, check, naming, whole

__all__ = ['ImplicitPointRendRoIHead']


@MODELS.register_module()
class ImplicitPointRendRoIHead(PointRendRoIHead):
    """PointRend whose mask head predicts, for each RoI, the parameters of the MLP that predicts its points.

    There is no coarse mask: no coarse loss, nothing to select training points by, and rendering starts from a grid of N
    predicted points, so that N (``test_cfg.subdivision_num_points``) has to be a square number. Otherwise it has the
    config keys of :class:`PointRendRoIHead`, with a :class:`ParameterHead` as ``mask_head`` and an
    :class:`ImplicitPointHead` as ``point_head``.
    """

    def init_mask_head(self, mask_roi_extractor: ConfigDict, mask_head: ConfigDict) -> None:
        """mmdet's hook: the extractor now, the mask head once the point head says how many numbers it needs.

        Args:
            mask_roi_extractor: Config of the mask RoI extractor.
            mask_head: Config of the parameter head.
        """
        self.share_roi_extractor = False
        with naming('roi_head.mask_roi_extractor'):
            self.mask_roi_extractor = MMDET_MODELS.build(mask_roi_extractor)
        self._mask_head_config = mask_head

    def _init_point_head(self, config: ConfigDict) -> int:
        """Build both heads; the side of the grid that rendering starts from."""
        for key, part, kind in (
            ('point_head', config, ImplicitPointHead),
            ('mask_head', self._mask_head_config, ParameterHead),
        ):
            found = MMDET_MODELS.get(part.type) if isinstance(part.type, str) else part.type
            if not (isinstance(found, type) and issubclass(found, kind)):
                raise ConfigError(
                    f"roi_head.{key} is {part.type}: ImplicitPointRendRoIHead needs 'mmpointrend.{kind.__name__}'"
                )
        self.point_head = build_part(config, MMDET_MODELS, 'mmdet', 'roi_head.point_head')
        number = self.point_head.mlp.num_parameters
        filled = fill_in(self._mask_head_config, 'roi_head.mask_head', 'num_parameters', number)
        self.mask_head = build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.mask_head')
        # Says at once what the mask head cannot take.
        probe_mask_head(self.mask_head, self.mask_roi_extractor, self._shared_head)
        if self.train_cfg is not None:
            # No region: a strategy that asks for uncertainties does so now.
            selection = build_selection(self.train_cfg, 'train_cfg.rcnn')
            selection(0, self.train_cfg.num_points, _no_uncertainty, torch.device('cpu'))
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

    @torch.no_grad()
    def _select_training_points(self, coarse: Tensor, labels: Tensor) -> Tensor:
        """Points (R, P, 2) of a training step."""
        return self.point_selection(
            len(labels), self.train_cfg.num_points, _no_uncertainty, labels.device
        )

    def _training_logits(
        self, points: Tensor, fine: Tensor, coarse: Tensor, labels: Tensor
    ) -> Tensor:
        """Logits (R, 1, P) by each RoI's own MLP."""
        return self.point_head(points, [fine], coarse.flatten(1), labels)

    def _make_predictor(
        self,
        levels: tuple[Tensor, ...],
        map_index: Tensor,
        labels: Tensor | None,
        coarse: Tensor,
        **options: Any,
    ) -> PointPredictor:
        """Predictor of points by each RoI's own MLP."""
        return ImplicitPredictor(self.point_head, levels, coarse.flatten(1), map_index, labels)

    def _start_rendering(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        labels: Tensor,
        coarse: Tensor,
        num_points: int,
    ) -> tuple[Tensor, Callable[..., Tensor]]:
        """A predicted grid (R, 1, h, w), and what predicts points."""
        predict = self._point_predictor(x, rois, labels, coarse, num_points)
        side = self._coarse_size
        grid = regular_grid(side, side, rois.device).expand(len(rois), -1, -1)
        return predict(grid).unflatten(2, (side, side)).float(), predict


def _no_uncertainty(points: Tensor) -> Tensor:
    """Refuses: there is no coarse prediction to be unsure about."""
    raise ConfigError(
        'train_cfg.rcnn selects points by uncertainty, which Implicit PointRend does not know: set '
        "point_selection=dict(type='UniformSelection')"
    )
