# Copyright (c) The mmpointrend authors.
"""IoU of semantic segmentation in narrow bands around the edges of the truth."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmengine.logging import MMLogger
from mmseg.evaluation import IoUMetric
from prettytable import PrettyTable

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.boundary import distance_to_label_change
from mmpointrend.evaluation.label_map_metric import LabelMapMetric, mean_over_classes, percent
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.registry import METRICS


@METRICS.register_module()
class TrimapIoUMetric(LabelMapMetric):
    """mIoU over the pixels within r pixels of an edge of the truth, for several r.

    An edge is where two labels meet; both of its sides have distance 1 (Chebyshev). Edges of void
    (``ignore_index`` in the truth) are none, and void pixels do not count. All other pixels are
    treated as mmseg's ``IoUMetric`` treats void. As r grows, the figure goes to the mIoU.

    Figures: ``mTrimapIoU_{r}px`` for each r, in percent; the classes' own are in the log.

    Source: "Robust higher order potentials for enforcing label consistency" (Kohli et al., 2009),
    where the band around the boundaries is called a trimap; class IoU in it as in DeepLab
    (1412.7062).

    Args:
        widths: The r, in pixels of the truth, each at least 1.
        **kwargs: ``ignore_index`` (label of void, 255), ``collect_device`` and ``prefix``.

    Raises:
        ConfigError: If ``widths`` is empty or holds anything but whole numbers from 1.
    """

    def __init__(self, *, widths: Sequence[int] = (1, 3, 5, 10, 20, 40), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not widths or any(not isinstance(r, int) or r < 1 for r in widths):
            raise ConfigError(
                f'widths must be whole numbers of pixels from 1, as (1, 3, 5), but got {widths}.'
            )
        self.widths = list(widths)

    def count(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Pixels in the bands of one image.

        Args:
            predicted: (H, W) int labels.
            truth: (H, W) int labels, ``ignore_index`` where void.

        Returns:
            (len(widths), 2, num_classes) int, intersection and union.
        """
        distance = distance_to_label_change(truth, truth == self.ignore_index)
        bands = [np.where(distance <= r, truth, self.ignore_index) for r in self.widths]
        counts = [
            IoUMetric.intersect_and_union(
                torch.from_numpy(predicted),
                torch.from_numpy(band),
                len(self.dataset_meta['classes']),
                self.ignore_index,
            )[:2]
            for band in bands
        ]
        return np.array([[part.numpy() for part in pair] for pair in counts]).astype(np.int64)

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Divides the sums over all images.

        Args:
            results: (len(widths), 2, num_classes) counts of every image.

        Returns:
            The figures; nan if there is no result.
        """
        if not results:
            return no_figures([f'mTrimapIoU_{r}px' for r in self.widths], 'trimap IoU')
        intersection, union = np.sum(results, axis=0).swapaxes(0, 1)
        iou = percent(intersection, union)
        table = PrettyTable(['Class', *(f'{r} px' for r in self.widths)])
        for name, values in zip(self.dataset_meta['classes'], iou.T, strict=True):
            table.add_row([name, *(f'{value:.2f}' for value in values)])
        MMLogger.get_current_instance().info(f'per class trimap IoU:\n{table.get_string()}')
        return {
            f'mTrimapIoU_{r}px': mean_over_classes(row)
            for r, row in zip(self.widths, iou, strict=True)
        }
