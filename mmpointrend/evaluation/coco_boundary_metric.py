# Copyright (c) The mmpointrend authors.
"""COCO AP with Boundary AP among its metrics."""

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


def evaluate_coco(
    ground_truth: dict[str, Any],
    predictions: list[dict[str, Any]],
    iou_type: str = 'boundary',
    dilation_ratio: float = 0.02,
    cat_ids: Sequence[int] | None = None,
    img_ids: Sequence[int] | None = None,
    iou_thrs: Sequence[float] | None = None,
) -> COCOeval_faster:
    """Runs COCO's evaluation, at most 100 detections an image, by faster-coco-eval.

    Args:
        ground_truth: The content of a COCO instance file. It is not changed.
        predictions: COCO results with RLE ``segmentation``; without ``bbox``, so that the sizes
            are those of the masks. They are not changed.
        iou_type: ``boundary`` (the lesser of mask IoU and boundary IoU) or ``segm``.
        dilation_ratio: Boundary width as a share of the image's diagonal.
        cat_ids: Categories to evaluate; all where None.
        img_ids: Images to evaluate; all where None.
        iou_thrs: IoU thresholds; 0.5 to 0.95 in steps of 0.05 where None.

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
    )
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
        **kwargs: ``CocoMetric``'s.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1).
    """

    def __init__(
        self,
        *args: Any,
        metric: str | Sequence[str] = ('bbox', 'segm', 'boundary'),
        dilation_ratio: float = 0.02,
        **kwargs: Any,
    ) -> None:
        names = [metric] if isinstance(metric, str) else list(metric)
        super().__init__(*args, metric=[name for name in names if name != 'boundary'], **kwargs)
        self.with_boundary = 'boundary' in names
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Computes ``CocoMetric``'s figures and Boundary AP.

        Args:
            results: What ``process`` collected, pairs of ground truth and prediction.

        Raises:
            ConfigError: If Boundary AP is asked for and the predictions hold no masks.
        """
        metrics = super().compute_metrics(results)
        if self.with_boundary and not self.format_only:
            predictions = [prediction for _, prediction in results]
            metrics.update(self._boundary_metrics(predictions))
        return metrics

    def _boundary_metrics(self, predictions: Sequence[dict]) -> dict[str, float]:
        """Boundary AP of the predictions of all images."""
        with tempfile.TemporaryDirectory() as folder:
            files = self.results2json(predictions, f'{folder}/results')
            if 'segm' not in files:
                raise ConfigError(
                    "metric 'boundary' needs masks, but the model predicts none: drop 'boundary' "
                    'from the metric or test a model with a mask head.'
                )
            records = load(files['segm'])
        for record in records:
            record.pop('bbox')
        evaluator = evaluate_coco(
            self._coco_api.dataset,
            records,
            dilation_ratio=self.dilation_ratio,
            cat_ids=self.cat_ids,
            img_ids=self.img_ids,
            iou_thrs=self.iou_thrs,
        )
        items = self.metric_items or [name for name in _STATS if name != 'AR@100']
        figures = {
            f'boundary_{item}': float(evaluator.stats[_STATS[item]])
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
                name = f'boundary_{category["name"]}_precision'
                figures[name] = float(values.mean()) if values.size else float('nan')
        MMLogger.get_current_instance().info(
            'Boundary AP: ' + ', '.join(f'{name} {value:.4f}' for name, value in figures.items())
        )
        return figures
