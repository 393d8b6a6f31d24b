# Copyright (c) The mmpointrend authors.
"""Ground-truth masks in training: targets of the coarse head and of the point head from the same bitmaps.

R RoIs of all images together, P points. Boxes are in pixels of the network's input and need not lie inside the image.
"""

import copy
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.mask import BaseInstanceMasks, BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.models.roi_heads.mask_crops import aligned_crops, thresholded_crops
from mmpointrend.models.roi_heads.packed_masks import PackedMasks
from mmpointrend.outlines import check_polygons
from mmpointrend.points import roi_points_to_image

__all__ = ['BoxedMasks', 'MaskTargets', 'within_reach']

# Pixels. A box out there covers nothing of any image.
_FARTHEST = 1e5


def within_reach(boxes: Tensor) -> Tensor:
    """Copy boxes with numbers that masks can be read at.

    Boxes of a model that diverges are not finite, and at them pycocotools draws polygons for ever.

    Args:
        boxes: Boxes (x1, y1, x2, y2) in pixels, shape (N, 4).

    Returns:
        The boxes, NaN as 0, no coordinate farther out than 100,000 pixels, without gradient.
    """
    return torch.nan_to_num(boxes.detach(), nan=0.0).clamp(-_FARTHEST, _FARTHEST)


class BoxedMasks(BitmapMasks):
    """Masks of one image together with the boxes that they are read at.

    mmdet's mask heads clip the boxes to the (padded) image before they crop the masks, so that the target is of another
    box than the features. Here :meth:`crop_and_resize` crops at the boxes themselves, as detectron2 does: outside the
    image is background, and padding is not part of the image.

    Args:
        result: The image's sampled boxes.
        instances: The image's ground truth: ``masks`` as bitmaps or polygons, and ``img_shape`` among its meta
            information if the masks are padded.
    """

    def __init__(self, result: SamplingResult, instances: InstanceData) -> None:
        masks: BaseInstanceMasks = instances.masks
        height, width = (instances.get('img_shape') or (masks.height, masks.width))[:2]
        # Without masks: mmdet's constructor would copy them.
        super().__init__([], min(height, masks.height), min(width, masks.width))
        # Boxes of a model that diverges are not finite, and no mask can be read at them.
        self.boxes = torch.nan_to_num(result.pos_priors.detach(), nan=0.0).clamp(
            -_FARTHEST, _FARTHEST
        )
        assigned, self.numbers = result.pos_assigned_gt_inds.unique(return_inverse=True)
        self.packed = PackedMasks.of(masks, assigned.tolist(), (self.height, self.width))

    def crop_and_resize(
        self,
        bboxes: np.ndarray | Tensor,
        out_shape: tuple[int, int],
        inds: np.ndarray | Tensor,
        device: str | torch.device = 'cpu',
        interpolation: str = 'bilinear',
        binarize: bool = True,
    ) -> BitmapMasks:
        """Crop the masks at the boxes that were given when the object was made.

        Args:
            bboxes: Ignored: the same boxes, clipped.
            out_shape: Height and width of the crops.
            inds: Ignored: the same numbers.
            device: Where to compute.
            interpolation: Ignored, mmdet's interface.
            binarize: Whether crops are thresholded at 0.5.

        Returns:
            N masks of ``out_shape``: RoIAlign of the bitmaps, aligned, with samples at every pixel.
        """
        boxes, numbers = self.boxes.to(device), self.numbers.cpu()
        kind = torch.bool if binarize else torch.float32
        crops = torch.zeros(len(boxes), *out_shape, dtype=kind, device=device)
        crop = thresholded_crops if boxes.device.type == 'cpu' and binarize else aligned_crops
        for number in range(len(self.packed.windows)):
            own = (numbers == number).nonzero().squeeze(1)
            values = crop(self.packed, number, boxes[own], out_shape)
            crops[own] = values >= 0.5 if binarize else values
        return BitmapMasks(crops.cpu().numpy(), *out_shape)

    def at(self, points: Tensor) -> Tensor:
        """Read the masks at points of the boxes.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their box, shape (N, P, 2).

        Returns:
            Values in ``[0, 1]``, bilinear, 0 outside the image, shape (N, P).
        """
        return self.packed.at(roi_points_to_image(self.boxes, points), self.numbers)


class MaskTargets:
    """Targets of a batch's positives, as detectron2's PointRend has them.

    Polygons are rasterised once, at the size of the image, for both heads.

    Args:
        sampling_results: Sampled boxes of each image; positives may be missing anywhere. Left as they are.
        batch_gt_instances: Ground truth of each image, see :class:`BoxedMasks`. Left as it is.

    Raises:
        InputError: If a polygon cannot be drawn.
    """

    def __init__(
        self,
        sampling_results: Sequence[SamplingResult],
        batch_gt_instances: Sequence[InstanceData],
    ) -> None:
        self._results, self._instances = sampling_results, batch_gt_instances
        for number, instances in enumerate(batch_gt_instances):
            if isinstance(instances.masks, PolygonMasks):
                check_polygons(instances.masks.masks, f'image {number} of the batch')
        self._masks = [
            BoxedMasks(result, instances)
            for result, instances in zip(sampling_results, batch_gt_instances, strict=True)
        ]

    def for_mask_head(self) -> tuple[list[SamplingResult], list[InstanceData]]:
        """Arguments of a mask head's ``loss_and_target``, such that mmdet makes these targets of them.

        Returns:
            The sampling results with boxes of their own, because mmdet clips them in place on a CPU, and the ground
            truth with :class:`BoxedMasks`.
        """
        results, batch = [], []
        for result, instances, masks in zip(
            self._results, self._instances, self._masks, strict=True
        ):
            result = copy.copy(result)
            result.pos_priors = result.pos_priors.clone()
            results.append(result)
            instances = instances.new()
            # Not by attribute, which asks for as many masks as instances: polygons are those of the positives alone.
            instances.set_field(masks, 'masks', dtype=BaseInstanceMasks)
            batch.append(instances)
        return results, batch

    def at(self, points: Tensor) -> Tensor:
        """Mask values at points of the positives.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).

        Returns:
            Values in ``[0, 1]``, bilinear, not thresholded, 0 outside the image, shape (R, P).
        """
        targets = [points.new_zeros(0, points.shape[1])]
        sizes = [len(masks.boxes) for masks in self._masks]
        for own, masks in zip(points.split(sizes), self._masks, strict=True):
            if len(own):
                targets.append(masks.at(own))
        return torch.cat(targets)
