# Copyright (c) The mmpointrend authors.
"""Fine-grained features of RoIs: the coarse head's grid is a set of points like any other.

R RoIs of all images together, C channels over all fine levels, P points.
"""

import functools
from collections.abc import Callable, Iterable, Sequence

import torch
from mmcv.ops import SimpleRoIAlign
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor, GenericRoIExtractor
from torch import Tensor

from mmpointrend.models.roi_heads.frames import FineLevels, RoIFrames
from mmpointrend.points import BoxSampler, regular_grid, sample_features

__all__ = ['BoxFeatures']


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

    Attributes:
        fine: The RoIs on the levels of the points.

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
        self._rois, self._extractor, self._with_gradients = rois, extractor, with_gradients
        number = extractor.num_inputs
        self._coarse = RoIFrames(x[:number], extractor.featmap_strides[:number], rois)
        self.fine = self._coarse if fine is None else RoIFrames(fine.of(x), fine.strides, rois)
        self._samplers: dict[tuple[int, float], Callable[[Tensor], Tensor]] = {}

    def at(self, points: Tensor) -> Tensor:
        """Features at points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).

        Returns:
            Features, shape (R, P, C).
        """
        return self._sample(self.fine, self.fine.points(points))

    def _sample(self, frames: RoIFrames, points: Iterable[Tensor]) -> Tensor:
        """Features (R, P, C) at points of each level."""
        features = [self._sampler(frames, number)(places) for number, places in enumerate(points)]
        return features[0] if len(features) == 1 else torch.cat(features, dim=-1)

    def _sampler(self, frames: RoIFrames, number: int) -> Callable[[Tensor], Tensor]:
        """What reads a level, the same for both heads."""
        level = frames.levels[number]
        key = id(level), frames.strides[number]
        if key not in self._samplers:
            self._samplers[key] = (
                BoxSampler(level, frames.boxes()[number], frames.images)
                if self._with_gradients
                else functools.partial(sample_features, level, map_index=frames.images)
            )
        return self._samplers[key]

    def on_grid(self) -> Tensor:
        """Features that the extractor gives the coarse head, shape (R, C, h, w), channels-last where they are samples.

        The samples' own layout is the quicker one for the convolution that follows, too.
        """
        if not _samples_a_grid(self._extractor):
            return self._extractor(self._coarse.levels, self._rois)
        height, width = self._extractor.roi_layers[0].output_size
        points = regular_grid(height, width, self._rois.device).expand(len(self._rois), -1, -1)
        # mmcv's coordinates go through [-1, 1] and lose their last bits, a hundred-thousandth of a pixel. That matters
        # to no training, but a ReLU whose input is as close to 0 as that has another gradient than mmdet's: with the
        # same bits the gradients of a step differ by 3e-4 instead of 1.5e-3.
        rounded = [((2 * places - 1) + 1) / 2 for places in self._coarse.points(points)]
        features = self._sample(self._coarse, rounded)
        return features.unflatten(1, (height, width)).permute(0, 3, 1, 2)


def _samples_a_grid(extractor: BaseRoIExtractor) -> bool:
    """Whether an extractor does nothing but sample a regular grid from each level."""
    return (
        type(extractor) is GenericRoIExtractor
        and (extractor.aggregation == 'concat' or extractor.num_inputs == 1)
        and not extractor.with_pre
        and not extractor.with_post
        and all(type(layer) is SimpleRoIAlign and layer.aligned for layer in extractor.roi_layers)
    )
