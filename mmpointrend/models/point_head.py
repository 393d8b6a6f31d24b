# Copyright (c) The mmpointrend authors.
"""What the point heads of both tasks share: the core's MLP, configured and initialised the OpenMMLab way."""

import copy

import torch
from mmcv.cnn import build_activation_layer, build_norm_layer
from mmengine.model import BaseModule
from torch import nn

from mmpointrend.errors import ConfigError
from mmpointrend.points import PointMLP
from mmpointrend.rules import (
    DICT,
    INIT,
    MOST_LAYERS,
    PART,
    TRUTH,
    check_size,
    naming,
    optional,
    whole,
)

__all__ = ['POINT_HEAD_RULES', 'BasePointHead']

# detectron2's: MSRA for the hidden layers, near zero for the logits.
_INIT_CFG = {
    'type': 'Kaiming',
    'layer': 'Conv1d',
    'mode': 'fan_out',
    'nonlinearity': 'relu',
    'override': {'type': 'Normal', 'std': 0.001, 'name': 'fc_logits'},
}


# The keys that the point heads of both tasks have.
POINT_HEAD_RULES = {
    'num_classes': whole(1),
    'num_fcs': whole(0, MOST_LAYERS),
    'coarse_pred_each_layer': TRUTH,
    'conv_cfg': optional(DICT),
    'norm_cfg': optional(PART),
    'act_cfg': optional(DICT),
    'init_cfg': INIT,
}

# Made for maps, and yet they take points: an `InstanceNorm2d` takes the regions for channels.
_OF_MAPS = (nn.BatchNorm2d, nn.BatchNorm3d, nn.InstanceNorm2d, nn.InstanceNorm3d)


def _make_norm(norm_cfg: dict, channels: int) -> tuple[str, nn.Module]:
    """Build a normalisation, or refuse one that is made for maps."""
    with naming('point_head.norm_cfg'):
        name, norm = build_norm_layer(norm_cfg, channels)
    reason = f'{type(norm).__name__} is made for maps' if isinstance(norm, _OF_MAPS) else None
    # One of its own: in training a normalisation keeps what it has seen.
    tried, points = copy.deepcopy(norm), torch.zeros(3, channels, 5)
    try:
        for module in (tried.train(), tried.eval()):
            if module(points).shape != points.shape:
                reason = f'{type(norm).__name__} changes their shape'
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        reason = ' '.join(str(error).split())
    if reason is not None:
        raise ConfigError(
            f'point_head.norm_cfg is {norm_cfg}: points are no map, so take BN1d, SyncBN or GN ({reason})'
        )
    return name, norm


def _make_activation(act_cfg: dict | None, channels: int) -> nn.Module:
    """Build an activation, or refuse one that does not go number by number."""
    with naming('point_head.act_cfg'):
        activation = build_activation_layer({'type': 'ReLU', **(act_cfg or {})})
        training, rows = activation.training, torch.zeros(2, channels)
        shape = activation.eval()(rows).shape
        activation.train(training)
    if shape != rows.shape:
        raise ConfigError(
            f'point_head.act_cfg is {act_cfg}: it changes the number of channels, so take one such as ReLU'
        )
    if hasattr(activation, 'inplace'):
        # Its input is the layer's own, and half of what training keeps of a layer.
        activation.inplace = True
    return activation


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
        ConfigError: ``conv_cfg`` asks for anything but ``Conv1d``, ``norm_cfg`` for a normalisation of maps,
            ``act_cfg`` for what changes channels, or all together for more parameters than fit in memory.
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
        again = coarse_channels if coarse_pred_each_layer else 0
        check_size(
            'point_head',
            fc_channels * (in_channels + coarse_channels + (num_fcs - 1) * (fc_channels + again))
            + out_channels * (fc_channels + again)
            if num_fcs > 0
            else out_channels * (in_channels + coarse_channels),
            'its channels, num_fcs or num_classes',
        )
        super().__init__(
            in_channels=in_channels,
            coarse_channels=coarse_channels,
            hidden_channels=fc_channels,
            out_channels=out_channels,
            num_layers=num_fcs,
            coarse_each_layer=coarse_pred_each_layer,
            dropout=max(dropout_ratio, 0),
            norm=None if norm_cfg is None else lambda channels: _make_norm(norm_cfg, channels),
            activation=lambda: _make_activation(act_cfg, fc_channels),
        )
        self.init_cfg = _INIT_CFG if init_cfg is None else init_cfg
