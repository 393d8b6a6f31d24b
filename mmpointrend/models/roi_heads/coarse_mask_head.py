# Copyright (c) The mmpointrend authors.
"""Coarse mask head of the instance task."""

import math
from typing import Any

from mmdet.models.roi_heads.mask_heads import CoarseMaskHead as MMDetCoarseMaskHead

from mmpointrend.registry import MODELS
from mmpointrend.rules import (
    DICT,
    INIT,
    MOST_LAYERS,
    PART,
    TRUTH,
    check_size,
    configured,
    naming,
    one_or_more,
    optional,
    whole,
)

__all__ = ['COARSE_HEAD_INIT', 'COARSE_LAYER_RULES', 'CoarseMaskHead']

# mmdet's keys of the layers, which are handed on to it.
COARSE_LAYER_RULES = {
    'num_convs': whole(0, MOST_LAYERS),
    'num_fcs': whole(1, MOST_LAYERS),
    'in_channels': whole(1),
    'conv_kernel_size': whole(1),
    'conv_out_channels': whole(1),
    'fc_out_channels': whole(1),
    'roi_feat_size': one_or_more(whole(1), 2),
    'downsample_factor': whole(1),
    'conv_cfg': optional(PART),
    'norm_cfg': optional(PART),
    'init_cfg': INIT,
}

# detectron2's: MSRA for convolutions, Xavier for the fully connected layers, near zero for the logits. (mmdet starts
# the logits at a constant 0.001, so that all units of a pixel get the same gradient.)
COARSE_HEAD_INIT = [
    {'type': 'Kaiming', 'layer': 'Conv2d', 'mode': 'fan_out', 'nonlinearity': 'relu'},
    {
        'type': 'Caffe2Xavier',
        'layer': 'Linear',
        'override': {'type': 'Normal', 'std': 0.001, 'name': 'fc_logits'},
    },
]


@MODELS.register_module()
class CoarseMaskHead(MMDetCoarseMaskHead):
    """mmdet's coarse mask head (paper, section 4: 7x7 logits by two fully connected layers), with two faults fixed.

    ``class_agnostic`` is honoured, and the weights are initialised as detectron2 does. State-dict names are mmdet's.

    Args:
        num_classes: Number of classes of the dataset.
        class_agnostic: Whether one mask serves all classes.
        init_cfg: mmengine's; by default detectron2's initialisation.
        **kwargs: mmdet's ``CoarseMaskHead``: ``num_convs, num_fcs, in_channels, conv_out_channels, fc_out_channels,
            roi_feat_size, downsample_factor, loss_mask, conv_cfg, norm_cfg``.

    Raises:
        ConfigError: A key is unknown or out of range, or the head would not fit in memory.
    """

    @configured(
        'roi_head.mask_head',
        num_classes=whole(1),
        class_agnostic=TRUTH,
        predictor_cfg=optional(DICT),
        loss_mask=PART,
        **COARSE_LAYER_RULES,
    )
    def __init__(
        self,
        num_classes: int = 80,
        class_agnostic: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: Any,
    ) -> None:
        # mmdet sizes the predictor and reshapes its output by `num_classes` alone.
        channels = 1 if class_agnostic else num_classes
        check_size('roi_head.mask_head', _num_weights(channels, **kwargs), 'its channels or layers')
        with naming('roi_head.mask_head'):
            super().__init__(
                num_classes=channels,
                class_agnostic=class_agnostic,
                init_cfg=COARSE_HEAD_INIT if init_cfg is None else init_cfg,
                **kwargs,
            )


def _num_weights(
    num_classes: int,
    num_convs: int = 0,
    num_fcs: int = 2,
    in_channels: int = 256,
    conv_kernel_size: int = 3,
    conv_out_channels: int = 256,
    fc_out_channels: int = 1024,
    roi_feat_size: int | tuple[int, int] = 14,
    downsample_factor: int = 2,
    **others: Any,
) -> int:
    """Weights of mmdet's coarse mask head, with its defaults."""
    sides = roi_feat_size if isinstance(roi_feat_size, list | tuple) else (roi_feat_size,) * 2
    area = math.prod(side // downsample_factor for side in sides)
    inputs = [in_channels, *[conv_out_channels] * num_convs]
    convolutions = sum(inputs[:-1]) * conv_kernel_size**2
    if downsample_factor > 1:
        convolutions += inputs[-1] * downsample_factor**2
    layers = conv_out_channels * area + (num_fcs - 1) * fc_out_channels + num_classes * area
    return convolutions * conv_out_channels + layers * fc_out_channels
