# Copyright (c) The mmpointrend authors.
"""Where RoIs and their points lie on feature levels. R RoIs of all images together, P points, B images."""

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from mmpointrend.models.taps import level_of
from mmpointrend.points import extent, roi_points_to_image

__all__ = ['FineLevels', 'RoIFrames']

_ALL = slice(None)


class FineLevels(NamedTuple):
    """The feature levels that points are read from.

    Attributes:
        indices: Their places among the RoI head's feature levels, or names of maps that are kept besides.
        strides: The stride of each.
    """

    indices: tuple[int | str, ...]
    strides: tuple[float, ...]

    def of(self, x: Sequence[Tensor]) -> tuple[Tensor, ...]:
        """The levels (B, C_l, H, W) among all of the RoI head's."""
        return tuple(level_of(x, index, 'roi_head.point_head.in_index') for index in self.indices)


class RoIFrames:
    """RoIs seen from feature levels: places in ``[0, 1]^2`` of a level instead of pixels of the network's input.

    Attributes:
        levels: Feature levels, each (B, C_l, H, W).
        strides: The stride of each.
        rois: Image number and box in pixels of the network's input, shape (R, 5).
        images: The image of each RoI, integer, shape (R,).

    Args:
        levels: Feature levels.
        strides: The stride of each.
        rois: The RoIs.
    """

    def __init__(self, levels: Sequence[Tensor], strides: Sequence[float], rois: Tensor) -> None:
        self.levels, self.strides, self.rois = tuple(levels), tuple(strides), rois
        self.images = rois[:, 0].long()
        # What a level covers: a last cell that reaches over the image's border counts whole.
        self._sizes = [
            extent(level.shape[-2] * stride, level.shape[-1] * stride, rois)
            for level, stride in zip(levels, strides, strict=True)
        ]

    def __getitem__(self, regions: Tensor | slice) -> 'RoIFrames':
        """The same levels, some of the RoIs."""
        return RoIFrames(self.levels, self.strides, self.rois[regions])

    def points(self, points: Tensor, regions: slice = _ALL) -> list[Tensor]:
        """Carry points of RoIs over to the levels.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (r, P, 2).
            regions: The r RoIs out of R that the points belong to.

        Returns:
            The points in ``[0, 1]^2`` of each level, outside it where the RoI is, each (r, P, 2).
        """
        in_image = roi_points_to_image(self.rois[regions, 1:], points)
        return [in_image / size for size in self._sizes]

    def boxes(self) -> list[Tensor]:
        """The boxes (x1, y1, x2, y2) of the RoIs in ``[0, 1]`` of each level, each (R, 4)."""
        return [self.rois[:, 1:] / size.repeat(2) for size in self._sizes]
