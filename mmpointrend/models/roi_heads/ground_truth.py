# Copyright (c) The mmpointrend authors.
"""Ground-truth masks in training, without a full-image copy of the mask for every positive box."""

from collections.abc import Sequence

import numpy as np
import torch
from mmdet.structures.mask import BitmapMasks
from mmengine.structures import InstanceData
from torch import Tensor

__all__ = ['MaskwiseCrops', 'with_maskwise_crops']


class MaskwiseCrops(BitmapMasks):
    """Bitmaps that are cropped one mask after the other.

    mmdet's own first repeats each box's mask as floats: 0.5 GB for 128 boxes on images of 800x1216. Values are equal.
    """

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> BitmapMasks:
        """Crops of masks, see mmdet's ``BaseInstanceMasks.crop_and_resize``.

        Args:
            bboxes: Boxes (x1, y1, x2, y2) in the image's pixels, shape (R, 4).
            out_shape: Height and width of the crops.
            inds: The mask of each box, integer, shape (R,).
            device: Where to compute.
            interpolation: Passed on, mmdet's interface.
            binarize: Whether crops are thresholded at 0.5.

        Returns:
            R masks of ``out_shape``.
        """
        boxes, numbers = torch.as_tensor(bboxes).cpu().numpy(), torch.as_tensor(inds).cpu().numpy()
        crops = np.zeros((len(boxes), *out_shape), dtype=bool if binarize else np.float32)
        for number in np.unique(numbers):
            own = numbers == number
            mask = BitmapMasks(self.masks[number : number + 1], self.height, self.width)
            first = np.zeros(own.sum(), dtype=np.int64)
            crops[own] = mask.crop_and_resize(
                boxes[own], out_shape, first, device, interpolation, binarize
            ).masks
        return BitmapMasks(crops, *out_shape)


def with_maskwise_crops(batch_gt_instances: Sequence[InstanceData]) -> list[InstanceData]:
    """Ground truth whose bitmaps are :class:`MaskwiseCrops`; polygons, which are cropped one by one, stay.

    Args:
        batch_gt_instances: Ground truth of each image, with ``masks``; left as it is.

    Returns:
        The same data in other containers.
    """
    batch = []
    for instances in batch_gt_instances:
        masks = instances.masks
        if isinstance(masks, BitmapMasks):
            instances = instances.new()
            instances.masks = MaskwiseCrops(masks.masks, masks.height, masks.width)
        batch.append(instances)
    return batch
