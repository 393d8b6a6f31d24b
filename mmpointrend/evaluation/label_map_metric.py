# Copyright (c) The mmpointrend authors.
"""What the metrics that compare two label maps share."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from mmengine.evaluator import BaseMetric

from mmpointrend.errors import ConfigError, InputError


class LabelMapMetric(BaseMetric):
    """Counts something of each image's prediction and truth; the counts go to ``self.results``.

    Args:
        ignore_index: Label of void in the truth.
        collect_device: Where the ranks' results are gathered, ``cpu`` or ``gpu``.
        prefix: Put before the figures' names.
    """

    def __init__(
        self, *, ignore_index: int = 255, collect_device: str = 'cpu', prefix: str | None = None
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.ignore_index = ignore_index

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Counts in each image of a batch.

        Args:
            data_batch: Not used.
            data_samples: mmseg's data samples as dicts, with ``pred_sem_seg`` and ``gt_sem_seg``
                of the same (1, H, W).

        Raises:
            ConfigError: The truth was resized with the image.
            InputError: The label map has another size than its image.
        """
        for sample in data_samples:
            predicted, truth = (
                sample[key]['data'].squeeze(0).cpu().numpy()
                for key in ('pred_sem_seg', 'gt_sem_seg')
            )
            if predicted.shape != truth.shape:
                raise _misfit(sample, predicted.shape, truth.shape)
            self.results.append(self.count(predicted, truth))

    @abstractmethod
    def count(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Counts in one image.

        Args:
            predicted: (H, W) int labels.
            truth: (H, W) int labels, ``ignore_index`` where void.
        """


def _misfit(
    sample: dict, predicted: tuple[int, ...], truth: tuple[int, ...]
) -> ConfigError | InputError:
    """Why prediction and truth, each (H, W), differ in size."""
    sizes = f'The prediction is {predicted} and the truth {truth}'
    resized = sample.get('img_shape')
    if resized is None or tuple(resized[:2]) == truth:
        return ConfigError(
            f'{sizes}: in the test pipeline, LoadAnnotations has to come after Resize.'
        )
    path = sample.get('seg_map_path')
    return InputError(
        f'{sizes} (height, width): the label map {path} has another size than its image '
        f'{sample.get("img_path")}, or LoadAnnotations does not come after Resize and crops in the test pipeline.'
    )


def percent(intersection: np.ndarray, union: np.ndarray) -> np.ndarray:
    """IoU in percent, nan where the union is empty.

    Args:
        intersection: Pixels, of any shape.
        union: Pixels, of the same shape.
    """
    iou = np.full(np.shape(union), np.nan)
    np.divide(100 * intersection, union, out=iou, where=union > 0)
    return iou


def mean_over_classes(iou: np.ndarray) -> float:
    """Mean over the classes that occur, rounded to two digits as mmseg's figures are; nan if none.

    Args:
        iou: (num_classes,) in percent, nan for classes that occur nowhere.
    """
    return round(float(np.nanmean(iou)), 2) if not np.isnan(iou).all() else float('nan')
