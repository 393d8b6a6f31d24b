# Copyright (c) The mmpointrend authors.
"""Where an original image lies in the network's input."""

from collections.abc import Mapping
from typing import NamedTuple

import torch
from torch import Tensor

from mmpointrend.points import grid_points
from mmpointrend.points.bands import Bands, CroppedBands, FlippedBands, ResizedBands

__all__ = ['Placement']


class Placement(NamedTuple):
    """An original image in a network's input: resized, maybe mirrored, with padding around it.

    Attributes:
        size: Height and width of the original image.
        padding: Pixels of padding in the input, left, right, top and bottom.
        flip: 'horizontal', 'vertical' or None.
    """

    size: tuple[int, int]
    padding: tuple[int, int, int, int] = (0, 0, 0, 0)
    flip: str | None = None

    @classmethod
    def of(cls, meta: Mapping) -> 'Placement':
        """Read the meta information of an image, as mmseg's ``postprocess_result`` does.

        Args:
            meta: With ``ori_shape``, and maybe ``img_padding_size`` or ``padding_size``, ``flip``, ``flip_direction``.

        Returns:
            The placement.
        """
        padding = meta.get('img_padding_size', meta.get('padding_size', (0, 0, 0, 0)))
        flip = meta.get('flip_direction') if meta.get('flip') else None
        return cls(tuple(meta['ori_shape'][:2]), tuple(padding), flip)

    def _window(self, size: tuple[int, int]) -> tuple[int, int, int, int]:
        """First row and column, height and width of the image in an input of a size."""
        left, right, top, bottom = self.padding
        return top, left, size[0] - top - bottom, size[1] - left - right

    def original(self, bands: Bands, align_corners: bool) -> Bands:
        """Take a map of the input back to the original image.

        Args:
            bands: Map of the input, (K, H, W).
            align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

        Returns:
            Map of the original image, (K, height, width).
        """
        bands = CroppedBands(bands, *self._window(bands.shape[1:]))
        if self.flip is not None:
            bands = FlippedBands(bands, self.flip == 'vertical')
        return ResizedBands(bands, *self.size, align_corners)

    def points(self, indices: Tensor, size: tuple[int, int], align_corners: bool) -> Tensor:
        """Where pixels of the original image lie in the input.

        Args:
            indices: Row-major indices of pixels, shape (R, P).
            size: Height and width of the input.
            align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

        Returns:
            Points (x, y) in ``[0, 1]^2`` of the input, shape (R, P, 2).
        """
        points = grid_points(indices, *self.size, align_corners)
        x, y = points.unbind(-1)
        if self.flip == 'horizontal':
            x = 1 - x
        elif self.flip == 'vertical':
            y = 1 - y
        top, left, height, width = self._window(size)
        # Between the centres of border pixels there is a pixel less than between the edges.
        less = 1 if align_corners else 0
        x = (x * (width - less) + left) / max(size[1] - less, 1)
        y = (y * (height - less) + top) / max(size[0] - less, 1)
        return torch.stack([x, y], dim=-1)
