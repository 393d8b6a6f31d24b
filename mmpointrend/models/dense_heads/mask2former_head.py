# Copyright (c) The mmpointrend authors.
"""Mask2Former's head, whose point losses read masks by the core.

Q queries, G masks of the ground truth of an image, K classes, P points, h and w the predicted masks' height and width.
"""

from collections.abc import Sequence
from typing import Any

import torch
from mmdet.models.dense_heads import Mask2FormerHead as MMDetMask2FormerHead
from mmdet.utils import reduce_mean
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.points import (
    BiasedSelection,
    logit_uncertainty,
    sample_features,
    sample_masks,
)
from mmpointrend.registry import MODELS

__all__ = ['Mask2FormerHead']


@MODELS.register_module()
class Mask2FormerHead(MMDetMask2FormerHead):
    """mmdet's Mask2Former head with the same losses at the same points, in less time and memory.

    Config keys, state-dict names and random numbers are mmdet's. What differs is how masks are read: the ground truth's
    stay in 8 bits and are looked up at the points, where mmdet makes copies of whole masks in 64-bit integers and in
    floats for each decoder layer; all queries of an image are matched at one set of points, read once; and matching,
    which has no gradient, keeps none.
    """

    def preprocess_gt(
        self, batch_gt_instances: list[InstanceData], batch_gt_semantic_segs: Sequence[Any]
    ) -> list[InstanceData]:
        """Ground truth of each image, masks in 8 bits.

        Args:
            batch_gt_instances: Instances of each image, with ``labels`` and ``masks``.
            batch_gt_semantic_segs: Semantic labels of each image, or None of each.

        Returns:
            ``labels`` (G,) and ``masks`` (G, H, W), uint8, of each image.
        """
        prepared = []
        for instances, labels in zip(batch_gt_instances, batch_gt_semantic_segs, strict=True):
            # One image after the other: mmdet's are 64-bit integers.
            (image,) = super().preprocess_gt([instances], [labels])
            prepared.append(InstanceData(labels=image.labels, masks=image.masks.to(torch.uint8)))
        return prepared

    @torch.no_grad()
    def _get_targets_single(
        self, cls_score: Tensor, mask_pred: Tensor, gt_instances: InstanceData, img_meta: dict
    ) -> tuple:
        """Match queries with an image's ground truth at common points.

        mmdet's interface and results, with one exception: in the place of the matched queries' mask targets are the
        indices of their masks.
        """
        points = torch.rand(1, self.num_points, 2, device=cls_score.device)
        labels, masks = gt_instances.labels, gt_instances.masks
        numbers = torch.arange(len(masks), device=labels.device)
        predicted = InstanceData(
            scores=cls_score, masks=sample_features(mask_pred[None], points)[0].mT
        )
        truth = InstanceData(
            labels=labels, masks=sample_masks(masks, points.expand(len(masks), -1, -1), numbers)
        )
        matched = self.assigner.assign(
            pred_instances=predicted, gt_instances=truth, img_meta=img_meta
        )
        # Any masks do: the sampler copies those that it is given.
        sampled = self.sampler.sample(
            assign_result=matched, pred_instances=predicted, gt_instances=truth
        )
        positive, of_truth = sampled.pos_inds, sampled.pos_assigned_gt_inds
        targets = labels.new_full((self.num_queries,), self.num_classes)
        targets[positive] = labels[of_truth]
        mask_weights = mask_pred.new_zeros(self.num_queries)
        mask_weights[positive] = 1
        return (
            targets,
            labels.new_ones(self.num_queries),
            of_truth,
            mask_weights,
            positive,
            sampled.neg_inds,
            sampled,
        )

    def _loss_by_feat_single(
        self,
        cls_scores: Tensor,
        mask_preds: Tensor,
        batch_gt_instances: list[InstanceData],
        batch_img_metas: list[dict],
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Losses of one decoder layer, mmdet's interface.

        Args:
            cls_scores: Class logits, shape (B, Q, K + 1).
            mask_preds: Mask logits, shape (B, Q, h, w).
            batch_gt_instances: Of :meth:`preprocess_gt`.
            batch_img_metas: Meta information of each image.

        Returns:
            Losses of classes, of masks, and dice loss of masks.
        """
        targets, weights, of_truth, are_matched, num_masks = self.get_targets(
            list(cls_scores), list(mask_preds), batch_gt_instances, batch_img_metas
        )
        labels = torch.cat(targets)
        loss_cls = self.loss_cls(
            cls_scores.flatten(0, 1),
            labels,
            torch.cat(weights),
            avg_factor=cls_scores.new_tensor(self.class_weight)[labels].sum(),
        )
        masks = mask_preds[torch.stack(are_matched) > 0].unsqueeze(1)
        # Over all ranks, each of which has its part in this.
        num_masks = reduce_mean(cls_scores.new_tensor([num_masks])).clamp(min=1)
        if len(masks) == 0:
            nothing = masks.sum()
            return loss_cls, nothing, nothing
        points = self._select_points(masks)
        truth = torch.cat(
            [
                sample_masks(instances.masks, at, indices)
                for instances, at, indices in zip(
                    batch_gt_instances,
                    points.split([len(indices) for indices in of_truth]),
                    of_truth,
                    strict=True,
                )
            ]
        )
        logits = sample_features(masks, points).squeeze(2)
        loss_dice = self.loss_dice(logits, truth, avg_factor=num_masks)
        loss_mask = self.loss_mask(
            logits.flatten(), truth.flatten(), avg_factor=num_masks * self.num_points
        )
        return loss_cls, loss_mask, loss_dice

    @torch.no_grad()
    def _select_points(self, masks: Tensor) -> Tensor:
        """Points (N, P, 2) of masks (N, 1, h, w), chosen as PointRend does."""
        selection = BiasedSelection(self.oversample_ratio, self.importance_sample_ratio)

        def uncertainty_at(points: Tensor) -> Tensor:
            return logit_uncertainty(sample_features(masks, points).mT)

        return selection(len(masks), self.num_points, uncertainty_at, masks.device)
