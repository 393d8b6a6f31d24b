# Copyright (c) The mmpointrend authors.
"""PointRend on mmdet's cascades: every stage trains a coarse head, one point head refines their mean.

B images, R RoIs of all images together, K classes (1 if class-agnostic); x is the tuple of feature levels (B, C, H, W).
"""

from collections.abc import Iterable
from typing import Any

import torch
from mmdet.models.roi_heads import (
    CascadeRoIHead,
    HybridTaskCascadeRoIHead,
    SCNetRoIHead,
)
from mmdet.models.roi_heads.mask_heads import HTCMaskHead
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.structures.bbox import bbox2roi
from mmengine.model import ModuleList
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.mask_sources import mean_of_masks
from mmpointrend.models.roi_heads.point_refinement import (
    PARTS,
    PointRefinement,
    detected,
)
from mmpointrend.registry import MODELS
from mmpointrend.rules import (
    ANYTHING,
    INIT,
    MOST_LAYERS,
    PART,
    TRUTH,
    check,
    configured,
    listed,
    naming,
    number,
    one_or_more,
    optional,
    whole,
)

__all__ = ['CascadePointRendRoIHead', 'HTCPointRendRoIHead', 'SCNetPointRendRoIHead']

_RULES = {
    'num_stages': whole(1, MOST_LAYERS),
    'stage_loss_weights': listed(number()),
    **{key: optional(one_or_more(PART), advised=False) for key in PARTS},
    'point_head': optional(PART, advised=False),
    'train_cfg': ANYTHING,
    'test_cfg': ANYTHING,
    'init_cfg': INIT,
}
_SEMANTIC_RULES = {
    'semantic_roi_extractor': optional(PART),
    'semantic_head': optional(PART),
}
_OF_OTHER_HEADS = {
    'mask_iou_head': 'a cascade does not score masks; leave it out',
    'shared_head': 'mmdet has no cascade without a feature pyramid; leave it out',
}


class _CascadeRefinement(PointRefinement):
    """What our cascades have in common: the settings of each stage."""

    num_stages: int
    stage_loss_weights: list[float]
    _has_stages = True

    def _prepare_stages(self, point_head: dict | None, kwargs: dict) -> dict:
        """Check the arguments of the constructor, the settings of each stage too; the point head's config."""
        points = self._prepare(point_head, kwargs)
        number_of_stages = kwargs.get('num_stages')
        check(kwargs, 'roi_head', {'num_stages': _RULES['num_stages'].needed()})
        weights = listed(number(), number_of_stages).needed()
        check(kwargs, 'roi_head', {'stage_loss_weights': weights})
        train_cfg = kwargs.get('train_cfg')
        if train_cfg is None:
            return points
        if not isinstance(train_cfg, list | tuple) or len(train_cfg) != number_of_stages:
            raise ConfigError(
                f'train_cfg.rcnn has to be a list of {number_of_stages} dicts, one for each stage of roi_head'
            )
        for stage, settings in enumerate(train_cfg):
            if settings.get('train_on_pred_boxes'):
                raise ConfigError(
                    f'train_cfg.rcnn[{stage}].train_on_pred_boxes is True, but the boxes that a stage of a cascade '
                    'trains on are those that the stage before has predicted: leave it out'
                )
        return points

    def init_bbox_head(self, bbox_roi_extractor: Any, bbox_head: Any) -> None:
        """mmdet's hook, with the names of what it builds in its refusals.

        Args:
            bbox_roi_extractor: Config of the box RoI extractor, or of each stage's.
            bbox_head: Config of the box head, or of each stage's.

        Raises:
            ConfigError: One of them cannot be built.
        """
        with naming('roi_head.bbox_head or bbox_roi_extractor'):
            super().init_bbox_head(bbox_roi_extractor, bbox_head)  # type: ignore[misc]

    def init_mask_head(self, mask_roi_extractor: Any, mask_head: Any) -> None:
        """mmdet's hook: the mask heads, once the parts that they may take their keys from are there.

        Args:
            mask_roi_extractor: Config of the mask RoI extractor, or of each stage's.
            mask_head: Config of the coarse mask head, or of each stage's.

        Raises:
            ConfigError: One of them cannot be built.
        """
        self.share_roi_extractor = False
        # mmengine's, whose parts are initialised (mmdet's list of mask heads is torch's, which is left out).
        self.mask_roi_extractor = ModuleList(
            self._build_mask_extractor(config)
            for config in self._of_stages(mask_roi_extractor, 'mask_roi_extractor')
        )
        self.mask_head = ModuleList(
            self._build_mask_head(config, stage)
            for stage, config in enumerate(self._of_stages(mask_head, 'mask_head'))
        )

    def _of_stages(self, configs: Any, key: str) -> Iterable[Any]:
        """The config of each stage's part."""
        if not isinstance(configs, list | tuple):
            return [configs] * self.num_stages
        if len(configs) != self.num_stages:
            raise ConfigError(
                f'roi_head.{key} is a list of {len(configs)}, but num_stages is {self.num_stages}: give one for each '
                'stage, or one dict for all'
            )
        return configs


