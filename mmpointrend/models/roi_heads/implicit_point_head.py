# Copyright (c) The mmpointrend authors.
"""Heads of Implicit PointRend (arXiv 2104.06404): one predicts the parameters of each RoI's MLP, one uses them.

R RoIs, P points, C_l channels of a fine feature level, D parameters of an RoI.
"""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

from mmcv.cnn import ConvModule
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.model import BaseModule
from torch import Tensor, nn

from mmpointrend.models.roi_heads.coarse_mask_head import COARSE_HEAD_INIT, COARSE_LAYER_RULES
from mmpointrend.models.roi_heads.point_loss import PointLoss
from mmpointrend.points import InstanceMLP, PositionalEncoding
from mmpointrend.registry import MODELS
from mmpointrend.rules import (
    INIT,
    MAX_POINTS,
    MOST_LAYERS,
    PART,
    TRUTH,
    check_size,
    configured,
    naming,
    number,
    optional,
    whole,
)

__all__ = ['ImplicitPointHead', 'ParameterHead']


@MODELS.register_module()
class ParameterHead(BaseModule):
    """The layers of the coarse mask head, with D parameters in the place of a mask, as one pixel (R, D, 1, 1).

    Args:
        num_parameters: D; the RoI head fills it in.
        l2_weight: Weight of the mean square of the parameters as a loss.
        num_convs: Number of convolutions.
        num_fcs: Number of fully connected layers before the last one.
        in_channels: Channels of the RoI features.
        conv_kernel_size: Side of the convolutions.
        conv_out_channels: Channels of the convolutions.
        fc_out_channels: Channels of the fully connected layers.
        roi_feat_size: Height and width of the RoI features, or both in one.
        downsample_factor: What a convolution divides these by; 1 leaves it out.
        conv_cfg: mmcv's.
        norm_cfg: mmcv's.
        init_cfg: mmengine's; by default detectron2's initialisation.

    Raises:
        ConfigError: A key is unknown or out of range, or the head would not fit in memory.
    """

    # All that mmdet's pasting of masks asks of a mask head.
    class_agnostic = True
    _predict_by_feat_single = FCNMaskHead._predict_by_feat_single

    @configured(
        'roi_head.mask_head', num_parameters=whole(1), l2_weight=number(0), **COARSE_LAYER_RULES
    )
    def __init__(
        self,
        num_parameters: int,
        l2_weight: float = 1e-5,
        num_convs: int = 0,
        num_fcs: int = 2,
        in_channels: int = 256,
        conv_kernel_size: int = 3,
        conv_out_channels: int = 256,
        fc_out_channels: int = 1024,
        roi_feat_size: int | Sequence[int] = 14,
        downsample_factor: int = 2,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(COARSE_HEAD_INIT if init_cfg is None else init_cfg)
        sides = [roi_feat_size] * 2 if isinstance(roi_feat_size, int) else list(roi_feat_size)
        self.in_channels, self.roi_feat_size, self.l2_weight = in_channels, sides, l2_weight
        # What mmdet calls the channels of its output; being class-agnostic, no one takes them for classes.
        self.num_classes = num_parameters
        area = math.prod(side // downsample_factor for side in sides)
        kernels = [(conv_kernel_size, 1, (conv_kernel_size - 1) // 2)] * num_convs
        if downsample_factor > 1:
            kernels.append((downsample_factor, downsample_factor, 0))
        channels = [in_channels, *[conv_out_channels] * len(kernels)]
        widths = [conv_out_channels * area, *[fc_out_channels] * num_fcs, num_parameters]
        check_size(
            'roi_head.mask_head',
            sum(
                one * other * side[0] ** 2
                for (one, other), side in zip(pairwise(channels), kernels, strict=True)
            )
            + sum(one * other for one, other in pairwise(widths)),
            'its channels or layers, or the channels, num_fcs or num_classes of the point head,',
        )
        with naming('roi_head.mask_head'):
            convs = [
                ConvModule(*ends, side, stride, padding, conv_cfg=conv_cfg, norm_cfg=norm_cfg)
                for ends, (side, stride, padding) in zip(pairwise(channels), kernels, strict=True)
            ]
        self.downsample_conv = convs.pop() if downsample_factor > 1 else None
        self.convs = nn.ModuleList(convs)
        *hidden, last = [nn.Linear(*ends) for ends in pairwise(widths)]
        self.fcs, self.fc_logits = nn.ModuleList(hidden), last

    def forward(self, x: Tensor) -> Tensor:
        """Parameters of RoIs.

        Args:
            x: RoI features, shape (R, C, h, w).

        Returns:
            Parameters, shape (R, D, 1, 1).
        """
        for conv in self.convs:
            x = conv(x)
        if self.downsample_conv is not None:
            x = self.downsample_conv(x)
        x = x.flatten(1)
        for layer in self.fcs:
            x = layer(x).relu()
        return self.fc_logits(x)[..., None, None]

    def loss_and_target(self, mask_preds: Tensor, *args: Any, **kwargs: Any) -> dict:
        """Loss that keeps the parameters small, under mmdet's name for the loss of a mask head.

        Args:
            mask_preds: Parameters, shape (R, D, 1, 1); R may be 0.
            *args: mmdet's interface: the ground truth, of which parameters have none.
            **kwargs: Likewise.

        Returns:
            ``loss_parameters`` under 'loss_mask': a scalar with a gradient for the whole head, also where R is 0.
        """
        squares = mask_preds.square()
        # The mean of nothing is no number, its sum is 0.
        loss = self.l2_weight * (squares.sum() if len(mask_preds) == 0 else squares.mean())
        return {'loss_mask': {'loss_parameters': loss}}


@MODELS.register_module()
class ImplicitPointHead(PointLoss, BaseModule):
    """Foreground logits of points by an MLP whose weights the :class:`ParameterHead` predicts for each RoI.

    The MLP reads the encoded position of a point in its RoI and its fine features; no coarse prediction.

    Args:
        num_classes: Number of classes of the dataset.
        num_fcs: Number of hidden layers.
        in_channels: Channels of all fine feature levels together.
        fc_channels: Width of the hidden layers.
        class_agnostic: Whether one logit serves all classes.
        num_frequencies: Half the channels of the positional encoding.
        loss_point: See :class:`PointLoss`.
        init_cfg: mmengine's.

    Raises:
        ConfigError: A key is unknown or out of range, or ``loss_point`` is no loss of points.
    """

    @configured(
        'roi_head.point_head',
        num_classes=whole(1),
        num_fcs=whole(0, MOST_LAYERS),
        in_channels=whole(1),
        fc_channels=whole(1),
        class_agnostic=TRUTH,
        num_frequencies=whole(1, MAX_POINTS),
        loss_point=optional(PART),
        init_cfg=INIT,
    )
    def __init__(
        self,
        num_classes: int,
        num_fcs: int = 3,
        in_channels: int = 256,
        fc_channels: int = 256,
        class_agnostic: bool = False,
        num_frequencies: int = 128,
        loss_point: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        super().__init__(init_cfg)
        self.num_classes = num_classes
        self.in_channels = in_channels
        self.class_agnostic = class_agnostic
        self.positional_encoding = PositionalEncoding(num_frequencies)
        self.mlp = InstanceMLP(
            2 * num_frequencies + in_channels,
            fc_channels,
            1 if class_agnostic else num_classes,
            num_fcs,
        )
        with naming('roi_head.point_head.loss_point'):
            self._init_loss(loss_point)

    def forward(
        self,
        points: Tensor,
        features: Sequence[Tensor],
        parameters: Tensor,
        classes: Tensor | None,
    ) -> Tensor:
        """Logits of points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).
            features: Fine features of the points, a level each, shape (R, P, C_l).
            parameters: The RoIs' MLPs, shape (R, D).
            classes: The class of each RoI, integer, shape (R,); all where it is None.

        Returns:
            Logits of that class, shape (R, 1, P), or (R, K, P).
        """
        encoding = self.positional_encoding(points).to(parameters.dtype)
        return self.mlp([encoding, *features], parameters, classes)
