# Copyright (c) The mmpointrend authors.
"""PointRend on RoI heads of mmdet that score or weigh what Mask R-CNN's does not.

R RoIs of all images together, K classes (1 if class-agnostic), C channels of RoI features; x is the tuple of feature
levels (B, C, H, W).
"""

from typing import Any

import torch
import torch.nn.functional as F
from mmdet.models.roi_heads import PISARoIHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS as MMDET_MODELS
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.checks import features_of_mask_head
from mmpointrend.models.roi_heads.point_refinement import detected
from mmpointrend.models.roi_heads.pointrend_roi_head import ROI_HEAD_RULES, PointRendRoIHead
from mmpointrend.models.scope import build_part, scoped
from mmpointrend.registry import MODELS
from mmpointrend.rules import PART, check, configured, number

__all__ = ['MaskScoringPointRendRoIHead', 'PISAPointRendRoIHead']


@MODELS.register_module()
class PISAPointRendRoIHead(PointRendRoIHead, PISARoIHead):
    """PISA's RoI head with PointRend's mask branch: box samples are weighed by mmdet's, masks are ours.

    Config keys are those of :class:`mmpointrend.models.PointRendRoIHead`, with ``train_cfg.isr`` and ``carl``.
    """


@MODELS.register_module()
class MaskScoringPointRendRoIHead(PointRendRoIHead):
    """Mask Scoring R-CNN's RoI head with PointRend's mask branch.

    mmdet's mask IoU head scores the coarse mask, which is enlarged to the size that it asks for: twice that of the RoI
    features. Config keys are those of :class:`mmpointrend.models.PointRendRoIHead`, with ``train_cfg.mask_thr_binary``
    for the targets of the IoU; ``mask_iou_head`` may leave out ``num_classes``, ``in_channels`` and ``roi_feat_size``.

    Args:
        mask_iou_head: Config of the mask IoU head.
        **kwargs: Those of :class:`mmpointrend.models.PointRendRoIHead`.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the fix.
    """

    @configured('roi_head', None, mask_iou_head=PART, **ROI_HEAD_RULES)
    def __init__(self, mask_iou_head: dict, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        channels, height, width = features_of_mask_head(self.mask_roi_extractor, self._shared_head)
        known = {
            'num_classes': self.bbox_head.num_classes,
            'in_channels': channels,
            'roi_feat_size': (height, width),
        }
        filled = {**known, **scoped(mask_iou_head, 'mmdet')}
        if filled['num_classes'] != known['num_classes']:
            raise ConfigError(
                f'roi_head.mask_iou_head.num_classes is {filled["num_classes"]}, roi_head.bbox_head.num_classes is '
                f'{known["num_classes"]}: leave it out, it is filled in'
            )
        self.mask_iou_head = build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.mask_iou_head')
        if self.train_cfg is not None:
            check(self.train_cfg, 'train_cfg.rcnn', {'mask_thr_binary': number().needed()})

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Losses of the coarse head, of the point head and of the mask IoU head.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            bbox_feats: Unused, mmdet's interface.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.

        Returns:
            mmdet's, with ``loss_mask``, ``loss_point`` and ``loss_mask_iou`` under 'loss_mask'.
        """
        results = super().mask_loss(x, sampling_results, bbox_feats, batch_gt_instances)
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        coarse, ious = self._scored(results, labels)
        results['loss_mask'].update(
            self.mask_iou_head.loss_and_target(
                ious,
                coarse,
                results['mask_targets'],
                sampling_results,
                batch_gt_instances,
                self.train_cfg,
            )
        )
        return results

    def _scored(self, results: dict, labels: Tensor) -> tuple[Tensor, Tensor]:
        """Coarse logits (R, h, h) of each RoI's own class, and the IoU (R,) predicted of them."""
        features, masks = results['mask_feats'], results['mask_preds']
        regions = torch.arange(len(labels), device=labels.device)
        coarse = masks[regions, labels if masks.shape[1] > 1 else torch.zeros_like(labels)]
        size = [2 * side for side in features.shape[-2:]]
        if len(coarse) == 0:
            enlarged = coarse.new_zeros(0, *size)
        else:
            enlarged = F.interpolate(coarse[:, None], size, mode='bilinear')[:, 0]
        return coarse, self.mask_iou_head(features, enlarged)[regions, labels]

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Render the masks of detections, and multiply their scores by the IoU predicted of the coarse ones.

        Args:
            x: Feature levels, each (B, C, H, W).
            batch_img_metas: Meta information of each image.
            results_list: Detections of each image: ``bboxes``, ``labels`` and ``scores``.
            rescale: Whether ``bboxes`` become boxes of the original image, in place, and masks have its size.

        Returns:
            ``results_list`` with ``masks``.
        """
        rois, labels = detected(results_list)
        found = self._mask_forward(x, rois)
        _, ious = self._scored(found, labels)
        for results, own in zip(
            results_list, ious.split([len(results) for results in results_list]), strict=True
        ):
            results.scores = results.scores * own
        outputs = found['mask_preds']
        return self._predict_masks(x, outputs, batch_img_metas, results_list, rescale)
