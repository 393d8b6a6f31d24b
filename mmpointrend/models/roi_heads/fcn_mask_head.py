# Copyright (c) The mmpointrend authors.
"""Standard mask head of Mask R-CNN, PointRend's baseline."""

from mmdet.models.roi_heads.mask_heads import FCNMaskHead as MMDetFCNMaskHead
from torch import nn

from mmpointrend.registry import MODELS

__all__ = ['FCNMaskHead']


@MODELS.register_module()
class FCNMaskHead(MMDetFCNMaskHead):
    """mmdet's mask head (four convolutions, one upsampling), whose logits start near zero as in detectron2.

    The other layers start by MSRA in both. No ``init_cfg`` can say so: mmdet initialises the logits after it.
    """

    def init_weights(self) -> None:
        """Initialise as detectron2 does: N(0, 0.001) for the logits."""
        super().init_weights()
        nn.init.normal_(self.conv_logits.weight, std=0.001)
        nn.init.zeros_(self.conv_logits.bias)
