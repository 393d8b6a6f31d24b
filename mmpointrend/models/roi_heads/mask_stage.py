# Copyright (c) The mmpointrend authors.
"""The mask branch on the RoIs of one stage: all that an RoI head with one stage, or a stage of a cascade, needs.

B images, R RoIs of all images together, C channels of the coarse head's features.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmpointrend.models.roi_heads.box_features import BoxFeatures
from mmpointrend.models.roi_heads.frames import FineLevels, RoIFrames
from mmpointrend.models.roi_heads.ground_truth import MaskTargets
from mmpointrend.models.roi_heads.mask_sources import MaskSource
from mmpointrend.models.roi_heads.rank_share import weighted_by_share
from mmpointrend.models.roi_heads.region_logits import Regions
from mmpointrend.points import PointSelection

__all__ = ['MaskStage', 'MaskTraining']


@dataclass(frozen=True)
class MaskTraining:
    """How a stage's mask branch is trained.

    Attributes:
        train_cfg: The stage's: ``num_points`` of an RoI, and ``mask_size``, which mmdet's mask heads read.
        selection: How the points are chosen.
        over_ranks: Whether losses are averaged over the RoIs of all ranks of a distributed run.
    """

    train_cfg: Any
    selection: PointSelection
    over_ranks: bool = False


@dataclass(frozen=True)
class MaskStage:
    """Heads that see the same RoIs.

    Attributes:
        mask_head: Predicts the coarse logits (or what else ``source`` takes), shape (R, K, h, h).
        point_head: The point head.
        extractor: The mask RoI extractor.
        fine_levels: The levels that points are read from.
        source: Makes the source of point logits out of the mask head's outputs and the RoIs' classes.
        shared_head: What lies between extractor and mask head in models without a feature pyramid.
    """

    mask_head: Any
    point_head: Any
    extractor: BaseRoIExtractor
    fine_levels: FineLevels
    source: Callable[[Tensor, Tensor | None], MaskSource]
    shared_head: nn.Module | None = None

    def features(self, x: Sequence[Tensor], rois: Tensor, with_gradients: bool) -> BoxFeatures:
        """Features of RoIs for both heads.

        Args:
            x: Feature levels, each (B, C, H, W).
            rois: Image number and box in pixels of the network's input, shape (R, 5).
            with_gradients: Whether they are for a training step.

        Returns:
            The features.
        """
        return BoxFeatures(x, rois, self.extractor, with_gradients, self.fine_levels)

    def outputs(self, features: BoxFeatures) -> tuple[Tensor, Tensor]:
        """What the mask head sees of the RoIs, shape (R, C, h', w'), and what it predicts, shape (R, K, h, h)."""
        on_grid = features.on_grid()
        if self.shared_head is not None:
            on_grid = self.shared_head(on_grid)
        return on_grid, self.mask_head(on_grid)

    def regions(
        self, x: Sequence[Tensor], rois: Tensor, labels: Tensor | None, outputs: Tensor
    ) -> Regions:
        """RoIs to be rendered.

        Args:
            x: Feature levels, each (B, C, H, W).
            rois: Image number and box in pixels of the network's input, shape (R, 5).
            labels: The class of each, integer, shape (R,); None for point logits of all classes.
            outputs: What the mask head predicts of them, shape (R, K, h, h).

        Returns:
            The regions.
        """
        frames = RoIFrames(self.fine_levels.of(x), self.fine_levels.strides, rois)
        return Regions(frames, self.source(outputs, labels))

    def losses(
        self,
        x: Sequence[Tensor],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        training: MaskTraining,
        outputs: Tensor | None = None,
    ) -> dict[str, Any]:
        """Losses of the mask head and of the point head.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.
            training: How to train.
            outputs: What the mask head predicts of the positives, shape (R, K, h, h); by default it is asked.

        Returns:
            mmdet's results of a mask loss, with ``loss_mask`` and ``loss_point`` under 'loss_mask'.
        """
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        features = self.features(x, rois, with_gradients=True)
        results: dict[str, Any] = {}
        if outputs is None:
            results['mask_feats'], outputs = self.outputs(features)
        targets = MaskTargets(sampling_results, batch_gt_instances)
        of_mask_head = self.mask_head.loss_and_target(
            outputs, *targets.for_mask_head(), training.train_cfg
        )
        losses = of_mask_head['loss_mask']
        source = self.source(outputs, labels)
        with torch.no_grad():
            points = training.selection(
                len(rois), training.train_cfg['num_points'], source.uncertainty, rois.device
            )
        point_targets = targets.at(points)
        fine = features.at(points)
        # Its copy of cells is not needed any more, at the peak of memory.
        del features
        losses['loss_point'] = self.point_head.loss(source.logits(points, fine), point_targets)
        if training.over_ranks:
            losses = weighted_by_share(losses, len(rois))
        results.update(
            mask_preds=outputs,
            mask_targets=of_mask_head.get('mask_targets'),
            loss_mask=losses,
        )
        return results
