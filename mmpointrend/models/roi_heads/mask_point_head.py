# Copyright (c) The mmpointrend authors.
"""Point head of the instance task. R RoIs, P points, C fine and K coarse channels."""

import torch
from mmdet.registry import MODELS as MMDET_MODELS
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.point_head import BasePointHead
from mmpointrend.models.scope import scoped
from mmpointrend.registry import MODELS

__all__ = ['MaskPointHead']


@MODELS.register_module()
class MaskPointHead(BasePointHead):
    """Foreground logits of points of RoIs (paper, section 3.3), with mmdet's config keys and state-dict names.

    Args:
        num_classes: Number of classes of the dataset.
        num_fcs: Number of hidden layers.
        in_channels: C, over all fine feature levels together.
        fc_channels: Width of the hidden layers.
        class_agnostic: Whether one logit serves all classes; independent of the coarse head's flag.
        coarse_channels: K of the coarse head; the RoI head fills it in, ``num_classes`` otherwise.
        coarse_pred_each_layer: Whether the coarse prediction enters every layer.
        conv_cfg: See :class:`BasePointHead`.
        norm_cfg: See :class:`BasePointHead`.
        act_cfg: See :class:`BasePointHead`.
        loss_point: mmdet's loss config, of a loss that takes (R, 1, P) logits, (R, P) targets and (R,) labels.
        init_cfg: See :class:`BasePointHead`.

    Raises:
        ConfigError: ``loss_point`` is no loss of points.
    """

    def __init__(
        self,
        num_classes: int,
        num_fcs: int = 3,
        in_channels: int = 256,
        fc_channels: int = 256,
        class_agnostic: bool = False,
        coarse_channels: int | None = None,
        coarse_pred_each_layer: bool = True,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        loss_point: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(
            in_channels=in_channels,
            coarse_channels=num_classes if coarse_channels is None else coarse_channels,
            fc_channels=fc_channels,
            out_channels=1 if class_agnostic else num_classes,
            num_fcs=num_fcs,
            coarse_pred_each_layer=coarse_pred_each_layer,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            init_cfg=init_cfg,
        )
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.class_agnostic = class_agnostic
        loss_cfg = {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 1.0}
        self.loss_point = MMDET_MODELS.build(scoped(loss_point or loss_cfg, 'mmdet'))
        if type(self).loss is MaskPointHead.loss:
            self._try_loss(loss_point)

    @torch.no_grad()
    def _try_loss(self, loss_point: dict | None) -> None:
        """Refuse a loss that fails on points, or finds nothing wrong (mmdet's DiceLoss) where every point is."""
        logits = torch.tensor([[[4.0, -4.0, 4.0]], [[-4.0, 4.0, -4.0]]])
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
        own_class = torch.zeros(len(logits), dtype=torch.long, device=logits.device)
        return self.loss_point(logits, targets, own_class)
