# Copyright (c) The mmpointrend authors.
"""COCO AP by either implementation, with Boundary AP among its metrics."""

import logging
import tempfile
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from mmengine.logging import MMLogger, print_log

from mmpointrend.data_files import read_json
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation.boundary import check_dilation_ratio
from mmpointrend.evaluation.coco_truth import category_ids, coco_api, number_annotations
from mmpointrend.evaluation.evaluate_coco import evaluate_coco
from mmpointrend.evaluation.mask_truth import with_masks
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.registry import METRICS

_STATS = {'mAP': 0, 'mAP_50': 1, 'mAP_75': 2, 'mAP_s': 3, 'mAP_m': 4, 'mAP_l': 5, 'AR@100': 8}
_AP_ITEMS = tuple(_STATS)[:6]
# pycocotools' of proposals.
_RECALL_ITEMS = ('AR@100', 'AR@300', 'AR@1000', 'AR_s@1000', 'AR_m@1000', 'AR_l@1000')
_BACKENDS = ('pycocotools', 'faster-coco-eval')
_METRICS = ('bbox', 'segm', 'boundary', 'proposal', 'proposal_fast')


@METRICS.register_module()
class CocoBoundaryMetric(CocoMetric):
    """mmdet's ``CocoMetric`` with a further metric, ``boundary``: Boundary AP.

    It adds ``coco/boundary_mAP``, ``_50``, ``_75``, ``_s``, ``_m``, ``_l`` (and
    ``coco/boundary_AR@100`` if ``metric_items`` names it) in [0, 1], not rounded. Matching takes
    the lesser of mask IoU and boundary IoU; crowds keep the mask IoU. At most 100 detections an
    image count, as in COCO. With ``classwise``, ``coco/boundary_{class}_precision`` as well.

    Source: "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (2103.16562).

    Labels follow the classes by name, in whatever order the file has its categories; annotation
    ids may start at 0, where COCO's own evaluation would never find the first object.

    Args:
        ann_file: COCO annotations, JSON; where None, the ground truth is that of the samples.
        metric: One or several of ``CocoMetric``'s and ``boundary``.
        dilation_ratio: Width of the boundary as a share of the image's diagonal; 0.02 for COCO
            and LVIS, 0.005 for Cityscapes.
        backend: Who computes the AP of ``bbox`` and ``segm``: ``pycocotools``, with the figures
            rounded to three digits as mmdet does, or ``faster-coco-eval``, in C++ and with the
            figures of ``boundary``, not rounded.
        **kwargs: ``CocoMetric``'s.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1), or there is no such backend, metric or
            one of ``metric_items``.
        InputError: If the annotations cannot be evaluated.
    """

    # Figures that faster-coco-eval has by their place in its list, and those that are printed.
    stats: Mapping[str, int] = _STATS
    default_items: Sequence[str] = _AP_ITEMS
    # By whose rules records are evaluated: COCO's, or LVIS's.
    evaluate_records: Callable[..., COCOeval_faster] = staticmethod(evaluate_coco)
    # Whether labels of the dataset are known to follow its classes; CheckedRunner sees to it.
    dataset_goes_by_names = False
    cat_ids: Any
    img_ids: Any
    metrics: list[str]
    _mask_api: Any = None

    def __init__(
        self,
        ann_file: str | None = None,
        *,
        metric: str | Sequence[str] = ('bbox', 'segm', 'boundary'),
        dilation_ratio: float = 0.02,
        backend: str = 'pycocotools',
        **kwargs: Any,
    ) -> None:
        if backend not in _BACKENDS:
            raise ConfigError(f'backend must be one of {_BACKENDS}, but got {backend!r}.')
        names = [metric] if isinstance(metric, str) else list(metric)
        unknown = [name for name in names if name not in _METRICS]
        if unknown:
            raise ConfigError(f'metric must be some of {_METRICS}, but got {unknown}.')
        if kwargs.get('format_only') and kwargs.get('outfile_prefix') is None:
            raise ConfigError('format_only=True needs outfile_prefix, the path of what is written.')
        faster = ('boundary',) if backend == 'pycocotools' else ('bbox', 'segm', 'boundary')
        super().__init__(metric=[name for name in names if name not in faster], **kwargs)
        self.faster_metrics = [name for name in names if name in faster]
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)
        self._check_items(backend)
        self.ann_file = ann_file
        if ann_file is not None:
            content = read_json(ann_file, backend_args=self.backend_args)
            boxes = not {'segm', 'boundary'}.issuperset(names)
            self._take_truth(number_annotations(content, ann_file, boxes=boxes))

    def _take_truth(self, content: dict[str, Any]) -> None:
        """Indexes the annotations, for boxes and for masks, as mmdet does for a file."""
        self._coco_api = self._mask_api = coco_api(content)
        if self._compares_masks:
            margin = self.dilation_ratio if 'boundary' in self.faster_metrics else 0
            masks = with_masks(content, str(self.ann_file), margin)
            if masks is not content:
                self._mask_api = coco_api(masks)

    @property
    def _compares_masks(self) -> bool:
        return bool({'segm', 'boundary'} & {*self.metrics, *self.faster_metrics})

    def _check_items(self, backend: str) -> None:
        """Refuses figures that there are not, before the first evaluation."""
        known = self.stats if backend == 'faster-coco-eval' else (*_AP_ITEMS, *_RECALL_ITEMS)
        unknown = sorted(set(self.metric_items or ()) - set(known))
        if unknown:
            raise ConfigError(
                f'metric_items of backend {backend!r} are {", ".join(known)}; it has no '
                f'{", ".join(unknown)}.'
            )

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Collects the predictions of a batch.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, with ``img_id``, ``ori_shape`` and
                ``pred_instances``.

        Raises:
            ConfigError: If an image is not one of the annotation file.
            InputError: If masks are compared and the file has the image in another size.
        """
        if self._coco_api is not None:
            for sample in data_samples:
                self._check_image(sample['img_id'], tuple(sample['ori_shape'][:2]))
        super().process(data_batch, data_samples)

    def _check_image(self, number: Any, size: tuple[int, ...]) -> None:
        entry = self._coco_api.imgs.get(number)
        if entry is None:
            raise ConfigError(
                f'the tested image of id {number!r} is not in {self.ann_file}: set ann_file to the '
                'annotations of the dataset that is tested.'
            )
        if not self._compares_masks:
            return
        stated = (entry.get('height'), entry.get('width'))
        # Masks of different sizes have no IoU, without a word; those of an image without objects
        # need none, but pycocotools reads a size.
        annotated = self._coco_api.imgToAnns.get(number)
        if stated != size if annotated else not all(type(side) is int for side in stated):
            raise InputError(
                f'the image {number!r} has height and width {stated} in {self.ann_file}, but is of '
                f'{size} where it is tested: correct the entry.'
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes ``CocoMetric``'s figures and Boundary AP.

        Args:
            results: What ``process`` collected, pairs of ground truth and prediction.

        Returns:
            The figures; nan if there is no result.

        Raises:
            ConfigError: If masks are asked for and the predictions hold none, or the annotations
                are not of the dataset's classes.
        """
        if not results:
            return no_figures(self._names_of_figures(), self.prefix)
        if self._coco_api is not None:
            results = self._by_name(results)
            if self.img_ids is None:
                self._tell_of_missed({prediction['img_id'] for _, prediction in results})
        metrics = self._figures_of_mmdet(results)
        metrics.update(self._figures_of_no_detection(metrics))
        if self.faster_metrics and not self.format_only:
            metrics.update(self._faster_figures([prediction for _, prediction in results]))
        return metrics

    def _figures_of_mmdet(self, results: list) -> dict[str, float]:
        """Figures of mmdet's own metrics, of masks by the annotations that have one."""
        boxes = self._coco_api
        if self._mask_api in (None, boxes) or 'segm' not in self.metrics or self.format_only:
            return super().compute_metrics(results)
        names, figures = self.metrics, {}
        try:
            for kind, api in (('boxes', boxes), ('segm', self._mask_api)):
                self._coco_api = api
                self.metrics = [name for name in names if (name == 'segm') == (kind == 'segm')]
                figures.update(super().compute_metrics(results))
        finally:
            self.metrics, self._coco_api = names, boxes
        return figures

    def fast_eval_recall(
        self,
        results: list[dict],
        proposal_nums: Sequence[int],
        iou_thrs: Sequence[float],
        logger: Any = None,
    ) -> np.ndarray:
        """Computes recalls of boxes, of images that were not tested too.

        mmdet takes results for those of the file's images by their places, and stacks overlaps of
        all images, which numpy 2 refuses if the images differ in their number of objects.

        Args:
            results: Predictions of each image, with ``img_id`` and ``bboxes``.
            proposal_nums: Numbers of boxes of an image to take.
            iou_thrs: IoU thresholds.
            logger: Not used: the figures are logged with the others.

        Returns:
            Recalls, the mean over thresholds, for each of ``proposal_nums``.
        """
        boxes = {result['img_id']: result for result in results}
        none = dict(bboxes=np.zeros((0, 4), np.float32))
        numbers, found, total = self.img_ids, np.zeros(len(proposal_nums)), 0
        try:
            for number in numbers:
                truth = self._coco_api.imgToAnns.get(number, ())
                count = sum(not (a.get('ignore', False) or a['iscrowd']) for a in truth)
                if count:
                    # A text alone would be taken for a list of letters.
                    self.img_ids = [[number]]
                    recalls = super().fast_eval_recall(
                        [boxes.get(number, none)], proposal_nums, iou_thrs, logger='silent'
                    )
                    found, total = found + count * recalls, total + count
        finally:
            self.img_ids = numbers
        return found / max(total, 1)

    def _figures_of_no_detection(self, figures: dict[str, float]) -> dict[str, float]:
        """Figures that mmdet leaves out if nothing was detected in any image."""
        items = self.metric_items or self.default_items
        added: dict[str, float] = {}
        for metric in {'bbox', 'segm'} & set(self.metrics) if not self.format_only else ():
            if f'{metric}_{items[0]}' not in figures:
                stats = self._evaluate(metric, []).all_stats
                for item in items:
                    place = self.stats.get(item)
                    added[f'{metric}_{item}'] = 0.0 if place is None else float(stats[place])
        return added

    def _names_of_figures(self) -> list[str]:
        """Names of all figures but the classes' own."""
        names: list[str] = []
        for metric in (*self.metrics, *self.faster_metrics) if not self.format_only else ():
            if metric == 'proposal_fast':
                names += [f'AR@{number}' for number in self.proposal_nums]
            elif metric == 'proposal':
                names += self.metric_items or _RECALL_ITEMS
            else:
                names += [f'{metric}_{item}' for item in self.metric_items or self.default_items]
        return names

    def _by_name(self, results: list) -> list:
        """The results with labels that number the categories in the order of their ids.

        pycocotools sorts the categories, and mmdet names those of its table in the order of labels.
        """
        if self.cat_ids is None:
            ids = self._ids_of_classes(self.dataset_meta['classes'])
            self.cat_ids = sorted(ids)
            self._ranks = np.array([self.cat_ids.index(number) for number in ids], np.int64)
        return [
            (truth, dict(prediction, labels=self._ranks[_whole(prediction['labels'])]))
            for truth, prediction in results
        ]

    def _ids_of_classes(self, classes: Sequence[str]) -> list:
        """Category id of each label."""
        categories = self._coco_api.dataset['categories']
        tell = not self.dataset_goes_by_names
        return category_ids(classes, categories, str(self.ann_file), tell=tell)

    def _tell_of_missed(self, tested: set) -> None:
        """Warns of images of the annotation file that were not tested."""
        missed = [
            n for n in self._coco_api.imgs if n not in tested and self._coco_api.imgToAnns.get(n)
        ]
        if missed:
            print_log(
                f'{len(missed)} of the {len(self._coco_api.imgs)} images of {self.ann_file}, the '
                f'first of id {missed[0]!r}, were not tested: their objects count as missed.',
                'current',
                logging.WARNING,
            )

    def _faster_figures(self, predictions: Sequence[dict]) -> dict[str, float]:
        """Figures of the metrics that faster-coco-eval computes."""
        figures: dict[str, float] = {}
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json(predictions, f'{folder}/results')
            for metric in self.faster_metrics:
                kind = 'bbox' if metric == 'bbox' else 'segm'
                if kind not in files:
                    raise ConfigError(
                        f'metric {metric!r} needs masks, but the model predicts none: drop '
                        f'{metric!r} from the metric or test a model with a mask head.'
                    )
                records = load(files[kind])
                if kind == 'segm':
                    for record in records:
                        record.pop('bbox')
                figures.update(self._figures(metric, self._evaluate(metric, records)))
        return figures

    def _evaluate(self, metric: str, records: list[dict]) -> COCOeval_faster:
        """Evaluates the records of one kind."""
        return self.evaluate_records(
            self._truth_for(metric),
            records,
            metric,
            dilation_ratio=self.dilation_ratio,
            cat_ids=self.cat_ids,
            img_ids=self.img_ids,
            iou_thrs=self.iou_thrs,
        )

    def _truth_for(self, metric: str) -> dict[str, Any]:
        return (self._coco_api if metric == 'bbox' else self._mask_api or self._coco_api).dataset

    def _figures(self, metric: str, evaluator: COCOeval_faster) -> dict[str, float]:
        """Named figures of one evaluation, which also go to the log."""
        figures = {
            f'{metric}_{item}': float(evaluator.all_stats[self.stats[item]])
            for item in self.metric_items or self.default_items
            if item in self.stats
        }
        if self.classwise:
            precision = evaluator.eval['precision'][:, :, :, 0, -1]
            for index, category in enumerate(
                evaluator.cocoGt.load_cats(evaluator.params.catIds)  # which it has sorted
            ):
                values = precision[:, :, index]
                values = values[values > -1]
                name = f'{metric}_{category["name"]}_precision'
                figures[name] = float(values.mean()) if values.size else float('nan')
        MMLogger.get_current_instance().info(
            f'{self.prefix} {metric} AP: '
            + ', '.join(f'{name} {value:.4f}' for name, value in figures.items())
        )
        return figures


def _whole(labels: np.ndarray) -> np.ndarray:
    """Labels as indices, of an image without detections too, where torch has made floats."""
    return np.asarray(labels).astype(np.int64)
