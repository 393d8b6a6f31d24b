# Copyright (c) The mmpointrend authors.
"""The point head's network: a small MLP shared by all points and all regions (paper, section 3.3).

R regions, P points, C channels of the fine-grained features, K channels of the coarse prediction, k outputs.
"""

from collections.abc import Callable
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpointrend.points.fast import limits

__all__ = ['PointMLP']

# Name and module of a normalisation for the given number of channels, over (R, channels, P).
MakeNorm = Callable[[int], tuple[str, nn.Module]]


class _PointLayer(nn.Module):
    """One hidden layer. ``conv`` holds its weight as a 1x1 ``Conv1d`` (out, in, 1), the layout of all checkpoints."""

    def __init__(
        self, in_channels: int, out_channels: int, norm: MakeNorm | None, activation: nn.Module
    ) -> None:
        super().__init__()
        self.conv = nn.Conv1d(in_channels, out_channels, kernel_size=1, bias=norm is None)
        self.norm_name: str | None = None
        if norm is not None:
            self.norm_name, module = norm(out_channels)
            self.add_module(self.norm_name, module)
        self.activate = activation

    def forward(self, features: Tensor, coarse: Tensor | None, regions: torch.Size) -> Tensor:
        """Hidden features (R * P, out) of features (R * P, in - K) and coarse ones (R * P, K) or none; of (R, P)."""
        x = _split_linear(features, coarse, self.conv.weight[..., 0], self.conv.bias)
        if self.norm_name is not None:
            x = self.get_submodule(self.norm_name)(x.unflatten(0, regions).transpose(1, 2))
            x = x.transpose(1, 2).flatten(0, 1)
        return self.activate(x)


def _split_linear(
    features: Tensor, coarse: Tensor | None, weight: Tensor, bias: Tensor | None
) -> Tensor:
    """``linear(cat([features, coarse]))`` of rows, without the concatenation, which costs more than the coarse part.

    The second product is added to the first in place, which takes no memory.
    """
    channels = features.shape[-1]
    x = F.linear(features, weight[:, :channels], bias)
    if coarse is None:
        return x
    # Autocast does not know products in place.
    return x.addmm_(coarse.to(x.dtype), weight[:, channels:].t().to(x.dtype))


class PointMLP(nn.Module):
    """MLP over fine-grained and coarse features of a point, the coarse ones re-entering at every layer.

    Args:
        in_channels: C, over all fine-grained feature maps together.
        coarse_channels: K of the coarse prediction.
        hidden_channels: Width of the hidden layers.
        out_channels: k.
        num_layers: Number of hidden layers, >= 0.
        coarse_each_layer: Whether the coarse features enter every layer (the paper), or the first one only.
        dropout: Share of the last hidden features dropped in training, before the logits.
        norm: Makes the normalisation of a hidden layer; none where it is None.
        activation: Makes the activation of a hidden layer.
    """

    def __init__(
        self,
        in_channels: int,
        coarse_channels: int,
        hidden_channels: int,
        out_channels: int,
        num_layers: int = 3,
        coarse_each_layer: bool = True,
        dropout: float = 0,
        norm: MakeNorm | None = None,
        activation: Callable[[], nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__()
        self.coarse_each_layer = coarse_each_layer
        self.out_channels = out_channels
        self.fcs = nn.ModuleList()
        channels = in_channels + coarse_channels
        for _ in range(num_layers):
            self.fcs.append(_PointLayer(channels, hidden_channels, norm, activation()))
            channels = hidden_channels + (coarse_channels if coarse_each_layer else 0)
        self.dropout = nn.Dropout(dropout)
        self.fc_logits = nn.Conv1d(channels, out_channels, kernel_size=1)

    @property
    def is_linear(self) -> bool:
        """Whether :class:`mmpointrend.points.ProjectingPredictor` may take the layers apart.

        It may where they are linear maps and activations, and ``forward`` is this class's own.
        """
        return (
            type(self).forward is PointMLP.forward
            # Nor one that was set on this head alone.
            and 'forward' not in vars(self)
            and not (self.training and self.dropout.p > 0)
            and len(self.fcs) > 0
            and all(layer.norm_name is None for layer in self.fcs)
        )

    def layers(
        self, classes: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor], list[nn.Module]]:
        """The layers one by one, of an MLP that :attr:`is_linear`.

        Args:
            classes: As in :meth:`forward`.

        Returns:
            Weights (out, in) and biases (out,) of all layers, and the activation after each of the hidden ones; of the
            last layer (R, 1, in) and (R, 1, 1) where each region has its own class.
        """
        hidden = [cast(_PointLayer, layer) for layer in self.fcs]
        weights = [layer.conv.weight[..., 0] for layer in hidden]
        biases = [cast(Tensor, layer.conv.bias) for layer in hidden]
        weight, bias = self.fc_logits.weight[..., 0], cast(Tensor, self.fc_logits.bias)
        if classes is not None and self.out_channels > 1:
            weight, bias = weight[classes].unsqueeze(1), bias[classes][:, None, None]
        return [*weights, weight], [*biases, bias], [layer.activate for layer in hidden]

    def forward(self, features: Tensor, coarse: Tensor, classes: Tensor | None = None) -> Tensor:
        """Logits of points.

        Args:
            features: Fine-grained features, shape (R, P, C).
            coarse: Coarse prediction at the same points, shape (R, P, K).
            classes: The one class wanted of each region, integer, shape (R,); all where it is None. One output
                channel serves all classes.

        Returns:
            Logits, shape (R, k, P), or (R, 1, P) where ``classes`` is given.
        """
        num_regions, num_points = features.shape[:2]
        num_parts = -(-num_regions * num_points // limits.MLP_POINTS)
        # A norm is over all points.
        if num_parts <= 1 or features.device.type != 'cpu' or not self.is_linear:
            return self._forward(features, coarse, classes)
        together = -(-num_regions // num_parts)
        # Splits, not slices: each slice would fill a gradient of the whole.
        parts = [features.split(together), coarse.split(together)]
        if classes is not None:
            parts.append(classes.split(together))
        return torch.cat([self._forward(*part) for part in zip(*parts, strict=True)])

    def _forward(self, features: Tensor, coarse: Tensor, classes: Tensor | None = None) -> Tensor:
        """:meth:`forward`, of all points at once."""
        regions = features.shape[:2]
        # Rows, not regions, all the way: what is done in place on a view makes autograd copy its base.
        x, rows = features.flatten(0, 1), coarse.flatten(0, 1)
        for number, layer in enumerate(self.fcs):
            x = layer(x, rows if number == 0 or self.coarse_each_layer else None, regions)
        x = self.dropout(x)
        last = self.dropout(rows) if len(self.fcs) == 0 or self.coarse_each_layer else None
        weight, bias = self.fc_logits.weight[..., 0], cast(Tensor, self.fc_logits.bias)
        if classes is None or self.out_channels == 1:
            return _split_linear(x, last, weight, bias).unflatten(0, regions).transpose(1, 2)
        own, channels = weight[classes].unsqueeze(-1), x.shape[-1]
        x = x.unflatten(0, regions)
        logits = torch.baddbmm(bias[classes][:, None, None], x, own[:, :channels])
        if last is not None:
            logits = torch.baddbmm(logits, last.unflatten(0, regions), own[:, channels:])
        return logits.transpose(1, 2)
