# Copyright (c) The mmpointrend authors.
"""Outlines of rendered masks, kept beside the masks while their logits are at hand."""

from collections.abc import Mapping

import numpy as np
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.contours import Polygon, trace_on_pixels, trace_pasted

__all__ = ['ContourCanvas', 'keep_contours']


def _level_of(threshold: float) -> float:
    """Probability at which outlines are traced; masks are probabilities if the threshold is negative."""
    return threshold if threshold >= 0 else 0.5


def keep_contours(
    results: InstanceData, logits: Tensor, size: tuple[int, int], test_cfg: Mapping
) -> None:
    """Trace the masks of an image if ``test_cfg.keep_contours`` asks for it.

    Args:
        results: Detections with ``bboxes`` in pixels of the output; ``contours`` is added, a list of each mask's parts.
        logits: Logits that cover the boxes, shape (R, 1, h, w).
        size: Height and width of the output.
        test_cfg: The RoI head's.
    """
    if not test_cfg.get('keep_contours', False):
        return
    maps, boxes = logits[:, 0].detach().float().cpu().numpy(), results.bboxes.double().cpu().numpy()
    results.contours = [
        trace_pasted(values, box, size, _level_of(test_cfg['mask_thr_binary']))
        for values, box in zip(maps, boxes, strict=True)
    ]


class ContourCanvas:
    """Outlines of detections of all images, which have none at first, as ``contours``.

    Args:
        threshold: ``test_cfg.mask_thr_binary``.
    """

    def __init__(self, threshold: float) -> None:
        self._level = _level_of(threshold)
        self._places: list[tuple[list[tuple[Polygon, ...]], int]] = []
        self._boxes: list[np.ndarray] = []
        self._sizes: list[tuple[int, int]] = []

    def add(self, results: InstanceData, size: tuple[int, int]) -> None:
        """Take up the detections of the next image.

        Args:
            results: Detections, with ``bboxes`` in pixels of the output.
            size: Height and width of the output.
        """
        results.contours = [()] * len(results)
        self._places += [(results.contours, index) for index in range(len(results))]
        self._boxes += list(results.bboxes.double().cpu().numpy())
        self._sizes += [size] * len(results)

    def draw(self, region: int, logits: np.ndarray, corner: tuple[int, int]) -> None:
        """Trace one detection.

        Args:
            region: Its number among those of all images.
            logits: Logits of its pixels, shape (rows, columns).
            corner: Column and row of the first of them.
        """
        contours, index = self._places[region]
        contours[index] = trace_on_pixels(
            logits, corner, self._boxes[region], self._sizes[region], self._level
        )
