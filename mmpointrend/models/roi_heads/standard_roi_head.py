# Copyright (c) The mmpointrend authors.
"""mmdet's RoI head, whose mask branch may be trained on the boxes that the box head predicts (paper, App. A)."""

from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.mask import BitmapMasks, PolygonMasks
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.ground_truth import within_reach
from mmpointrend.models.roi_heads.named_parts import NamedPartsRoIHead
from mmpointrend.registry import MODELS
from mmpointrend.rules import TRUTH, check

__all__ = ['StandardRoIHead']


class _CropsAtBoxes:
    """Masks of an image that are cropped at boxes given beforehand.

    mmdet's mask heads ask for crops at boxes that they have clipped to the image, while the features come from the
    boxes as they were predicted.
    """

    def __init__(self, masks: BitmapMasks | PolygonMasks, boxes: Tensor) -> None:
        self._masks = masks
        self._boxes = within_reach(boxes).cpu().numpy()
        self.height, self.width = masks.height, masks.width

    def __len__(self) -> int:
        return len(self._masks)

    def crop_and_resize(self, bboxes: Any, *args: Any, **kwargs: Any) -> BitmapMasks | PolygonMasks:
        """Crops at the given boxes, instead of at ``bboxes``; see mmdet's ``BaseInstanceMasks.crop_and_resize``."""
        return self._masks.crop_and_resize(self._boxes, *args, **kwargs)


def _cropped_at(boxes: Tensor, instances: InstanceData) -> InstanceData:
    """Ground truth of an image whose masks are cropped at ``boxes`` (pos, 4), which are not clipped."""
    instances = instances.new()
    instances.masks = _CropsAtBoxes(instances.masks, boxes)
    return instances


@MODELS.register_module()
class StandardRoIHead(NamedPartsRoIHead):
    """mmdet's ``StandardRoIHead``, with ``train_cfg.train_on_pred_boxes`` (default False).

    With it the mask branch is trained on the boxes predicted for the positives' ground-truth class, not clipped, as in
    detectron2: features and targets are those of the same boxes.

    Args:
        **kwargs: Those of mmdet's ``StandardRoIHead``.

    Raises:
        ConfigError: ``train_on_pred_boxes`` is not a bool, or the mask branch has no features of its own boxes.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        settings = self.train_cfg or {}
        check(settings, 'train_cfg.rcnn', {'train_on_pred_boxes': TRUTH})
        self.train_on_pred_boxes = settings.get('train_on_pred_boxes', False)
        if self.train_on_pred_boxes and self.with_mask and self.share_roi_extractor:
            raise ConfigError(
                'train_cfg.rcnn.train_on_pred_boxes is True, but without roi_head.mask_roi_extractor the mask head '
                'reads features of proposals: add a mask_roi_extractor, or set train_on_pred_boxes to False'
            )

    def bbox_loss(
        self, x: tuple[Tensor, ...], sampling_results: list[SamplingResult], **kwargs: Any
    ) -> dict:
        """mmdet's box loss, after which the mask branch's boxes are set.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled proposals of each image. With ``train_on_pred_boxes`` their ``pos_priors``
                become the boxes predicted for them: the mask branch, which comes next, takes its boxes from there.
            **kwargs: Those of another class of mmdet's that this one is mixed with.

        Returns:
            mmdet's.
        """
        results = super().bbox_loss(x, sampling_results, **kwargs)
        if self.train_on_pred_boxes:
            sizes = [len(result.priors) for result in sampling_results]
            for result, deltas in zip(
                sampling_results, results['bbox_pred'].detach().split(sizes), strict=True
            ):
                result.pos_priors = self._predicted_boxes(result, deltas)
        return results

    def _predicted_boxes(self, result: SamplingResult, deltas: Tensor) -> Tensor:
        """Boxes (pos, 4) of an image's positives as predicted for their ground-truth class, not clipped."""
        num_positives = len(result.pos_priors)
        deltas = deltas[:num_positives]
        if not self.bbox_head.reg_class_agnostic:
            size = self.bbox_head.bbox_coder.encode_size
            per_class = deltas.reshape(num_positives, self.bbox_head.num_classes, size)
            deltas = per_class[torch.arange(num_positives), result.pos_gt_labels]
        return self.bbox_head.bbox_coder.decode(result.pos_priors, deltas)

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """mmdet's mask loss; predicted boxes reach over the border in the targets as in the features.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image.
            bbox_feats: RoI features of the box head.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.

        Returns:
            mmdet's.
        """
        if self.train_on_pred_boxes:
            batch_gt_instances = [
                _cropped_at(result.pos_priors, instances)
                for result, instances in zip(sampling_results, batch_gt_instances, strict=True)
            ]
        return super().mask_loss(x, sampling_results, bbox_feats, batch_gt_instances)
