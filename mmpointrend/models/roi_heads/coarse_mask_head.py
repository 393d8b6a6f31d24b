# Copyright (c) The mmpointrend authors.
"""Coarse mask head of the instance task."""

from mmdet.models.roi_heads.mask_heads import CoarseMaskHead as MMDetCoarseMaskHead

from mmpointrend.registry import MODELS

__all__ = ['CoarseMaskHead']

# detectron2's: MSRA for convolutions, Xavier for the fully connected layers, near zero for the logits. (mmdet starts
# the logits at a constant 0.001, so that all units of a pixel get the same gradient.)
_INIT_CFG = [
    {'type': 'Kaiming', 'layer': 'Conv2d', 'mode': 'fan_out', 'nonlinearity': 'relu'},
    {
        'type': 'Caffe2Xavier',
        'layer': 'Linear',
        'override': {'type': 'Normal', 'std': 0.001, 'name': 'fc_logits'},
    },
]


@MODELS.register_module()
class CoarseMaskHead(MMDetCoarseMaskHead):
    """mmdet's coarse mask head (paper, section 4: 7x7 logits by two fully connected layers), with two faults mended.

    ``class_agnostic`` is honoured, and the weights are initialised as detectron2 does. State-dict names are mmdet's.

    Args:
        num_classes: Number of classes of the dataset.
        class_agnostic: Whether one mask serves all classes.
        init_cfg: mmengine's; by default detectron2's initialisation.
        **kwargs: mmdet's ``CoarseMaskHead``: ``num_convs, num_fcs, in_channels, conv_out_channels, fc_out_channels,
            roi_feat_size, downsample_factor, loss_mask, conv_cfg, norm_cfg``.
    """

    def __init__(
        self,
        num_classes: int = 80,
        class_agnostic: bool = False,
        init_cfg: dict | list[dict] | None = None,
        **kwargs: object,
    ) -> None:
        # mmdet sizes the predictor and reshapes its output by `num_classes` alone.
        super().__init__(
            num_classes=1 if class_agnostic else num_classes,
            class_agnostic=class_agnostic,
            init_cfg=_INIT_CFG if init_cfg is None else init_cfg,
            **kwargs,
        )
