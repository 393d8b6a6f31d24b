# Copyright (c) The mmpointrend authors.
"""Implicit PointRend: a mask as a function of the point, an MLP whose weights every region brings along.

From "Pointly-Supervised Instance Segmentation" (arXiv 2104.06404). No coarse prediction enters; what tells the points
of a region apart besides their features is an encoding of where they lie.

R regions, M maps, P points, C channels of the fine-grained features, F frequencies, K classes, D numbers that make the
MLP of a region.
"""

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpointrend.points.fast import limits
from mmpointrend.points.sampling import sample_features

__all__ = ['ImplicitPredictor', 'InstanceMLP', 'PositionalEncoding']

_ALL = slice(None)


class PositionalEncoding(nn.Module):
    """Sines and cosines of points along fixed random directions (Fourier features, arXiv 2006.10739).

    Args:
        num_frequencies: F, directions drawn from a normal distribution.
    """

    frequencies: Tensor

    def __init__(self, num_frequencies: int = 128) -> None:
        super().__init__()
        # Of a generator of its own: it has to be the same in all processes of a run, and buffers are not broadcast.
        generator = torch.Generator().manual_seed(0)
        directions = torch.randn(2, num_frequencies, generator=generator, device='cpu')
        self.register_buffer('frequencies', directions)

    def forward(self, points: Tensor) -> Tensor:
        """Encoding of points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their region, shape (..., 2).

        Returns:
            F sines, then F cosines, shape (..., 2F).
        """
        x, y = (2 * math.pi * (2 * points - 1)).unsqueeze(-1).unbind(-2)
        # No matrix product, which autocast would round to half precision: an angle has many turns.
        angles = torch.addcmul(x * self.frequencies[0], y, self.frequencies[1])
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class InstanceMLP:
    """An MLP without weights of its own: they are an input.

    The D numbers of a region are the weights (out, in) of all layers, each row by row, and then all biases.

    Args:
        in_channels: Channels of all inputs together.
        hidden_channels: Width of the hidden layers.
        out_channels: K.
        num_layers: Number of hidden layers, >= 0.
    """

    def __init__(
        self, in_channels: int, hidden_channels: int, out_channels: int, num_layers: int = 3
    ) -> None:
        widths = [in_channels, *[hidden_channels] * num_layers, out_channels]
        self._shapes = [(outputs, inputs) for inputs, outputs in pairwise(widths)]

    @property
    def num_parameters(self) -> int:
        """D."""
        return sum(outputs * (inputs + 1) for outputs, inputs in self._shapes)

    def layers(
        self, parameters: Tensor, classes: Tensor | None = None
    ) -> tuple[list[Tensor], list[Tensor]]:
        """Take the layers out of the vectors that hold them.

        Args:
            parameters: Shape (R, D).
            classes: The one class wanted of each region, integer, shape (R,); all where it is None. One output channel
                serves all classes.

        Returns:
            Weights (R, out, in) and biases (R, 1, out) of all layers.
        """
        sizes = [outputs * inputs for outputs, inputs in self._shapes]
        parts = parameters.split([*sizes, *(outputs for outputs, _ in self._shapes)], dim=1)
        weights = [
            part.unflatten(1, shape) for part, shape in zip(parts, self._shapes, strict=False)
        ]
        biases = [part.unsqueeze(1) for part in parts[len(weights) :]]
        if classes is not None and self._shapes[-1][0] > 1:
            regions = torch.arange(len(parameters), device=parameters.device)
            weights[-1] = weights[-1][regions, classes].unsqueeze(1)
            biases[-1] = biases[-1][regions, :, classes].unsqueeze(1)
        return weights, biases

    def __call__(
        self, inputs: Sequence[Tensor], parameters: Tensor, classes: Tensor | None = None
    ) -> Tensor:
        """Logits of points.

        Args:
            inputs: What the first layer reads, each (R, P, channels); they are not concatenated.
            parameters: Shape (R, D).
            classes: As in :meth:`layers`.

        Returns:
            Logits, shape (R, K, P), or (R, 1, P) where ``classes`` is given.
        """
        weights, biases = self.layers(parameters, classes)
        first = weights[0].split([part.shape[-1] for part in inputs], dim=-1)
        x = biases[0]
        for part, weight in zip(inputs, first, strict=True):
            x = torch.baddbmm(x, part, weight.mT)
        for weight, bias in zip(weights[1:], biases[1:], strict=True):
            x = torch.baddbmm(bias, F.relu(x), weight.mT)
        return x.transpose(1, 2)


class ImplicitPredictor:
    """Logits at points of regions that have their own MLP, see :class:`mmpointrend.points.PointPredictor`.

    Args:
        head: Maps points (R, P, 2), a list of features (R, P, C_l), parameters (R, D) and classes (R,) or None to
            logits (R, 1, P), or (R, K, P).
        fine: Fine-grained feature maps, each (M, C_l, H_l, W_l).
        parameters: Shape (R, D).
        map_index: The fine map of each region, in ``[0, M)``, integer, shape (R,).
        classes: The class wanted of each region, integer, shape (R,); all where it is None.
    """

    def __init__(
        self,
        head: Callable[..., Tensor],
        fine: Sequence[Tensor],
        parameters: Tensor,
        map_index: Tensor,
        classes: Tensor | None,
    ) -> None:
        self._head = head
        # What the samples are read from, made once for all calls.
        self._fine = [level.contiguous(memory_format=torch.channels_last) for level in fine]
        self._of_regions = [parameters, map_index, *([] if classes is None else [classes])]

    def __call__(
        self, points: Tensor, fine_points: Sequence[Tensor], regions: slice = _ALL
    ) -> Tensor:
        """Logits of points, see :class:`mmpointrend.points.PointPredictor`."""
        together = max(limits.IMPLICIT_POINTS // max(points.shape[1], 1), 1)
        inputs = [points, *fine_points, *(tensor[regions] for tensor in self._of_regions)]
        parts = zip(*(tensor.split(together) for tensor in inputs), strict=True)
        return torch.cat([self._predict(*part) for part in parts])

    def _predict(self, points: Tensor, *others: Tensor) -> Tensor:
        """Logits of points of some regions, given their places in the maps and what belongs to the regions."""
        fine_points, (parameters, map_index, *classes) = (
            others[: len(self._fine)],
            others[len(self._fine) :],
        )
        features = [
            sample_features(level, at, map_index)
            for level, at in zip(self._fine, fine_points, strict=True)
        ]
        return self._head(points, features, parameters, classes[0] if classes else None)
