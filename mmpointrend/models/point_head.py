# Copyright (c) The mmpointrend authors.
"""What the point heads of both tasks share: the core's MLP, configured and initialised the OpenMMLab way."""

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import nn

from mmpointrend.errors import ConfigError
from mmpointrend.points import PointMLP

__all__ = ['BasePointHead']

# detectron2's: MSRA for the hidden layers, near zero for the logits.
_INIT_CFG = {
    'type': 'Kaiming',
    'layer': 'Conv1d',
    'mode': 'fan_out',
    'nonlinearity': 'relu',
    'override': {'type': 'Normal', 'std': 0.001, 'name': 'fc_logits'},
}


def _make_norm(norm_cfg: dict, channels: int) -> tuple[str, nn.Module]:
    """Build a normalisation, or refuse one that is made for maps."""
    name, norm = build_norm_layer(norm_cfg, channels)
    training = norm.training
    try:
        norm.eval()(torch.zeros(1, channels, 2))
    except (RuntimeError, ValueError) as error:
        raise ConfigError(
            f'point_head.norm_cfg is {norm_cfg}: points are no map, so take BN1d, SyncBN or GN ({error})'
        ) from error
    norm.train(training)
    return name, norm


class BasePointHead(PointMLP, BaseModule):
    """The core's point MLP as an OpenMMLab module.

    Args:
        in_channels: Channels of the fine-grained features, over all levels together.
        coarse_channels: Channels of the coarse prediction.
        fc_channels: Width of the hidden layers.
        out_channels: Channels of the logits.
        num_fcs: Number of hidden layers.
        coarse_pred_each_layer: Whether the coarse prediction enters every layer (the paper) or the first alone.
        dropout_ratio: Dropout before the logits; none where it is not positive.
        conv_cfg: Accepted for the sake of existing configs; the layers are linear, so ``Conv1d`` is all it can say.
        norm_cfg: Normalisation of the hidden layers, over (R, channels, P).
        act_cfg: Activation of the hidden layers.
        init_cfg: mmengine's; by default detectron2's initialisation.

    Raises:
        ConfigError: ``conv_cfg`` asks for anything but ``Conv1d``, or ``norm_cfg`` for a normalisation of maps.
    """

    def __init__(
        self,
        *,
        in_channels: int,
        coarse_channels: int,
        fc_channels: int,
        out_channels: int,
        num_fcs: int = 3,
        coarse_pred_each_layer: bool = True,
        dropout_ratio: float = 0,
        conv_cfg: dict | None = None,
        norm_cfg: dict | None = None,
        act_cfg: dict | None = None,
        init_cfg: dict | list[dict] | None = None,
    ) -> None:
        if (conv_cfg or {}).get('type', 'Conv1d') != 'Conv1d':
            raise ConfigError(
                f"point_head.conv_cfg is {conv_cfg}: a point has no neighbours, so leave it out or set type='Conv1d'"
            )

        def make_activation() -> nn.Module:
            activation = build_activation_layer({'type': 'ReLU', **(act_cfg or {})})
            if hasattr(activation, 'inplace'):
                # Its input is the layer's own, and half of what training keeps of a layer.
                activation.inplace = True
            return activation

        super().__init__(
            in_channels=in_channels,
            coarse_channels=coarse_channels,
            hidden_channels=fc_channels,
            out_channels=out_channels,
            num_layers=num_fcs,
            coarse_each_layer=coarse_pred_each_layer,
            dropout=max(dropout_ratio, 0),
            norm=None if norm_cfg is None else lambda channels: _make_norm(norm_cfg, channels),
            activation=make_activation,
        )
        self.init_cfg = _INIT_CFG if init_cfg is None else init_cfg
