# Copyright (c) The mmpointrend authors.
"""Ground-truth masks in training, without a full-image copy of the mask for every positive box."""

import copy
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from mmcv.ops import roi_align
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.outlines import check_polygons

__all__ = ['MaskwiseCrops', 'for_mask_targets']

# Pixels. A box out there covers nothing of any image, and integers still count the steps of outlines around it.
_FARTHEST = 1e6


class MaskwiseCrops(BitmapMasks):
    """Bitmaps that are cropped one mask after the other.

    mmdet's own first repeats each box's mask as floats: 0.5 GB for 128 boxes on images of 800x1216, and 0.3 s of a step
    that takes 0.8 s without. Here one mask at a time is float, and of it only what its boxes cover. Values are equal.
    """

    @classmethod
    def of(cls, bitmaps: BitmapMasks) -> 'MaskwiseCrops':
        """The same bitmaps, not copied as mmdet's constructor would."""
        crops = cls([], bitmaps.height, bitmaps.width)
        crops.masks = bitmaps.masks
        return crops

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
            interpolation: Ignored, mmdet's interface.
            binarize: Whether crops are thresholded at 0.5.

        Returns:
            R masks of ``out_shape``.
        """
        boxes = torch.as_tensor(bboxes).to(device)
        extents = boxes.cpu().numpy()
        numbers = torch.as_tensor(inds).cpu().numpy()
        crops = torch.zeros(len(boxes), *out_shape, device=device)
        # A crop keeps its place in the image, for the sums of moved coordinates are rounded in another way. What is
        # left of the mask before is read by no box.
        image = torch.zeros(1, 1, self.height, self.width, device=device)
        for number in np.unique(numbers):
            own = np.flatnonzero(numbers == number)
            place = self._pixels_of(extents[own])
            image[0, 0][place] = torch.from_numpy(self.masks[number][place]).to(image)
            rois = F.pad(boxes[own], (1, 0))
            crops[own] = roi_align(image, rois, out_shape, 1.0, 0, 'avg', True)[:, 0]
        masks = (crops >= 0.5 if binarize else crops).cpu().numpy()
        return BitmapMasks(masks, *out_shape)

    def _pixels_of(self, boxes: np.ndarray) -> tuple[slice, slice]:
        """Rows and columns that round all boxes can be read, the neighbours of a sample among them."""
        low = np.floor(boxes[:, :2].min(axis=0)) - 2
        high = np.ceil(boxes[:, 2:].max(axis=0)) + 2
        limits = (self.width, self.height)
        columns, rows = (
            slice(int(np.clip(start, 0, limit)), int(np.clip(stop, 0, limit)))
            for start, stop, limit in zip(low, high, limits, strict=True)
        )
        return rows, columns


def _within_reach(boxes: Tensor) -> Tensor:
    """A copy of boxes (R, 4) with numbers that masks can be drawn at.

    Boxes of a model that diverges are not finite, and on them pycocotools draws polygons for ever.
    """
    return torch.nan_to_num(boxes, nan=0.0).clamp(-_FARTHEST, _FARTHEST)


def for_mask_targets(
    sampling_results: Sequence[SamplingResult], batch_gt_instances: Sequence[InstanceData]
) -> tuple[list[SamplingResult], list[InstanceData]]:
    """What mmdet's mask heads make their targets of, such that this costs little and changes nothing.

    mmdet's ``mask_target_single`` clips the positives' boxes to the image *in place* on a CPU: the point branch, which
    comes next, would see other boxes than on a GPU, and than in detectron2.

    Args:
        sampling_results: Sampled boxes of each image; left as they are.
        batch_gt_instances: Ground truth of each image, with ``masks``; left as it is.

    Raises:
        InputError: A polygon cannot be drawn.

    Returns:
        The sampling results with boxes of their own, and the ground truth with :class:`MaskwiseCrops` for bitmaps
        (polygons are cropped one by one anyway).
    """
    results = [copy.copy(result) for result in sampling_results]
    for result in results:
        result.pos_priors = _within_reach(result.pos_priors)
    batch: list[InstanceData] = []
    for instances in batch_gt_instances:
        masks = instances.masks
        if isinstance(masks, BitmapMasks):
            instances = instances.new()
            instances.masks = MaskwiseCrops.of(masks)
        elif isinstance(masks, PolygonMasks):
            check_polygons(masks.masks, f'image {len(batch)} of the batch')
        batch.append(instances)
    return results, batch
