# Copyright (c) The mmpointrend authors.
"""PointRend's half of an RoI head, whatever the other half: one stage, a cascade, a hybrid task cascade.

B images, R RoIs of all images together, K classes (1 if class-agnostic), P points; x is the tuple of feature levels
(B, C, H, W). Boxes are in pixels of the network's input.
"""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from mmdet.models.roi_heads.mask_heads import DynamicMaskHead, HTCMaskHead
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.rendering import Rendering, check_points, rendering_precision
from mmpointrend.models.roi_heads.checks import (
    EXTRACTOR_RULES,
    TEST_RULES,
    TRAIN_RULES,
    check_box_settings,
    check_class_weights,
    check_coarse_classes,
    check_features,
    check_fine_channels,
    check_kept_levels,
    check_levels_of_extractors,
    check_mask_loss,
    check_mask_output,
    check_point_classes,
    choose_fine_levels,
    fill_in,
    fill_in_extractor,
    fill_in_mask_head,
    fill_in_mask_size,
    fine_channels,
    probe_mask_head,
    type_of,
)
from mmpointrend.models.roi_heads.frames import FineLevels
from mmpointrend.models.roi_heads.mask_sources import CoarseSource, MaskSource
from mmpointrend.models.roi_heads.mask_stage import MaskStage, MaskTraining
from mmpointrend.models.roi_heads.output_masks import MaskCanvas, paste
from mmpointrend.models.roi_heads.rank_share import normalizes_over_ranks
from mmpointrend.models.roi_heads.region_logits import Regions, render, render_onto
from mmpointrend.models.scope import build_part, scoped
from mmpointrend.models.selection import build_selection
from mmpointrend.points import SubdivisionObserver
from mmpointrend.rules import check

__all__ = ['PARTS', 'PointRefinement', 'detected', 'of_stage', 'with_image_sizes']

# Parts that no PointRend goes without.
PARTS = ('bbox_roi_extractor', 'bbox_head', 'mask_roi_extractor', 'mask_head')

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


def _each(where: str, parts: Any) -> Iterator[tuple[str, Any]]:
    """A part, or those of all stages, with their names in a config."""
    if isinstance(parts, list | tuple | nn.ModuleList):
        for number, part in enumerate(parts):
            yield f'{where}[{number}]', part
    else:
        yield where, parts


def of_stage(parts: Any, number: int) -> Any:
    """The part of a stage; the same of all where there is one."""
    return parts[number] if isinstance(parts, nn.ModuleList | list | tuple) else parts


def _last(parts: Any) -> Any:
    """The part of the last stage."""
    return of_stage(parts, -1)


def detected(results_list: Sequence[InstanceData]) -> tuple[Tensor, Tensor]:
    """RoIs (R, 5) and classes (R,) of the detections of all images, one image after the other."""
    rois = bbox2roi([results.bboxes for results in results_list])
    return rois, torch.cat([results.labels for results in results_list])


def with_image_sizes(batch_data_samples: list) -> list:
    """The samples, whose ground truth carries the image's size along, for masks are padded to the batch's."""
    for sample in batch_data_samples:
        if 'img_shape' in sample:
            sample.gt_instances.set_metainfo({'img_shape': sample.img_shape})
    return batch_data_samples


