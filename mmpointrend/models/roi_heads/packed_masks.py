# Copyright (c) The mmpointrend authors.
"""Binary masks of one image, each stored as the window that holds its pixels.

M masks, N boxes, P points; H and W are the image's height and width.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from mmdet.structures.mask import BaseInstanceMasks, PolygonMasks
from pycocotools import mask as mask_api
from torch import Tensor

from mmpointrend.points import sample_windows

__all__ = ['PackedMasks']


@dataclass(frozen=True)
class PackedMasks:
    """Masks (M, H, W) that are 0 outside their windows.

    Attributes:
        pixels: The windows' pixels, 0 or 1, one window after the other, each row by row; shape (num_pixels,).
        windows: Left and top edge, width and height of each window in pixels of the image, and the index of its first
            pixel; int64, shape (M, 5).
        size: (H, W).
    """

    pixels: np.ndarray
    windows: np.ndarray
    size: tuple[int, int]

    @classmethod
    def of(
        cls, masks: BaseInstanceMasks, numbers: Sequence[int], size: tuple[int, int]
    ) -> 'PackedMasks':
        """Pack some of an image's masks.

        Args:
            masks: Bitmaps, padded or not, or polygons.
            numbers: Indices of the masks that are wanted.
            size: (H, W), without padding.

        Returns:
            The masks in the order of ``numbers``. Bitmaps are not copied; polygons are rasterised as pycocotools does
            at the size of the image, inside their windows alone.
        """
        if isinstance(masks, PolygonMasks):
            return cls._of_polygons([masks.masks[number] for number in numbers], size)
        bitmaps = masks.to_ndarray()
        height, width = bitmaps.shape[-2:]
        firsts = np.asarray(numbers, np.int64) * (height * width)
        whole = np.broadcast_to([0, 0, width, height], (len(firsts), 4))
        return cls(bitmaps.reshape(-1), np.column_stack([whole, firsts]), size)

    @classmethod
    def _of_polygons(
        cls, polygons: Sequence[Sequence[np.ndarray]], size: tuple[int, int]
    ) -> 'PackedMasks':
        limits = np.array([size[1], size[0]])
        windows, pixels, first = [], [np.zeros(0, np.uint8)], 0
        for parts in polygons:
            corners = np.concatenate(parts).reshape(-1, 2)
            low = np.clip(np.floor(corners.min(axis=0)).astype(np.int64) - 1, 0, limits)
            high = np.clip(np.ceil(corners.max(axis=0)).astype(np.int64) + 2, low, limits)
            # Rasterised in its place, from the image's corner on: pycocotools rounds moved polygons in another way.
            runs = mask_api.merge(mask_api.frPyObjects(list(parts), high[1], high[0]))
            pixels.append(mask_api.decode(runs)[low[1] :, low[0] :].ravel())
            width, height = high - low
            windows.append([*low, width, height, first])
            first += width * height
        return cls(
            np.concatenate(pixels), np.array(windows, np.int64).reshape(len(polygons), 5), size
        )

    def window(self, number: int) -> tuple[np.ndarray, int, int]:
        """Pixels (height, width) of a mask's window, and its left and top edge."""
        left, top, width, height, first = self.windows[number].tolist()
        return self.pixels[first : first + width * height].reshape(height, width), left, top

    def whole(self, number: int) -> np.ndarray:
        """One mask, float32, shape (H, W)."""
        window, left, top = self.window(number)
        mask = np.zeros(self.size, np.float32)
        place = mask[top : top + window.shape[0], left : left + window.shape[1]]
        place[:] = window[: place.shape[0], : place.shape[1]]
        return mask

    def at(self, points: Tensor, numbers: Tensor) -> Tensor:
        """Bilinear values of masks: the training target of points, not thresholded (paper, App. A).

        Args:
            points: Points (x, y) in pixels of the image, edges at whole numbers, shape (N, P, 2).
            numbers: The mask of each row of points, in ``[0, M)``, integer, shape (N,).

        Returns:
            Values in ``[0, 1]``, 0 outside the image, float32, shape (N, P).
        """
        pixels, windows = (
            torch.from_numpy(part).to(points.device) for part in (self.pixels, self.windows)
        )
        return sample_windows(pixels, windows, points, numbers)
