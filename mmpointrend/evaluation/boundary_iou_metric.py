# Copyright (c) The mmpointrend authors.
"""Boundary IoU of semantic segmentation."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.boundary import (
    boundary_width,
    check_dilation_ratio,
    intersection_and_union,
    mask_boundary,
)
from mmpointrend.registry import METRICS


@METRICS.register_module()
class BoundaryIoUMetric(BaseMetric):
    """Boundary IoU per class and their mean, the sibling of mmseg's ``IoUMetric``.

    Each class is a binary mask of its own, in the truth and in the prediction; the boundaries of
    the two are intersected and united, and both counts are summed over the data set before the
    division. Void pixels (``ignore_index`` in the truth) neither make a boundary, in the truth or
    in the prediction, nor count.

    Figures: ``mBoundaryIoU``, the mean over the classes that occur, and ``BoundaryIoU.{class}``,
    both in percent; nan for a class that occurs in neither.

    Args:
        dilation_ratio: Width of the boundary as a share of the image's diagonal; 0.02 for images
            as COCO's, 0.005 for Cityscapes.
        ignore_index: Label of void.
        collect_device: Where the ranks' results are gathered, ``cpu`` or ``gpu``.
        prefix: Put before the figures' names.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1).
    """

    def __init__(
        self,
        *,
        dilation_ratio: float = 0.02,
        ignore_index: int = 255,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts the boundary pixels of each image.

        Args:
            data_batch: Not used.
            data_samples: mmseg's data samples as dicts, with ``pred_sem_seg`` and ``gt_sem_seg``
                of the same (1, H, W).

        Raises:
            ConfigError: If prediction and truth differ in size.
        """
        for sample in data_samples:
            predicted, truth = (
                sample[key]['data'].squeeze(0).cpu().numpy()
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            if predicted.shape != truth.shape:
                raise ConfigError(
                    f'The prediction is {predicted.shape} and the truth {truth.shape}: in the '
                    'test pipeline, LoadAnnotations has to come after Resize.'
                )
            self.results.append(self._count(predicted, truth))

    def _count(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Boundary pixels of one image: (num_classes, 2), intersection and union."""
        height, length = truth.shape
        width = boundary_width(height, length, self.dilation_ratio)
        void = truth == self.ignore_index
        counts = np.zeros((len(self.dataset_meta['classes']), 2), np.int64)
        for label in range(len(counts)):
            rims = [mask_boundary(labels == label, width, void) for labels in (truth, predicted)]
            counts[label] = intersection_and_union(*rims)
        return counts

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Divides the sums over all images.

        Args:
            results: (num_classes, 2) counts of every image.
        """
        intersection, union = np.sum(results, axis=0).T
        iou = np.full(len(union), np.nan)
        np.divide(100 * intersection, union, out=iou, where=union > 0)
        mean = float(np.nanmean(iou)) if (union > 0).any() else float('nan')
        table = PrettyTable(['Class', 'BoundaryIoU'])
        figures = {'mBoundaryIoU': round(mean, 2)}
        for name, value in zip(self.dataset_meta['classes'], iou, strict=True):
            table.add_row([name, f'{value:.2f}'])
            figures[f'BoundaryIoU.{name}'] = round(float(value), 2)
        MMLogger.get_current_instance().info(f'per class boundary IoU:\n{table.get_string()}')
        return figures
