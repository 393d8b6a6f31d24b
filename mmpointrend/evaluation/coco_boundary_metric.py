# Copyright (c) The mmpointrend authors.
"""COCO AP by either implementation, with Boundary AP among its metrics."""

import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
from faster_coco_eval import COCO
from faster_coco_eval.core.faster_eval_api import COCOeval_faster
from mmdet.evaluation import CocoMetric
from mmengine.fileio import load
from mmengine.logging import MMLogger

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.boundary import check_dilation_ratio
from mmpointrend.registry import METRICS

_STATS = {'mAP': 0, 'mAP_50': 1, 'mAP_75': 2, 'mAP_s': 3, 'mAP_m': 4, 'mAP_l': 5, 'AR@100': 8}
_BACKENDS = ('pycocotools', 'faster-coco-eval')


def evaluate_coco(
    ground_truth: dict[str, Any],
    predictions: list[dict[str, Any]],
    iou_type: str = 'boundary',
    dilation_ratio: float = 0.02,
    cat_ids: Sequence[int] | None = None,
    img_ids: Sequence[int] | None = None,
    iou_thrs: Sequence[float] | None = None,
    federated: bool = False,
) -> COCOeval_faster:
    """Runs COCO's evaluation, at most 100 detections an image, by faster-coco-eval.

    Args:
        ground_truth: The content of a COCO instance file. It is not changed.
        predictions: COCO results with RLE ``segmentation``; without ``bbox``, so that the sizes
            are those of the masks (``bbox`` alone where ``iou_type`` is ``bbox``). They are not
            changed.
        iou_type: ``boundary`` (the lesser of mask IoU and boundary IoU), ``segm`` or ``bbox``.
        dilation_ratio: Boundary width as a share of the image's diagonal.
        cat_ids: Categories to evaluate; all where None.
        img_ids: Images to evaluate; all where None.
        iou_thrs: IoU thresholds; 0.5 to 0.95 in steps of 0.05 where None.
        federated: LVIS's rules: up to 300 detections an image and category; detections whose
            category is neither annotated nor negative in their image (``neg_category_ids``) are
            dropped, and unmatched ones whose category is not exhaustively annotated there
            (``not_exhaustive_category_ids``) are ignored.

    Returns:
        The evaluator; ``stats`` holds the twelve COCO figures in [0, 1], -1 where there is no
        ground truth.
    """
    truth = COCO(ground_truth, use_deepcopy=True)
    evaluator = COCOeval_faster(
        truth,
        truth.loadRes(predictions),
        iouType=iou_type,
        boundary_dilation_ratio=dilation_ratio,
        lvis_style=federated,
    )
    if federated:
        evaluator.params.maxDets = [300]
    for name, value in (('catIds', cat_ids), ('imgIds', img_ids), ('iouThrs', iou_thrs)):
        if value is not None:
            setattr(evaluator.params, name, np.asarray(value) if name == 'iouThrs' else list(value))
    evaluator.run()
    return evaluator


@METRICS.register_module()
class CocoBoundaryMetric(CocoMetric):
    """mmdet's ``CocoMetric`` with a further metric, ``boundary``: Boundary AP.

    It adds ``coco/boundary_mAP``, ``_50``, ``_75``, ``_s``, ``_m``, ``_l`` (and
    ``coco/boundary_AR@100`` if ``metric_items`` names it) in [0, 1], not rounded. Matching takes
    the lesser of mask IoU and boundary IoU; crowds keep the mask IoU. At most 100 detections an
    image count, as in COCO. With ``classwise``, ``coco/boundary_{class}_precision`` as well.

    Source: "Boundary IoU: Improving Object-Centric Image Segmentation Evaluation" (2103.16562).

    Args:
        metric: One or several of ``CocoMetric``'s and ``boundary``.
        dilation_ratio: Width of the boundary as a share of the image's diagonal; 0.02 for COCO
            and LVIS, 0.005 for Cityscapes.
        backend: Who computes the AP of ``bbox`` and ``segm``: ``pycocotools``, with the figures
            rounded to three digits as mmdet does, or ``faster-coco-eval``, in C++ and with the
            figures of ``boundary``, not rounded.
        **kwargs: ``CocoMetric``'s.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1), there is no such backend, or it does
            not have one of ``metric_items``.
    """

    def __init__(
        self,
        *args: Any,
        metric: str | Sequence[str] = ('bbox', 'segm', 'boundary'),
        dilation_ratio: float = 0.02,
        backend: str = 'pycocotools',
        **kwargs: Any,
    ) -> None:
        if backend not in _BACKENDS:
            raise ConfigError(f'backend must be one of {_BACKENDS}, but got {backend!r}.')
        names = [metric] if isinstance(metric, str) else list(metric)
        faster = ('boundary',) if backend == 'pycocotools' else ('bbox', 'segm', 'boundary')
        super().__init__(*args, metric=[name for name in names if name not in faster], **kwargs)
        self.faster_metrics = [name for name in names if name in faster]
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)
        unknown = set(self.metric_items or ()) - set(_STATS)
        if unknown and backend == 'faster-coco-eval':
            raise ConfigError(
                f"metric_items of backend 'faster-coco-eval' are {', '.join(_STATS)}; it has no "
                f'{", ".join(sorted(unknown))}.'
            )

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes ``CocoMetric``'s figures and Boundary AP.

        Args:
            results: What ``process`` collected, pairs of ground truth and prediction.

        Raises:
            ConfigError: If masks are asked for and the predictions hold none.
        """
        metrics = super().compute_metrics(results)
        if self.faster_metrics and not self.format_only:
            metrics.update(self._faster_figures([prediction for _, prediction in results]))
        return metrics

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
        return evaluate_coco(
            self._coco_api.dataset,
            records,
            metric,
            dilation_ratio=self.dilation_ratio,
            cat_ids=self.cat_ids,
            img_ids=self.img_ids,
            iou_thrs=self.iou_thrs,
        )

    def _figures(self, metric: str, evaluator: COCOeval_faster) -> dict[str, float]:
        """Named figures of one evaluation, which also go to the log."""
        items = self.metric_items or [name for name in _STATS if name != 'AR@100']
        figures = {
            f'{metric}_{item}': float(evaluator.stats[_STATS[item]])
            for item in items
            if item in _STATS
        }
        if self.classwise:
            precision = evaluator.eval['precision'][:, :, :, 0, -1]
            for index, category in enumerate(
                self._coco_api.load_cats(evaluator.params.catIds)  # which it has sorted
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
