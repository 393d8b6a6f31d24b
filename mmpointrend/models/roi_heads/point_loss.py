# Copyright (c) The mmpointrend authors.
"""The point loss of the instance task, which all its point heads have. R RoIs, P points."""

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.scope import scoped

__all__ = ['PointLoss']


class PointLoss:
    """Mixin of a point head: its loss, built by mmdet's registry.

    ``loss_point`` is mmdet's config of a loss that takes (R, 1, P) logits, (R, P) targets and (R,) labels; binary cross
    entropy by default.
    """

    loss_point: nn.Module

    def _init_loss(self, loss_point: dict | None) -> None:
        """Build the loss; to be called once the module is initialised.

        Raises:
            ConfigError: ``loss_point`` is no loss of points.
        """
        loss_cfg = {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 1.0}
        self.loss_point = MMDET_MODELS.build(scoped(loss_point or loss_cfg, 'mmdet'))
        if type(self).loss is PointLoss.loss:
            self._try_loss(loss_point)

    @torch.no_grad()
    def _try_loss(self, loss_point: dict | None) -> None:
        """Refuse a loss that fails on points, or finds nothing wrong (mmdet's DiceLoss) where every point is."""
        # With a device, for a model may be built on the meta device.
        logits = torch.tensor([[[4.0, -4.0, 4.0]], [[-4.0, 4.0, -4.0]]], device='cpu')
        reason = 'it is 0 where every point is wrong'
        try:
            works = bool(self.loss(logits, (logits[:, 0] < 0).float()) > 0)
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            works, reason = False, str(error)
        if not works and getattr(self.loss_point, 'loss_weight', 1) != 0:
            raise ConfigError(
                f'roi_head.point_head.loss_point is {loss_point}, which is no loss of points ({reason}): take '
                "dict(type='CrossEntropyLoss', use_mask=True), without class_weight"
            )

    def loss(self, logits: Tensor, targets: Tensor) -> Tensor:
        """Loss of points of the RoIs' own classes.

        Args:
            logits: Logits, shape (R, 1, P); R may be 0.
            targets: Mask values in [0, 1], shape (R, P).

        Returns:
            Scalar; 0 with a gradient of 0 for every parameter where there is no RoI, so that all ranks of a
            distributed run take part.
        """
        if len(logits) == 0:
            return logits.sum()
        if logits.shape[-1] == 1:
            # mmdet squeezes away a dimension of one point; of the same point twice the mean is the same.
            logits, targets = logits.expand(-1, -1, 2), targets.expand(-1, 2)
        own_class = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return self.loss_point(logits, targets, own_class)
