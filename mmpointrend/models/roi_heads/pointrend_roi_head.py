# Copyright (c) The mmpointrend authors.
"""PointRend as an RoI head of mmdet with one stage.

B images, R RoIs of all images together, K classes (1 if class-agnostic); x is the tuple of feature levels (B, C, H, W).
"""

from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.models.roi_heads.named_parts import OF_OTHER_HEADS
from mmpointrend.models.roi_heads.point_refinement import (
    PARTS,
    PointRefinement,
)
from mmpointrend.models.roi_heads.standard_roi_head import StandardRoIHead
from mmpointrend.points import PointSelection
from mmpointrend.registry import MODELS
from mmpointrend.rules import ANYTHING, INIT, PART, configured, naming, optional

__all__ = ['ROI_HEAD_RULES', 'PointRendRoIHead']

ROI_HEAD_RULES = {
    'shared_head': optional(PART),
    **{key: optional(PART, advised=False) for key in (*PARTS, 'point_head')},
    'train_cfg': ANYTHING,
    'test_cfg': ANYTHING,
    'init_cfg': INIT,
}


@MODELS.register_module()
class PointRendRoIHead(PointRefinement, StandardRoIHead):
    """Mask R-CNN's RoI head with PointRend's mask branch (paper, section 4).

    Takes the config keys of mmdet's ``PointRendRoIHead`` and has its state-dict names. Besides them:

    - ``train_cfg.train_on_pred_boxes``: train the mask branch on predicted boxes (paper, App. A), default False;
    - ``train_cfg.point_selection``: any training strategy, see :mod:`mmpointrend.models.selection`;
    - ``train_cfg.normalize_over_ranks``: average the losses of the mask branch over the RoIs of all ranks of a
      distributed run instead of over each rank's own, so that 2 ranks of 1 image train like 1 rank of 2 images, default
      False (mmdet's way: of two ranks, one without positives halves the gradient of the other);
    - ``test_cfg.output_size``: side of the rendered mask, instead of ``subdivision_steps``;
    - ``test_cfg.adaptive_resolution``: render each mask on its own pixels of the output instead of at a fixed size,
      default False (an ``observer`` is refused then);
    - ``test_cfg.refine_min_cells``: boxes that cover fewer cells of the finest fine level than this (width by height,
      each divided by the stride) keep their coarse mask; default 0, all are refined;
    - ``test_cfg.keep_contours``: beside ``masks`` also hand over ``contours``, the outlines of the rendered logits (see
      :mod:`mmpointrend.polygons`), default False;
    - ``test_cfg.mask_output``: 'dense' (mmdet's tensor, default), 'rle' for run lengths, or 'crop' for run lengths with
      the bitmaps of boxes, both made without a bitmap of the whole image, see :mod:`mmpointrend.sparse_masks`;
    - several ``mask_roi_extractor.featmap_strides``: fine features of all these levels are concatenated;
    - ``point_head.featmap_strides``: the strides of the fine feature levels, among those of ``bbox_roi_extractor``, if
      they are not the coarse head's (paper, section 3.2: one level, or several concatenated);
    - ``point_head.in_index``: names of maps of the backbone to read instead, see :mod:`mmpointrend.models.taps`, with
      ``featmap_strides`` and ``in_channels`` being theirs.

    What other parts say may be left out: ``mask_head``'s ``num_classes``, ``in_channels`` and ``roi_feat_size``,
    ``point_head``'s ``num_classes`` and ``in_channels``, ``train_cfg.mask_size``.

    Attributes:
        observer: Called by the renderer after each step, see :class:`mmpointrend.points.SubdivisionStep`; the
            regions it sees are the detections of the batch's images one after the other.

    Args:
        point_head: Config of the point head.
        **kwargs: Those of mmdet's ``StandardRoIHead``.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the mend.
    """

    @configured('roi_head', OF_OTHER_HEADS, **ROI_HEAD_RULES)
    def __init__(self, point_head: dict | None = None, **kwargs: Any) -> None:
        points = self._prepare(point_head, kwargs)
        with naming('roi_head'):
            super().__init__(**kwargs)
            self._init_refinement(points)

    def init_mask_head(self, mask_roi_extractor: ConfigDict, mask_head: ConfigDict) -> None:
        """mmdet's hook: the mask head, once the parts that it may take its keys from are there.

        Args:
            mask_roi_extractor: Config of the mask RoI extractor.
            mask_head: Config of the coarse mask head.

        Raises:
            ConfigError: One of them cannot be built.
        """
        self.share_roi_extractor = False
        self.mask_roi_extractor = self._build_mask_extractor(mask_roi_extractor)
        self.mask_head = self._build_mask_head(mask_head)

    @property
    def point_selection(self) -> PointSelection:
        """How training points are chosen."""
        return self._trainings[0].selection

    def forward(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list | None = None,
    ) -> tuple:
        """Outputs without post-processing (``mode='tensor'``).

        Args:
            x: Feature levels, each (B, C, H, W).
            rpn_results_list: Proposals of each image.
            batch_data_samples: Unused, mmdet's interface.

        Returns:
            What mmdet's Mask R-CNN returns (class scores, box deltas and coarse mask logits (R, K, h, w) of at most
            100 proposals), and the rendered mask logits of these (R, 1, H, W), for the best class of each.
        """
        results = super().forward(x, rpn_results_list, batch_data_samples)
        class_scores, coarse = results[0], results[-1]
        rois = bbox2roi([proposals.bboxes for proposals in rpn_results_list])[: len(coarse)]
        labels = class_scores[: len(coarse), : self.bbox_head.num_classes].argmax(dim=1)
        return (*results, self._render(x, rois, labels, coarse))

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        bbox_feats: Tensor,
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Losses of the coarse head and of the point head.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            bbox_feats: Unused, mmdet's interface.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.

        Returns:
            mmdet's, with ``loss_mask`` and ``loss_point`` under 'loss_mask'.
        """
        return self._stage().losses(x, sampling_results, batch_gt_instances, self._trainings[0])

    def _mask_forward(self, x: tuple[Tensor, ...], rois: Tensor, **kwargs: Any) -> dict:
        """mmdet's, on our samples; ``mask_preds`` are the outputs of the mask head."""
        stage = self._stage()
        mask_feats, outputs = stage.outputs(stage.features(x, rois, torch.is_grad_enabled()))
        return {'mask_preds': outputs, 'mask_feats': mask_feats}

    def _mask_outputs(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """What the mask head predicts of RoIs (R, 5), shape (R, K, h, h)."""
        return self._mask_forward(x, rois)['mask_preds']
