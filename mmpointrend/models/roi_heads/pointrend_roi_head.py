# Copyright (c) The mmpointrend authors.
"""PointRend as an RoI head of mmdet: what is particular to instances, round the core's renderer.

B images, R RoIs of all images together, C channels of a fine feature level, K classes (1 where class-agnostic),
P points; x is the tuple of feature levels (B, C, H, W). Boxes are in pixels of the network's input.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import torch
from mmdet.models.task_modules.samplers import SamplingResult
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.rendering import Rendering, check_points
from mmpointrend.models.roi_heads.box_features import BoxFeatures, covered_sizes
from mmpointrend.models.roi_heads.checks import (
    EXTRACTOR_RULES,
    TEST_RULES,
    TRAIN_RULES,
    check_box_settings,
    check_class_weights,
    check_coarse_classes,
    check_features,
    check_fine_channels,
    check_levels_of_extractors,
    check_mask_loss,
    check_mask_size,
    check_point_classes,
    choose_fine_levels,
    fill_in,
    probe_mask_head,
)
from mmpointrend.models.roi_heads.ground_truth import MaskTargets
from mmpointrend.models.roi_heads.named_parts import OF_OTHER_HEADS
from mmpointrend.models.roi_heads.output_masks import MaskCanvas, paste
from mmpointrend.models.roi_heads.rank_share import normalizes_over_ranks, weighted_by_share
from mmpointrend.models.roi_heads.small_boxes import covered_cells, keep_coarse
from mmpointrend.models.roi_heads.standard_roi_head import StandardRoIHead
from mmpointrend.models.scope import build_part, scoped
from mmpointrend.models.selection import build_selection
from mmpointrend.points import (
    PointPredictor,
    ResolutionBatch,
    SubdivisionObserver,
    batches_by_resolution,
    logit_uncertainty,
    point_predictor,
    predict_pixels,
    roi_points_to_image,
    sample_features,
    subdivide,
    subdivide_onto,
)
from mmpointrend.registry import MODELS
from mmpointrend.rules import (
    ANYTHING,
    INIT,
    PART,
    check,
    configured,
    naming,
    optional,
)

__all__ = ['PointRendRoIHead']

# Parts that no PointRend goes without.
_PARTS = ('bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head')

# mmdet's classes of the same names do not fit under our RoI head: a config moved over by prefixing the RoI head alone
# means ours.
_OURS = ('CoarseMaskHead', 'MaskPointHead')


def _as_ours(config: dict) -> Any:
    """Config of a head under ours: mmdet's PointRend types become ours, any other type stays what it is."""
    cfg = scoped(config, 'mmdet')
    kind = cfg.type
    name = kind.removeprefix('mmdet.') if isinstance(kind, str) else getattr(kind, '__name__', '')
    if name in _OURS:
        cfg.type = f'mmpointrend.{name}'
    return cfg


