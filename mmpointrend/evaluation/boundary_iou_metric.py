# Copyright (c) The mmpointrend authors.
"""Boundary IoU of semantic segmentation."""

from typing import Any

import numpy as np
from mmengine.logging import MMLogger
from prettytable import PrettyTable

from mmpointrend.evaluation.boundary import (
    boundary_width,
    check_dilation_ratio,
    intersection_and_union,
    mask_boundary,
)
from mmpointrend.evaluation.label_map_metric import LabelMapMetric, mean_over_classes, percent
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.registry import METRICS


@METRICS.register_module()
class BoundaryIoUMetric(LabelMapMetric):
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
        **kwargs: ``ignore_index`` (label of void, 255), ``collect_device`` and ``prefix``.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1).
    """

    def __init__(self, *, dilation_ratio: float = 0.02, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)

    def count(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Boundary pixels of one image.

        Args:
            predicted: (H, W) int labels.
            truth: (H, W) int labels, ``ignore_index`` where void.

        Returns:
            (num_classes, 2) int, intersection and union.
        """
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

        Returns:
            The figures; nan if there is no result.
        """
        classes = self.dataset_meta['classes']
        if not results:
            names = ['mBoundaryIoU', *(f'BoundaryIoU.{name}' for name in classes)]
            return no_figures(names, 'boundary IoU')
        iou = percent(*np.sum(results, axis=0).T)
        table = PrettyTable(['Class', 'BoundaryIoU'])
        figures = {'mBoundaryIoU': mean_over_classes(iou)}
        for name, value in zip(classes, iou, strict=True):
            table.add_row([name, f'{value:.2f}'])
            figures[f'BoundaryIoU.{name}'] = round(float(value), 2)
        MMLogger.get_current_instance().info(f'per class boundary IoU:\n{table.get_string()}')
        return figures
