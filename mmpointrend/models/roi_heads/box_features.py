# Copyright (c) The mmpointrend authors.
"""Fine-grained features of RoIs: the coarse head's grid is a set of points like any other.

R RoIs of all images together, C channels over all fine levels, P points.
"""

import functools
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import torch
from mmcv.ops import SimpleRoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor, GenericRoIExtractor
from torch import Tensor

from mmpointrend.points import (
    BoxSampler,
    extent,
    regular_grid,
    roi_points_to_image,
    sample_features,
)

__all__ = ['BoxFeatures', 'FineLevels', 'covered_sizes']


class FineLevels(NamedTuple):
    """The feature levels that points are read from.

    Attributes:
        indices: Their places among the RoI head's feature levels.
        strides: The stride of each.
    """

    indices: tuple[int, ...]
    strides: tuple[float, ...]

    def of(self, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The levels (B, C_l, H, W) among all of the RoI head's."""
        return tuple(x[index] for index in self.indices)


class BoxFeatures:
    """Features of RoIs for both heads.

    mmcv's ``SimpleRoIAlign`` is a sample of the map at a regular grid of points, but it reads the map where it lies,
    four corners in each channel's own plane, and fills a gradient of the map for each image. Read as points, grid and
    points share one copy of the boxes' cells and one gradient of the map. A step of the mask branch (128 positives on
    two images of 800x1216, one core) takes 0.80 s; 1.30 s where the extractor makes the grid, and 1.14 s with a copy of
    the whole map instead of the boxes' cells.

    Without gradients there is no such copy, rendering has its own for its points. Positions are in single precision;
    mmcv's are in half precision under autocast, by which 0.9 % of the boxes' pixels change, where half precision of
    the network changes 0.1 %.

    Args:
        x: Feature levels, each (B, C_l, H, W), as many as the extractor has or more.
        rois: Image number and box in pixels of the network's input, shape (R, 5).
        extractor: The mask RoI extractor, which sees the first levels.
        with_gradients: Whether the features are for a training step.
        fine: The levels of the points; the extractor's if it is None.
    """

    def __init__(
        self,
        x: Sequence[Tensor],
        rois: Tensor,
        extractor: BaseRoIExtractor,
        with_gradients: bool,
        fine: FineLevels | None = None,
    ) -> None:
        self._levels = x[: extractor.num_inputs]
        self._rois, self._extractor = rois, extractor
        strides = dict(enumerate(extractor.featmap_strides))
        self._coarse = tuple(strides)
        self._fine = self._coarse if fine is None else fine.indices
        if fine is not None:
            strides.update(zip(fine.indices, fine.strides, strict=True))
        read = {index: x[index] for index in strides}
        sizes = covered_sizes(list(read.values()), list(strides.values()), rois)
        self._sizes = dict(zip(read, sizes, strict=True))
        boxes, images = rois[:, 1:], rois[:, 0].long()
        self._samplers: dict[int, Callable[[Tensor], Tensor]] = {
            index: BoxSampler(level, boxes / self._sizes[index].repeat(2), images)
            if with_gradients
            else functools.partial(sample_features, level, map_index=images)
            for index, level in read.items()
        }

    def at(self, points: Tensor) -> Tensor:
        """Features at points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).

        Returns:
            Features, shape (R, P, C).
        """
        return self._sample(self._in_levels(points, self._fine))

    def _in_levels(self, points: Tensor, levels: Sequence[int]) -> dict[int, Tensor]:
        """Points (R, P, 2) of RoIs in ``[0, 1]^2`` of each level."""
        in_image = roi_points_to_image(self._rois[:, 1:], points)
        return {index: in_image / self._sizes[index] for index in levels}

    def _sample(self, points: Mapping[int, Tensor]) -> Tensor:
        """Features (R, P, C) at points of each level."""
        features = [self._samplers[index](places) for index, places in points.items()]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)

    def on_grid(self) -> Tensor:
        """Features that the extractor gives the coarse head, shape (R, C, h, w), channels-last where they are samples.

        The samples' own layout is the quicker one for the convolution that follows, too.
        """
        if not _samples_a_grid(self._extractor):
            return self._extractor(self._levels, self._rois)
        height, width = self._extractor.roi_layers[0].output_size
        points = regular_grid(height, width, self._rois.device).expand(len(self._rois), -1, -1)
        # mmcv's coordinates go through [-1, 1] and lose their last bits, a hundred-thousandth of a pixel. That matters
        # to no training, but a ReLU whose input is as close to 0 as that has another gradient than mmdet's: with the
        # same bits the gradients of a step differ by 3e-4 instead of 1.5e-3.
        points_of_levels = {
            index: ((2 * places - 1) + 1) / 2
            for index, places in self._in_levels(points, self._coarse).items()
        }
        features = self._sample(points_of_levels)
        return features.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def covered_sizes(levels: Sequence[Tensor], strides: Sequence[float], rois: Tensor) -> list[Tensor]:
    """Size of what each feature level covers, in pixels of the network's input.

    Args:
        levels: Feature levels, each (B, C_l, H, W).
        strides: Stride of each.
        rois: RoIs, of the dtype wanted, where it is wanted.

    Returns:
        (width, height) of each level, shape (2,).
    """
    return [
        extent(level.shape[-2] * stride, level.shape[-1] * stride, rois)
        for level, stride in zip(levels, strides, strict=True)
    ]


def _samples_a_grid(extractor: BaseRoIExtractor) -> bool:
    """Whether an extractor does nothing but sample a regular grid from each level."""
    return (
        type(extractor) is GenericRoIExtractor
        and (extractor.aggregation == 'concat' or extractor.num_inputs == 1)
        and not extractor.with_pre
        and not extractor.with_post
        and all(type(layer) is SimpleRoIAlign and layer.aligned for layer in extractor.roi_layers)
    )
