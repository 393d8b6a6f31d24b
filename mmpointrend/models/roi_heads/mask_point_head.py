# Copyright (c) The mmpointrend authors.
"""Point head of the instance task. R RoIs, P points, C fine and K coarse channels."""

from mmpointrend.models.point_head import POINT_HEAD_RULES, BasePointHead
from mmpointrend.models.roi_heads.point_loss import PointLoss
from mmpointrend.registry import MODELS
from mmpointrend.rules import PART, TRUTH, configured, naming, optional, whole

__all__ = ['MaskPointHead']


@MODELS.register_module()
class MaskPointHead(PointLoss, BasePointHead):
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
        loss_point: See :class:`PointLoss`.
        init_cfg: See :class:`BasePointHead`.

    Raises:
        ConfigError: A key is unknown or out of range, or ``loss_point`` is no loss of points.
    """

    @configured(
        'roi_head.point_head',
        in_channels=whole(1),
        fc_channels=whole(1),
        class_agnostic=TRUTH,
        coarse_channels=optional(whole(1)),
        loss_point=optional(PART),
        **POINT_HEAD_RULES,
    )
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
        with naming('roi_head.point_head.loss_point'):
            self._init_loss(loss_point)