@MODELS.register_module()
class CascadePointRendRoIHead(_CascadeRefinement, CascadeRoIHead):
    """Cascade Mask R-CNN's RoI head with PointRend's mask branch.

    Each stage has a coarse head and trains it, with the point head, which all stages share, on its own RoIs. Masks are
    rendered from the mean of the stages' coarse masks, averaged as mmdet averages masks.

    Takes the config keys of mmdet's ``CascadeRoIHead`` and has its state-dict names, with ``point_head`` besides. Keys
    of the point head and of ``test_cfg``, and those that may be left out, are those of
    :class:`mmpointrend.models.PointRendRoIHead`; its keys of ``train_cfg`` stand in each stage's, without
    ``train_on_pred_boxes``. ``mode='tensor'`` gives what it gives in mmdet, the coarse masks.

    Args:
        point_head: Config of the point head.
        **kwargs: Those of mmdet's ``CascadeRoIHead``.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the fix.
    """

    @configured('roi_head', _OF_OTHER_HEADS, **_RULES)
    def __init__(self, point_head: dict | None = None, **kwargs: Any) -> None:
        points = self._prepare_stages(point_head, kwargs)
        with naming('roi_head'):
            super().__init__(**kwargs)
            self._init_refinement(points)

    def mask_loss(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
    ) -> dict:
        """Losses of a stage's coarse head and of the point head.

        Args:
            stage: Number of the stage.
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.

        Returns:
            mmdet's, with ``loss_mask`` and ``loss_point`` under 'loss_mask'.
        """
        training = self._trainings[stage]
        return self._stage(stage).losses(x, sampling_results, batch_gt_instances, training)

    def _mask_forward(self, stage: int, x: tuple[Tensor, ...], rois: Tensor) -> dict:
        """mmdet's, on our samples."""
        own = self._stage(stage)
        _, outputs = own.outputs(own.features(x, rois, torch.is_grad_enabled()))
        return {'mask_preds': outputs}

    def _mask_outputs(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """Mean of the stages' masks of RoIs (R, 5), as logits (R, K, h, h)."""
        return mean_of_masks(
            [self._mask_forward(stage, x, rois)['mask_preds'] for stage in range(self.num_stages)]
        )


@MODELS.register_module()
class HTCPointRendRoIHead(_CascadeRefinement, HybridTaskCascadeRoIHead):
    """Hybrid Task Cascade's RoI head with PointRend's mask branch.

    Semantic branch, interleaved execution and mask information flow are mmdet's: the coarse heads stay mmdet's
    ``HTCMaskHead``, of which mmdet takes the last one's masks in testing. Otherwise like
    :class:`CascadePointRendRoIHead`.

    Args:
        point_head: Config of the point head.
        **kwargs: Those of mmdet's ``HybridTaskCascadeRoIHead``.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the fix.
    """

    @configured(
        'roi_head',
        _OF_OTHER_HEADS,
        **_RULES,
        **_SEMANTIC_RULES,
        semantic_fusion=ANYTHING,
        interleaved=TRUTH,
        mask_info_flow=TRUTH,
    )
    def __init__(self, point_head: dict | None = None, **kwargs: Any) -> None:
        points = self._prepare_stages(point_head, kwargs)
        with naming('roi_head'):
            super().__init__(**kwargs)
            self._init_refinement(points)

    def _check_mask_head(self, kind: type) -> None:
        """Ask for a mask head that hands its features on."""
        if not issubclass(kind, HTCMaskHead):
            raise ConfigError(
                f'roi_head.mask_head.type is {kind.__name__}: stages of a hybrid task cascade hand their '
                "features on, so set it to 'HTCMaskHead', or roi_head.type to 'mmpointrend.CascadePointRendRoIHead'"
            )

    def mask_loss(
        self,
        stage: int,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        semantic_feat: Tensor | None = None,
    ) -> dict:
        """Losses of a stage's coarse head and of the point head.

        Args:
            stage: Number of the stage.
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.
            semantic_feat: Features of the semantic branch, shape (B, C, H, W).

        Returns:
            mmdet's, with ``loss_mask`` and ``loss_point`` under 'loss_mask'.
        """
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        found = self._mask_forward(stage, x, rois, semantic_feat=semantic_feat, training=True)
        return self._stage(stage).losses(
            x, sampling_results, batch_gt_instances, self._trainings[stage], found['mask_preds']
        )

    def _mask_outputs(
        self, x: tuple[Tensor, ...], rois: Tensor, semantic_feat: Tensor | None = None
    ) -> Tensor:
        """Masks of RoIs (R, 5) as mmdet takes them in testing, as logits (R, K, h, h)."""
        if semantic_feat is None and self.with_semantic:
            _, semantic_feat = self.semantic_head(x)
        found = self._mask_forward(-1, x, rois, semantic_feat=semantic_feat, training=False)
        # Without information flow mmdet leaves the features beside the logits.
        return mean_of_masks(
            [masks if isinstance(masks, Tensor) else masks[0] for masks in found['mask_preds']]
        )

    def predict_mask(  # type: ignore[override]  # mmdet's signature
        self,
        x: tuple[Tensor, ...],
        semantic_heat: Tensor | None,
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Render the masks of detections, see :meth:`mmpointrend.models.PointRendRoIHead.predict_mask`.

        Args:
            x: Feature levels, each (B, C, H, W).
            semantic_heat: Features of the semantic branch, shape (B, C, H, W).
            batch_img_metas: Meta information of each image.
            results_list: Detections of each image.
            rescale: Whether boxes and masks become those of the original image.

        Returns:
            ``results_list`` with ``masks``.
        """
        outputs = self._mask_outputs(x, detected(results_list)[0], semantic_heat)
        return self._predict_masks(x, outputs, batch_img_metas, results_list, rescale)


@MODELS.register_module()
class SCNetPointRendRoIHead(_CascadeRefinement, SCNetRoIHead):
    """SCNet's RoI head with PointRend's mask branch.

    Semantic branch, global context and feature relay are mmdet's. There is one mask branch, on the RoIs of the last
    stage; as mmdet weighs its loss by the sum of ``stage_loss_weights``, so is the point head's. Otherwise like
    :class:`CascadePointRendRoIHead`.

    Args:
        point_head: Config of the point head.
        **kwargs: Those of mmdet's ``SCNetRoIHead``.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the fix.
    """

    @configured(
        'roi_head',
        _OF_OTHER_HEADS,
        **_RULES,
        **_SEMANTIC_RULES,
        feat_relay_head=optional(PART),
        glbctx_head=optional(PART),
    )
    def __init__(self, point_head: dict | None = None, **kwargs: Any) -> None:
        points = self._prepare_stages(point_head, kwargs)
        self._point_losses: list[Tensor] = []
        with naming('roi_head'):
            super().__init__(**kwargs)
            self._init_refinement(points)

    def init_mask_head(self, mask_roi_extractor: Any, mask_head: Any) -> None:
        """mmdet's hook: the one mask head.

        Args:
            mask_roi_extractor: Config of the mask RoI extractor.
            mask_head: Config of the coarse mask head.

        Raises:
            ConfigError: One of them cannot be built.
        """
        for key, config in (('mask_roi_extractor', mask_roi_extractor), ('mask_head', mask_head)):
            check({key: config}, 'roi_head', {key: PART})
        self.share_roi_extractor = False
        self.mask_roi_extractor = self._build_mask_extractor(mask_roi_extractor)
        self.mask_head = self._build_mask_head(mask_head)

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list,
    ) -> dict:
        """mmdet's losses with the point head's, of which mmdet knows nothing.

        Args:
            x: Feature levels, each (B, C, H, W).
            rpn_results_list: Proposals of each image.
            batch_data_samples: Data samples with ``gt_instances``.

        Returns:
            Losses by name.
        """
        losses = super().loss(x, rpn_results_list, batch_data_samples)
        losses['loss_point'] = sum(self.stage_loss_weights) * self._point_losses.pop()
        return losses

    def mask_loss(
        self,
        x: tuple[Tensor, ...],
        sampling_results: list[SamplingResult],
        batch_gt_instances: list[InstanceData],
        semantic_feat: Tensor | None = None,
        glbctx_feat: Tensor | None = None,
        relayed_feat: Tensor | None = None,
    ) -> dict:
        """Losses of the coarse head and of the point head.

        Args:
            x: Feature levels, each (B, C, H, W).
            sampling_results: Sampled boxes of each image; positives may be missing anywhere.
            batch_gt_instances: Ground truth of each image, with ``masks`` as bitmaps or polygons.
            semantic_feat: Features of the semantic branch, shape (B, C, H, W).
            glbctx_feat: Features of each image, shape (B, C, 1, 1).
            relayed_feat: Features of the positives from the box branch, shape (R, C, h, w).

        Returns:
            mmdet's, with ``loss_mask`` and ``loss_point`` under 'loss_mask'.
        """
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        found = self._mask_forward(x, rois, semantic_feat, glbctx_feat, relayed_feat)
        results = self._stage().losses(
            x, sampling_results, batch_gt_instances, self._trainings[-1], found['mask_preds']
        )
        self._point_losses = [results['loss_mask']['loss_point']]
        return results

    def _mask_outputs(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        semantic_feat: Tensor | None = None,
        glbctx_feat: Tensor | None = None,
    ) -> Tensor:
        """What the mask head predicts of RoIs (R, 5), shape (R, K, h, h)."""
        if semantic_feat is None and self.with_semantic:
            _, semantic_feat = self.semantic_head(x)
        if glbctx_feat is None and self.with_glbctx:
            _, glbctx_feat = self.glbctx_head(x)
        relayed_feat = None
        if self.with_feat_relay:
            boxes = self._bbox_forward(-1, x, rois, semantic_feat, glbctx_feat)
            relayed_feat = self.feat_relay_head(boxes['relayed_feat'])
        found = self._mask_forward(x, rois, semantic_feat, glbctx_feat, relayed_feat)
        return found['mask_preds']

    def predict_mask(  # type: ignore[override]  # mmdet's signature
        self,
        x: tuple[Tensor, ...],
        semantic_heat: Tensor | None,
        glbctx_feat: Tensor | None,
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Render the masks of detections, see :meth:`mmpointrend.models.PointRendRoIHead.predict_mask`.

        Args:
            x: Feature levels, each (B, C, H, W).
            semantic_heat: Features of the semantic branch, shape (B, C, H, W).
            glbctx_feat: Features of each image, shape (B, C, 1, 1).
            batch_img_metas: Meta information of each image.
            results_list: Detections of each image.
            rescale: Whether boxes and masks become those of the original image.

        Returns:
            ``results_list`` with ``masks``.
        """
        rois, _ = detected(results_list)
        outputs = self._mask_outputs(x, rois, semantic_heat, glbctx_feat)
        return self._predict_masks(x, outputs, batch_img_metas, results_list, rescale)