@MODELS.register_module()
class PointRendRoIHead(StandardRoIHead):
    """Mask R-CNN's RoI head with PointRend's mask branch (paper, section 4).

    Takes the config keys of mmdet's ``PointRendRoIHead`` and has its state-dict names. Besides them:

    - ``train_cfg.train_on_pred_boxes``: train the mask branch on predicted boxes (paper, App. A), default False;
    - ``train_cfg.point_selection``: any training strategy, see :mod:`mmpointrend.models.selection`;
    - ``train_cfg.normalize_over_ranks``: average the losses of the mask branch over the RoIs of all ranks of a
      distributed run instead of over each rank's own, so that 2 ranks of 1 image train like 1 rank of 2 images, default
      False (mmdet's way: of two ranks, one without positives halves the gradient of the other);
    - ``test_cfg.output_size``: side of the rendered mask, instead of ``subdivision_steps``;
    - ``test_cfg.adaptive_resolution``: render each mask on its own pixels of the output instead of at a fixed size,
      default False (ignored while an ``observer`` is set);
    - ``test_cfg.refine_min_cells``: boxes that cover fewer cells of the finest fine level than this (width times
      height, each divided by the stride) keep their coarse mask; default 0, all are refined;
    - several ``mask_roi_extractor.featmap_strides``: fine features of all these levels are concatenated;
    - ``point_head.featmap_strides``: the strides of the fine feature levels, among those of ``bbox_roi_extractor``, if
      they are not the coarse head's (paper, section 3.2: one level, or several concatenated).

    Attributes:
        observer: Called by the renderer after each step, see :class:`mmpointrend.points.SubdivisionStep`; the
            regions it sees are the detections of the batch's images one after the other.

    Args:
        point_head: Config of the point head.
        **kwargs: Those of mmdet's ``StandardRoIHead``.

    Raises:
        ConfigError: A part is missing, or parts disagree: each message names the key and the mend.
    """

    @configured(
        'roi_head',
        OF_OTHER_HEADS,
        shared_head=optional(PART),
        **{key: optional(PART, advised=False) for key in (*_PARTS, 'point_head')},
        train_cfg=ANYTHING,
        test_cfg=ANYTHING,
        init_cfg=INIT,
    )
    def __init__(self, point_head: dict | None = None, **kwargs: Any) -> None:
        if point_head is None:
            raise ConfigError(
                "roi_head.point_head is missing: add dict(type='mmpointrend.MaskPointHead', ...)"
            )
        for key in _PARTS:
            if kwargs.get(key) is None:
                raise ConfigError(
                    f'roi_head.{key} is missing: PointRend refines the masks of detected boxes'
                )
            kwargs[key] = _as_ours(kwargs[key])
            if key.endswith('extractor'):
                check(kwargs[key], f'roi_head.{key}', EXTRACTOR_RULES)
        train_cfg, test_cfg = kwargs.get('train_cfg'), kwargs.get('test_cfg')
        if train_cfg is not None:
            check(train_cfg, 'train_cfg.rcnn', TRAIN_RULES)
        if test_cfg is not None:
            check(test_cfg, 'test_cfg.rcnn', TEST_RULES)
        with naming('roi_head'):
            super().__init__(**kwargs)
            check_levels_of_extractors(self.bbox_roi_extractor, self.mask_roi_extractor)
            points = _as_ours(point_head)
            self.fine_levels = choose_fine_levels(
                points.pop('featmap_strides', None),
                self.bbox_roi_extractor,
                self.mask_roi_extractor,
            )
            self._coarse_size = self._init_point_head(points)
            self._check_parts()
        if self.train_cfg is not None:
            self.point_selection = build_selection(self.train_cfg, 'train_cfg.rcnn')
            self.normalize_over_ranks = normalizes_over_ranks(
                self.train_cfg, self.mask_head, self.point_head
            )
        if self.test_cfg is not None:
            self.rendering = Rendering.from_config(
                self.test_cfg, 'test_cfg.rcnn', self._coarse_size
            )
            self.adaptive_resolution = bool(self.test_cfg.get('adaptive_resolution', False))
            self.refine_min_cells = self.test_cfg.get('refine_min_cells', 0)
        self.observer: SubdivisionObserver | None = None

    def _check_parts(self) -> None:
        """Refuse parts that do not fit each other."""
        check_point_classes(self.bbox_head, self.point_head)
        check_fine_channels(
            self.point_head, self.fine_levels, self.bbox_roi_extractor, self.mask_roi_extractor
        )
        check_box_settings(self.bbox_head, self.train_cfg, self.test_cfg)
        check_class_weights(self.bbox_head)
        if self.train_cfg is not None:
            check_mask_loss(self.mask_head, self._coarse_size)

    def _init_point_head(self, config: ConfigDict) -> int:
        """Build the point head to fit the mask head; the side of the map that rendering starts from."""
        coarse_channels, coarse_size = probe_mask_head(
            self.mask_head, self.mask_roi_extractor, self._shared_head
        )
        filled = fill_in(config, 'roi_head.point_head', 'coarse_channels', coarse_channels)
        self.point_head = build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.point_head')
        check_coarse_classes(self.bbox_head, self.mask_head, coarse_channels)
        if self.train_cfg is not None:
            check_mask_size(self.train_cfg, coarse_size)
        return coarse_size

    def check_features(self, x: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        """Refuse feature levels that the RoI extractors were not made for.

        Args:
            x: Feature levels of an image, each (1, C, H, W).
            image_size: Height and width of the image.

        Raises:
            ConfigError: Levels are missing, or have other channels or strides; the message names the key.
        """
        for key in ('bbox_roi_extractor', 'mask_roi_extractor'):
            # Behind a shared head are other channels; what the extractors give is its input all the same.
            check_features(getattr(self, key), f'roi_head.{key}', x, image_size)

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

    def loss(
        self,
        x: tuple[Tensor, ...],
        rpn_results_list: list[InstanceData],
        batch_data_samples: list,
    ) -> dict:
        """mmdet's losses; the ground truth carries the image's size along, for masks are padded to the batch's.

        Args:
            x: Feature levels, each (B, C, H, W).
            rpn_results_list: Proposals of each image.
            batch_data_samples: Data samples with ``gt_instances``.

        Returns:
            Losses by name.
        """
        for sample in batch_data_samples:
            if 'img_shape' in sample:
                sample.gt_instances.set_metainfo({'img_shape': sample.img_shape})
        return super().loss(x, rpn_results_list, batch_data_samples)

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
        rois = bbox2roi([result.pos_priors for result in sampling_results])
        labels = torch.cat([result.pos_gt_labels for result in sampling_results])
        features = self._box_features(x, rois, with_gradients=True)
        on_grid, coarse = self._coarse_logits(features)
        targets = MaskTargets(sampling_results, batch_gt_instances)
        losses = self.mask_head.loss_and_target(coarse, *targets.for_mask_head(), self.train_cfg)[
            'loss_mask'
        ]
        points = self._select_training_points(coarse, labels)
        point_targets = targets.at(points)
        fine = features.at(points)
        # Its copy of cells is not needed any more, at the peak of memory.
        del features
        logits = self._training_logits(points, fine, coarse, labels)
        losses['loss_point'] = self.point_head.loss(logits, point_targets)
        if self.normalize_over_ranks:
            losses = weighted_by_share(losses, len(rois))
        return {'mask_preds': coarse, 'mask_feats': on_grid, 'loss_mask': losses}

    def _training_logits(
        self, points: Tensor, fine: Tensor, coarse: Tensor, labels: Tensor
    ) -> Tensor:
        """Logits (R, 1, P) of each RoI's own class at training points (R, P, 2) with their fine features (R, P, C)."""
        return self.point_head(fine, sample_features(coarse, points), labels)

    def _box_features(self, x: Sequence[Tensor], rois: Tensor, with_gradients: bool) -> BoxFeatures:
        """Features of RoIs (R, 5) for both heads."""
        return BoxFeatures(x, rois, self.mask_roi_extractor, with_gradients, self.fine_levels)

    def _coarse_logits(self, features: BoxFeatures) -> tuple[Tensor, Tensor]:
        """What the coarse head sees of the RoIs, (R, C, h, w), and its logits."""
        on_grid = features.on_grid()
        if self.with_shared_head:
            on_grid = self.shared_head(on_grid)
        return on_grid, self.mask_head(on_grid)

    def _mask_forward(self, x: tuple[Tensor, ...], rois: Tensor, **kwargs: Any) -> dict:
        """mmdet's, on our samples; ``mask_preds`` are the coarse logits."""
        features = self._box_features(x, rois, with_gradients=False)
        mask_feats, mask_preds = self._coarse_logits(features)
        return {'mask_preds': mask_preds, 'mask_feats': mask_feats}

    @torch.no_grad()
    def _select_training_points(self, coarse: Tensor, labels: Tensor) -> Tensor:
        """Points (R, P, 2) of a training step, by the uncertainty of each RoI's own class."""
        own = _of_class(coarse, labels)

        def uncertainty_at(points: Tensor) -> Tensor:
            return logit_uncertainty(sample_features(own, points).transpose(1, 2))

        return self.point_selection(
            len(own), self.train_cfg.num_points, uncertainty_at, coarse.device
        )

    def _point_predictor(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        labels: Tensor | None,
        coarse: Tensor,
        num_points: int | None = None,
    ) -> Callable[..., Tensor]:
        """What maps points (r, P, 2) of all RoIs, or those of a slice, to logits (r, 1, P) of their own classes.

        Without labels to logits (r, k, P) of all.
        """
        levels = self.fine_levels.of(x)
        sizes = covered_sizes(levels, self.fine_levels.strides, rois)
        predictor = self._make_predictor(
            levels,
            rois[:, 0].long(),
            labels,
            coarse,
            num_points=num_points,
            extents=[rois[:, 1:] / size.repeat(2) for size in sizes],
        )

        def predict(points: Tensor, regions: slice = slice(None)) -> Tensor:
            in_image = roi_points_to_image(rois[regions, 1:], points)
            return predictor(points, [in_image / size for size in sizes], regions)

        return predict

    def _make_predictor(
        self,
        levels: tuple[Tensor, ...],
        map_index: Tensor,
        labels: Tensor | None,
        coarse: Tensor,
        **options: Any,
    ) -> PointPredictor:
        """The core's predictor over fine levels, see :func:`mmpointrend.points.point_predictor`."""
        return point_predictor(self.point_head, levels, coarse, map_index, labels, **options)

    def _start_rendering(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        labels: Tensor,
        coarse: Tensor,
        num_points: int,
    ) -> tuple[Tensor, Callable[..., Tensor]]:
        """Logits (R, 1, h, w) of each RoI's own class that rendering starts from, and what predicts points.

        No other class is carried through the steps.
        """
        predict = self._point_predictor(x, rois, labels, coarse, num_points)
        start = _of_class(coarse, labels)
        if self.refine_min_cells > 0:
            cells = covered_cells(rois, self.fine_levels.strides)
            predict = keep_coarse(predict, start, cells < self.refine_min_cells)
        return start, predict

    def _render(
        self, x: tuple[Tensor, ...], rois: Tensor, labels: Tensor, coarse: Tensor
    ) -> Tensor:
        """Mask logits (R, 1, H, W) of each RoI's own class."""
        rendering = self.rendering
        start, predict = self._start_rendering(
            x, rois, labels, coarse, len(rois) * rendering.num_points * rendering.steps
        )
        return subdivide(
            start,
            predict,
            num_points=rendering.num_points,
            steps=rendering.steps,
            scale_factor=rendering.scale_factor,
            observer=self.observer,
        )

    def predict_mask(
        self,
        x: tuple[Tensor, ...],
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool = False,
    ) -> list[InstanceData]:
        """Render the masks of detections.

        Args:
            x: Feature levels, each (B, C, H, W).
            batch_img_metas: Meta information of each image.
            results_list: Detections of each image: ``bboxes`` and ``labels``; any image may have none.
            rescale: Whether ``bboxes`` become boxes of the original image, in place, and masks have its size.

        Returns:
            ``results_list`` with ``masks`` added: bool, shape (detections, height, width), thresholded at
            ``test_cfg.mask_thr_binary``; where that is negative, uint8 probabilities times 255.
        """
        rois = bbox2roi([results.bboxes for results in results_list])
        labels = torch.cat([results.labels for results in results_list])
        coarse = self._mask_forward(x, rois)['mask_preds']
        # An observer is shown whole steps of all regions, which have no common steps on the output's pixels.
        if self.adaptive_resolution and self.observer is None:
            canvas = MaskCanvas(
                results_list, batch_img_metas, rescale, self.test_cfg.mask_thr_binary
            )
            self._render_onto_output(x, rois, labels, coarse, canvas)
            return results_list
        logits = self._render(x, rois, labels, coarse)
        sizes = [len(results) for results in results_list]
        for results, meta, image_logits in zip(
            results_list, batch_img_metas, logits.split(sizes), strict=True
        ):
            results.masks = paste(
                self.mask_head, image_logits, results.bboxes, meta, self.test_cfg, rescale
            )
        return results_list

    def predict_points(
        self, x: tuple[Tensor, ...], rois: Tensor, labels: Tensor, points: Tensor
    ) -> Tensor:
        """Predict mask logits at any real-valued points of boxes (paper, section 3.1).

        Args:
            x: Feature levels, each (B, C, H, W).
            rois: Image index and box in pixels of the network's input, shape (R, 5).
            labels: The class of each box, integer, shape (R,).
            points: Points (x, y) in ``[0, 1]^2`` of their box, edges at 0 and 1, shape (R, P, 2).

        Returns:
            Logits, shape (R, P); differentiable if gradients are enabled.

        Raises:
            ValueError: If a point lies outside ``[0, 1]^2``.
        """
        num_points = check_points(points)
        coarse = self._coarse_logits(
            self._box_features(x, rois, with_gradients=torch.is_grad_enabled())
        )[1]
        return self._point_predictor(x, rois, labels, coarse, num_points)(points)[:, 0]

    def _render_onto_output(
        self,
        x: tuple[Tensor, ...],
        rois: Tensor,
        labels: Tensor,
        coarse: Tensor,
        canvas: MaskCanvas,
    ) -> None:
        """Draw masks of detections, each rendered on its pixels of the output."""
        rendering = self.rendering
        batches = batches_by_resolution(
            canvas.sizes,
            rendering.num_points,
            self._coarse_size,
            self._coarse_size * rendering.scale_factor**rendering.steps,
            rendering.scale_factor,
        )
        order = [region for batch in batches for region in batch.regions]
        index = torch.tensor(order, device=rois.device, dtype=torch.long)
        rois, labels, coarse, grid = rois[index], labels[index], coarse[index], canvas.grid[index]
        total = sum(len(batch.regions) * self._num_points(batch) for batch in batches)
        start, predict = self._start_rendering(x, rois, labels, coarse, total)
        begin = 0
        for batch in batches:
            part = slice(begin, begin + len(batch.regions))
            begin = part.stop
            predict_part = functools.partial(predict, regions=part)
            if batch.steps is None:
                logits = predict_pixels(grid[part], batch.num_pixels, predict_part)
            else:
                logits = subdivide_onto(
                    grid[part],
                    batch.rows,
                    batch.columns,
                    start[part],
                    predict_part,
                    num_points=rendering.num_points,
                    last_num_points=batch.num_points,
                    steps=batch.steps,
                    scale_factor=rendering.scale_factor,
                )
            canvas.draw(batch, logits[:, 0])

    def _num_points(self, batch: ResolutionBatch) -> int:
        """Points of one region of a batch, over all steps."""
        if batch.steps is None:
            return batch.num_pixels
        return batch.steps * self.rendering.num_points + batch.num_points


def _of_class(coarse: Tensor, labels: Tensor) -> Tensor:
    """Coarse logits (R, 1, h, w) of each RoI's own class out of (R, K, h, w); the only ones where K is 1."""
    if coarse.shape[1] > 1:
        coarse = coarse[torch.arange(len(coarse), device=coarse.device), labels].unsqueeze(1)
    return coarse.to(torch.promote_types(coarse.dtype, torch.float32))
