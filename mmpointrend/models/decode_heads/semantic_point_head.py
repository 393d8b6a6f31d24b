# Copyright (c) The mmpointrend authors.
"""Point head of the semantic task. B images, P points, C fine channels of all levels together, K coarse channels."""

from collections.abc import Sequence
from typing import Any, cast

import torch
from mmseg.models.losses import (
    CrossEntropyLoss,
    DiceLoss,
    HuasdorffDisstanceLoss,
    LovaszLoss,
    OhemCrossEntropy,
    TverskyLoss,
    accuracy,
)
from mmseg.models.losses.lovasz_loss import lovasz_softmax
from mmseg.registry import MODELS as MMSEG_MODELS
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.decode_heads.loss_checks import check_losses, loss_of
from mmpointrend.models.decode_heads.void_cross_entropy import knowing_void
from mmpointrend.models.point_head import POINT_HEAD_RULES, BasePointHead
from mmpointrend.models.scope import build_part
from mmpointrend.registry import MODELS
from mmpointrend.rules import (
    MOST_LAYERS,
    PART,
    Rule,
    configured,
    number,
    one_or_more,
    optional,
    whole,
)

__all__ = ['SemanticPointHead', 'refuse_softmax_of_one_channel']


# Number of a level, or name of one that is kept (`mmpointrend.models.taps`).
_LEVEL = Rule(
    f'{whole(-MOST_LAYERS, MOST_LAYERS).wanted}, or to the name of a map that a TappedBackbone or TappedNeck keeps',
    lambda value: (
        whole(-MOST_LAYERS, MOST_LAYERS).accepts(value) or (isinstance(value, str) and value != '')
    ),
)


def _as_list(value: Any) -> list:
    return [value] if isinstance(value, int | str) else list(value)


def _is_softmax(loss: nn.Module) -> bool:
    if isinstance(loss, CrossEntropyLoss):
        return not (loss.use_sigmoid or loss.use_mask)
    if isinstance(loss, DiceLoss):
        return loss.activate and not loss.use_sigmoid
    if isinstance(loss, LovaszLoss):
        return loss.cls_criterion is lovasz_softmax
    return isinstance(loss, HuasdorffDisstanceLoss | OhemCrossEntropy | TverskyLoss)


def refuse_softmax_of_one_channel(losses: nn.Module, part: str) -> None:
    """Refuse losses that are the same for all logits, for a softmax over one channel is 1.

    Args:
        losses: A loss of mmseg, or a list of several, on logits of one channel.
        part: The config's name of the head that has them as ``loss_decode``.

    Raises:
        ConfigError: One of them is a softmax.
    """
    for loss in losses if isinstance(losses, nn.ModuleList) else [losses]:
        if not _is_softmax(loss):
            continue
        fix = (
            'set use_sigmoid=True in it'
            if hasattr(loss, 'use_sigmoid')
            else "take a loss that is not, such as dict(type='CrossEntropyLoss', use_sigmoid=True)"
        )
        raise ConfigError(
            f'{part}.loss_decode is a softmax over one channel, for decode_head.coarse_head has '
            f'out_channels=1: {fix}'
        )