class PointRefinement:
    """Mixin of a subclass of mmdet's ``BaseRoIHead``: parts, settings, rendering.

    A head calls :meth:`_prepare` before mmdet's constructor and :meth:`_init_refinement` after it, trains each stage by
    :meth:`_stage`, and says by :meth:`_mask_outputs` what its mask heads predict together.

    Attributes:
        fine_levels: The levels that points are read from.
        observer: Called by the renderer after each step, see :class:`mmpointrend.points.SubdivisionStep`; the
            regions it sees are the detections of the batch's images one after the other.
    """

    bbox_roi_extractor: Any
    bbox_head: Any
    mask_roi_extractor: Any
    mask_head: Any
    point_head: Any
    train_cfg: Any
    test_cfg: Any
    fine_levels: FineLevels
    adaptive_resolution = False
    refine_min_cells: float = 0
    _has_stages = False
    _observer: SubdivisionObserver | None = None

    def _prepare(self, point_head: dict | None, kwargs: dict) -> dict:
        """Check the constructor's arguments, and make configs mean what they mean in mmdet; the point head's config."""
        if point_head is None:
            raise ConfigError(
                "roi_head.point_head is missing: add dict(type='mmpointrend.MaskPointHead', ...)"
            )
        if kwargs.get('mask_roi_extractor') is None and kwargs.get('shared_head') is not None:
            # Without a feature pyramid (C4) mmdet's heads share one.
            kwargs['mask_roi_extractor'] = kwargs.get('bbox_roi_extractor')
        for key in PARTS:
            if kwargs.get(key) is None:
                raise ConfigError(
                    f'roi_head.{key} is missing: PointRend refines the masks of detected boxes'
                )
            ours = {where: _as_ours(part) for where, part in _each(f'roi_head.{key}', kwargs[key])}
            if key.endswith('extractor'):
                for where, part in ours.items():
                    check(part, where, EXTRACTOR_RULES)
            several = isinstance(kwargs[key], list | tuple)
            kwargs[key] = list(ours.values()) if several else next(iter(ours.values()))
        for number, (_, masks) in enumerate(_each('', kwargs['mask_roi_extractor'])):
            fill_in_extractor(masks, of_stage(kwargs['bbox_roi_extractor'], number))
        train_cfg, where = kwargs.get('train_cfg'), 'train_cfg.rcnn'
        if train_cfg is not None:
            stages = _each(where, train_cfg) if self._has_stages else [(where, train_cfg)]
            for name, settings in stages:
                check(settings, name, TRAIN_RULES)
        if kwargs.get('test_cfg') is not None:
            check(kwargs['test_cfg'], 'test_cfg.rcnn', TEST_RULES)
        return point_head

    def _init_refinement(self, point_head: dict) -> None:
        """Build the point head, and read the settings of training and rendering."""
        boxes, masks = (_last(part) for part in (self.bbox_roi_extractor, self.mask_roi_extractor))
        check_levels_of_extractors(boxes, masks)
        points = _as_ours(point_head)
        self.fine_levels = choose_fine_levels(
            points.pop('featmap_strides', None), points.pop('in_index', None), boxes, masks
        )
        bbox_head = _last(self.bbox_head)
        points.setdefault('num_classes', bbox_head.num_classes)
        channels = fine_channels(self.fine_levels, boxes, masks)
        if channels is not None:
            points.setdefault('in_channels', channels)
        self._coarse_size = self._init_point_head(points)
        check_point_classes(bbox_head, self.point_head)
        check_fine_channels(self.point_head, self.fine_levels, channels)
        for _, head in _each('', self.bbox_head):
            check_class_weights(head)
        self._trainings = [] if self.train_cfg is None else self._read_trainings()
        if self.test_cfg is not None:
            check_box_settings(bbox_head, None, self.test_cfg)
            check_mask_output(self.test_cfg)
            self.rendering = Rendering.from_config(
                self.test_cfg, 'test_cfg.rcnn', self._coarse_size
            )
            self.adaptive_resolution = bool(self.test_cfg.get('adaptive_resolution', False))
            self.refine_min_cells = self.test_cfg.get('refine_min_cells', 0)

    def _init_point_head(self, config: ConfigDict) -> int:
        """Build the point head to fit the mask heads; the side of the map that rendering starts from."""
        found = set()
        for number, (where, mask_head) in enumerate(_each('roi_head.mask_head', self.mask_head)):
            extractor = of_stage(self.mask_roi_extractor, number)
            channels, size = probe_mask_head(mask_head, extractor, self._shared_head, where)
            check_coarse_classes(of_stage(self.bbox_head, number), mask_head, channels)
            found.add((channels, size))
        if len(found) > 1:
            raise ConfigError(
                'roi_head.mask_head gives masks of different channels and sizes in its stages, '
                f'{", ".join(f"{k} of {side}x{side}" for k, side in sorted(found))}: PointRend refines their mean, so '
                'make them the same'
            )
        coarse_channels, coarse_size = found.pop()
        filled = fill_in(config, 'roi_head.point_head', 'coarse_channels', coarse_channels)
        self.point_head = build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.point_head')
        return coarse_size

    def _build_mask_extractor(self, config: ConfigDict) -> Any:
        """Build the mask RoI extractor of a stage."""
        return build_part(config, MMDET_MODELS, 'mmdet', 'roi_head.mask_roi_extractor')

    def _build_mask_head(self, config: ConfigDict, stage: int = 0) -> Any:
        """Build the mask head of a stage, whose extractor and box head say what its config leaves out."""
        num_classes = of_stage(self.bbox_head, stage).num_classes
        extractor = of_stage(self.mask_roi_extractor, stage)
        filled = fill_in_mask_head(config, num_classes, extractor, self._shared_head)
        self._check_mask_head(type_of(filled))
        return build_part(filled, MMDET_MODELS, 'mmdet', 'roi_head.mask_head')

    def _check_mask_head(self, kind: type) -> None:
        """Refuse a mask head that belongs to another RoI head."""
        if issubclass(kind, HTCMaskHead):
            raise ConfigError(
                'roi_head.mask_head.type is HTCMaskHead, which hands features from stage to stage: set roi_head.type '
                "to 'mmpointrend.HTCPointRendRoIHead', or mask_head.type to 'FCNMaskHead'"
            )
        if issubclass(kind, DynamicMaskHead):
            raise ConfigError(
                'roi_head.mask_head.type is DynamicMaskHead, which makes masks of the queries of QueryInst: there are '
                "no masks of RoIs to refine; take a detector with RoIs, such as Cascade Mask R-CNN with 'FCNMaskHead'"
            )

    def _read_trainings(self) -> list[MaskTraining]:
        """How each stage is trained."""
        trainings, settings = [], []
        for number, (where, train_cfg) in enumerate(_each('train_cfg.rcnn', self.train_cfg)):
            check_box_settings(of_stage(self.bbox_head, number), train_cfg, None, where)
            mask_head = of_stage(self.mask_head, number)
            filled = self._fill_in_targets(train_cfg, mask_head, where)
            settings.append(filled)
            trainings.append(
                MaskTraining(
                    filled,
                    build_selection(filled, where),
                    normalizes_over_ranks(filled, mask_head, self.point_head),
                )
            )
        self.train_cfg = settings if isinstance(self.train_cfg, list | tuple) else settings[0]
        return trainings

    def _fill_in_targets(self, train_cfg: ConfigDict, mask_head: Any, where: str) -> ConfigDict:
        """A stage's settings, with the size of its mask targets."""
        check_mask_loss(mask_head, self._coarse_size)
        return fill_in_mask_size(train_cfg, self._coarse_size, where)

    @property
    def observer(self) -> SubdivisionObserver | None:
        """Called by the renderer after each step."""
        return self._observer

    @observer.setter
    def observer(self, observer: SubdivisionObserver | None) -> None:
        """Refuse an observer that adaptive resolution has no steps for."""
        # An observer is shown steps of all regions; on the output's pixels they have no common steps.
        if observer is not None and self.adaptive_resolution:
            raise ConfigError(
                'test_cfg.rcnn.adaptive_resolution is True: regions rendered on their own pixels have no common steps '
                'that an observer could be shown; set it to False to record them'
            )
        self._observer = observer

    @property
    def _shared_head(self) -> nn.Module | None:
        """What lies between extractors and heads in models without a feature pyramid."""
        return getattr(self, 'shared_head', None)

    def check_features(self, x: Sequence[Tensor], image_size: tuple[int, int]) -> None:
        """Refuse feature levels that the RoI extractors and the point head were not made for.

        Args:
            x: Feature levels of an image, each (1, C, H, W).
            image_size: Height and width of the image.

        Raises:
            ConfigError: Levels are missing, or have other channels or strides; the message names the key.
        """
        for key in ('bbox_roi_extractor', 'mask_roi_extractor'):
            for where, extractor in _each(f'roi_head.{key}', getattr(self, key)):
                # Behind a shared head are other channels; what the extractors give is its input all the same.
                check_features(extractor, where, x, image_size)
        check_kept_levels(self.point_head, self.fine_levels, x, image_size)

    def _stage(self, number: int = 0) -> MaskStage:
        """The mask branch of a stage; made anew, for modules of a head may be replaced."""
        return MaskStage(
            of_stage(self.mask_head, number),
            self.point_head,
            of_stage(self.mask_roi_extractor, number),
            self.fine_levels,
            self._source,
            self._shared_head,
        )

    def _source(self, outputs: Tensor, labels: Tensor | None) -> MaskSource:
        """Where point logits come from, given outputs of a mask head (R, K, h, h) and the RoIs' classes."""
        return CoarseSource(self.point_head, outputs, labels)

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
            Losses by name; of a cascade's stage 's0.loss_mask', 's0.loss_point' and so on.
        """
        samples = with_image_sizes(batch_data_samples)
        return super().loss(x, rpn_results_list, samples)  # type: ignore[misc]

    def _mask_outputs(self, x: tuple[Tensor, ...], rois: Tensor) -> Tensor:
        """What the mask heads predict together of RoIs (R, 5), shape (R, K, h, h)."""
        raise NotImplementedError

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
        regions = self._stage().regions(x, rois, labels, self._mask_outputs(x, rois))
        return regions.point_predictor(num_points)(points)[:, 0]

    def _regions(
        self, x: tuple[Tensor, ...], rois: Tensor, labels: Tensor, outputs: Tensor
    ) -> Regions:
        """RoIs to be rendered, given the mask heads' outputs."""
        regions = self._stage().regions(x, rois, labels, outputs)
        return regions._replace(refine_min_cells=self.refine_min_cells)

    def _render(
        self, x: tuple[Tensor, ...], rois: Tensor, labels: Tensor, outputs: Tensor
    ) -> Tensor:
        """Mask logits (R, 1, H, W) of each RoI's own class, given the mask heads' outputs."""
        regions = self._regions(x, rois, labels, outputs)
        return render(regions, self.rendering, self.observer)

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
            ``test_cfg.mask_thr_binary``; uint8 probabilities times 255 if that is negative. By ``test_cfg.mask_output``
            they are :class:`mmpointrend.sparse_masks.SparseMasks` instead.
        """
        with rendering_precision(x) as x:
            outputs = self._mask_outputs(x, detected(results_list)[0])
            return self._predict_masks(x, outputs, batch_img_metas, results_list, rescale)

    def _predict_masks(
        self,
        x: tuple[Tensor, ...],
        outputs: Tensor,
        batch_img_metas: list[dict],
        results_list: list[InstanceData],
        rescale: bool,
    ) -> list[InstanceData]:
        """Detections with their masks, given what the mask heads predict of all, one image after the other."""
        rois, labels = detected(results_list)
        with rendering_precision(x) as levels:
            if levels is not x:
                outputs = outputs.float()
            regions = self._regions(levels, rois, labels, outputs)
            if self.adaptive_resolution:
                canvas = MaskCanvas(
                    results_list,
                    batch_img_metas,
                    rescale,
                    self.test_cfg.mask_thr_binary,
                    self.test_cfg.get('keep_contours', False),
                    self.test_cfg.get('mask_output', 'dense'),
                )
                for batch, logits in render_onto(
                    regions, canvas.grid, canvas.sizes, self.rendering, self._coarse_size
                ):
                    canvas.draw(batch, logits)
                canvas.finish()
            else:
                logits = render(regions, self.rendering, self.observer)
                mask_head = _last(self.mask_head)
                paste(mask_head, logits, results_list, batch_img_metas, self.test_cfg, rescale)
        return results_list
