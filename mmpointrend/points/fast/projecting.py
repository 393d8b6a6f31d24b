# Copyright (c) The mmpointrend authors.
"""The point MLP taken apart, for maps that are read at many points.

The first layer is applied to the feature maps and the coarse part of *every* layer to the coarse map, once
(:mod:`.linear_maps`); what is left per point are the hidden layers.

R regions, M maps, P points, C channels of the fine-grained features, K channels of the coarse prediction, k outputs.
"""

import copy
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mmpointrend.points.fast import limits
from mmpointrend.points.fast.linear_maps import linear_map
from mmpointrend.points.mlp import PointMLP
from mmpointrend.points.precision import asked_dtype, rendering_dtype, without_slow_autocast

__all__ = ['ProjectingPredictor']

_ALL = slice(None)


class ProjectingPredictor:
    """A :class:`PointMLP` taken apart, equal to :class:`mmpointrend.points.SamplingPredictor` but for rounding.

    Arguments are those of :func:`mmpointrend.points.point_predictor`. Computes in the maps' dtype, or in
    autocast's, see :func:`mmpointrend.points.precision.rendering_dtype`.
    """

    def __init__(
        self,
        head: PointMLP,
        fine: Sequence[Tensor],
        coarse: Tensor,
        map_index: Tensor | None,
        classes: Tensor | None,
        align_corners: bool,
        num_points: int,
        extents: Sequence[Tensor] | None = None,
    ) -> None:
        self._device = coarse.device
        asked = asked_dtype(fine[0].dtype, self._device)
        dtype = rendering_dtype(asked, self._device)
        weights, biases, activations = head.layers(classes)
        self._activations = [_in_dtype(activation, dtype) for activation in activations]
        weights = [weight.to(dtype) for weight in weights]
        self._biases = [bias.to(dtype) for bias in biases]
        num_coarse = coarse.shape[1]
        # Without coarse features at each layer only the first one reads them.
        self._num_reading = len(weights) if head.coarse_each_layer else 1
        self._num_regions = len(coarse)
        fine_weights = weights[0][:, :-num_coarse].split([level.shape[1] for level in fine], dim=1)
        with without_slow_autocast(self._device):
            self._coarse = linear_map(
                coarse,
                [weight[..., -num_coarse:] for weight in weights[: self._num_reading]],
                self._biases[: self._num_reading],
                None,
                num_points,
                align_corners,
            )
            self._fine = [
                linear_map(
                    level,
                    [weight],
                    [None],
                    map_index,
                    num_points,
                    align_corners,
                    None if extents is None else extents[number],
                )
                for number, (level, weight) in enumerate(zip(fine, fine_weights, strict=True))
            ]
        # Of what the hidden layers have put out.
        self._weights = [
            weight[..., :-num_coarse] if layer < self._num_reading else weight
            for layer, weight in enumerate(weights)
        ]

    def __call__(
        self, points: Tensor, fine_points: Sequence[Tensor], regions: slice = _ALL
    ) -> Tensor:
        """Logits of points, see :class:`mmpointrend.points.PointPredictor`."""
        with without_slow_autocast(self._device):
            return self._predict_all(points, fine_points, regions)

    def _predict_all(self, points: Tensor, fine_points: Sequence[Tensor], regions: slice) -> Tensor:
        """Logits (r, k, P) of points, in parts."""
        start, stop, _ = regions.indices(self._num_regions)
        num_points = points.shape[1]
        together = max(stop - start, 1)
        if points.device.type == 'cpu':
            together = max(limits.RENDER_POINTS // max(num_points, 1), 1)
        readings = [self._coarse.read(points, regions)]
        readings += [
            level.read(at, regions) for level, at in zip(self._fine, fine_points, strict=True)
        ]
        # At least one part, so that no region is a tensor like any other.
        logits = [
            self._predict(
                [tuple(part[first : first + together] for part in reading) for reading in readings],
                slice(start + first, min(start + first + together, stop)),
            )
            for first in range(0, max(stop - start, 1), together)
        ]
        return torch.cat(logits).transpose(1, 2)

    def _predict(self, readings: Sequence[tuple[Tensor, ...]], regions: slice) -> Tensor:
        """Logits (r, P, k) of points of some regions, given the readings of the coarse and of each fine map."""
        coarse, *fine = readings
        x = self._coarse.layer(0, coarse, regions)
        for level, reading in zip(self._fine, fine, strict=True):
            x = x.add_(level.layer(0, reading, regions))
        x = _activate(self._activations[0], x)
        for number in range(1, len(self._weights)):
            weight, bias = self._weights[number], self._biases[number]
            if number < self._num_reading:
                # The product is added to what the coarse map and the bias give: a pass less than a sum afterwards.
                x = _add_product(self._coarse.layer(number, coarse, regions), x, weight, regions)
            elif weight.ndim == 3:
                x = torch.baddbmm(bias[regions], x, weight[regions].mT)
            else:
                x = F.linear(x, weight, bias)
            if number < len(self._activations):
                x = _activate(self._activations[number], x)
        return x


def _in_dtype(activation: nn.Module, dtype: torch.dtype) -> nn.Module:
    """An activation whose parameters, if it has any, have at least the dtype."""
    if all(parameter.dtype.itemsize >= dtype.itemsize for parameter in activation.parameters()):
        return activation
    return copy.deepcopy(activation).to(dtype)


def _add_product(x: Tensor, features: Tensor, weight: Tensor, regions: slice) -> Tensor:
    """``x + features @ weight.mT`` in place of x (r, P, out), with a weight for all regions or for each."""
    if weight.ndim == 3:
        return x.baddbmm_(features, weight[regions].mT)
    x.flatten(0, 1).addmm_(features.flatten(0, 1), weight.mT)
    return x


def _activate(activation: nn.Module, x: Tensor) -> Tensor:
    """``activation(x)``, in x's memory where that is quicker."""
    if x.dtype == torch.bfloat16 and type(activation) is nn.ReLU and not x.requires_grad:
        # A negative number's sign bit makes it a negative integer, and zero bits are zero. A CPU converts bfloat16 to
        # float32 and back otherwise.
        x.view(torch.int16).clamp_(min=0)
        return x
    # As rows, for an activation may have parameters of its channels (PReLU).
    return activation(x.flatten(0, 1)).view_as(x)