@MODELS.register_module()
class SemanticPointHead(BasePointHead):
    """Class logits of points of images (paper, section 3.3), with the config keys of mmseg's ``PointHead``.

    Args:
        num_classes: Number of channels of the coarse head, which :class:`PointRendHead` fills in.
        in_channels: Channels of each fine feature level.
        in_index: The fine feature levels: numbers among the decode head's inputs, or names of maps that
            :mod:`mmpointrend.models.taps` keeps, such as 'backbone.0'.
        channels: Width of the hidden layers.
        num_fcs: Number of hidden layers.
        coarse_pred_each_layer: Whether the coarse prediction enters every layer (the paper) or the first alone.
        dropout_ratio: Dropout before the logits; none where it is not positive.
        loss_decode: mmseg's loss config, or several.
        ignore_index: Label that takes no part in the loss.
        conv_cfg: See :class:`BasePointHead`.
        norm_cfg: See :class:`BasePointHead`.
        act_cfg: See :class:`BasePointHead`.
        init_cfg: See :class:`BasePointHead`.

    Raises:
        ConfigError: A key is unknown or out of range, ``in_channels`` and ``in_index`` differ in length, the loss is a
            softmax over one channel, or not a loss of points.
    """

    @configured(
        'decode_head.point_head',
        in_channels=one_or_more(whole(1)),
        in_index=one_or_more(_LEVEL),
        channels=whole(1),
        dropout_ratio=number(most=1),
        loss_decode=optional(one_or_more(PART)),
        ignore_index=optional(whole(-(2**31), 2**31 - 1)),
        **POINT_HEAD_RULES,
    )
    def __init__(
        self,
        *,
        num_classes: int,
        in_channels: int | Sequence[int],
        in_index: int | str | Sequence[int | str],
        channels: int = 256,
        num_fcs: int = 3,
        coarse_pred_each_layer: bool = True,
        dropout_ratio: float = -1,
        loss_decode: dict | Sequence[dict] | None = None,
        ignore_index: int = 255,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        level_channels, levels = _as_list(in_channels), _as_list(in_index)
        if len(level_channels) != len(levels):
            raise ConfigError(
                f'decode_head.point_head.in_channels is {in_channels} and in_index is {in_index}: name the channels of '
                'each level, one for one'
            )
        super().__init__(
            in_channels=sum(level_channels),
            coarse_channels=num_classes,
            fc_channels=channels,
            out_channels=num_classes,
            num_fcs=num_fcs,
            coarse_pred_each_layer=coarse_pred_each_layer,
            dropout_ratio=dropout_ratio,
            conv_cfg=conv_cfg,
            norm_cfg=norm_cfg,
            act_cfg=act_cfg,
            init_cfg=init_cfg,
        )
        self.in_channels = level_channels
        self.in_index = levels
        self.ignore_index = ignore_index
        losses = loss_decode or {'type': 'CrossEntropyLoss', 'use_sigmoid': num_classes == 1}
        self.loss_decode = nn.ModuleList(
            build_part(
                knowing_void(loss), MMSEG_MODELS, 'mmseg', 'decode_head.point_head.loss_decode'
            )
            for loss in ([losses] if isinstance(losses, dict) else losses)
        )
        for loss in self.loss_decode:
            if isinstance(loss, OhemCrossEntropy) and loss.ignore_label != ignore_index:
                raise ConfigError(
                    f'decode_head.point_head.loss_decode is OhemCrossEntropy, which ignores label {loss.ignore_label}, '
                    f'but the ignore_index of the coarse head is {ignore_index}: set ignore_label={ignore_index} in it'
                )
        if num_classes == 1:
            refuse_softmax_of_one_channel(self.loss_decode, 'decode_head.point_head')

        # Regions and points as in training, where some losses ask for more than one.
        check_losses(
            self.loss_decode,
            'decode_head.point_head.loss_decode',
            (2, num_classes, 196, 1),
            ignore_index,
        )

    def loss(self, logits: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Losses and accuracy of points.

        Args:
            logits: Logits, shape (B, K, P).
            labels: Class labels, ``ignore_index`` where there is none, integer, shape (B, P).

        Returns:
            mmseg's ``loss_name`` of each loss, and 'acc_seg' in percent.
        """
        # mmseg's losses know images, not sets of points: a set is an image one pixel wide.
        logits, labels = logits.unsqueeze(-1), labels.long().unsqueeze(-1)
        losses: dict[str, Tensor] = {}
        for loss in self.loss_decode:
            name = cast(str, loss.loss_name)
            value = loss_of(loss, logits, labels, self.ignore_index)
            losses[name] = losses[name] + value if name in losses else value
        # One channel is the logit of class 1 against that of class 0, which is 0.
        scores = (
            torch.cat([torch.zeros_like(logits), logits], 1) if logits.shape[1] == 1 else logits
        )
        losses['acc_seg'] = accuracy(scores, labels, ignore_index=self.ignore_index)
        return losses
