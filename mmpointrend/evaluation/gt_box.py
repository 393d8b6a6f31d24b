# Copyright (c) The mmpointrend authors.
"""Masks on ground-truth boxes: the mask head alone, without what detection adds to an AP.

The loops ask a two-stage detector for the masks of the ground-truth boxes and labels; the metric
compares them with the ground-truth masks, instance by instance.

Frames: ground truth is in the original image's pixels (mmdet's test pipelines load annotations
after ``Resize``); the mask head takes boxes in the resized image's pixels and answers with masks of
the original size.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import PolygonMasks
from mmengine.evaluator import BaseMetric, Evaluator
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, TestLoop, ValLoop
from mmengine.runner.amp import autocast
from mmengine.structures import InstanceData
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.boundary import (
    boundary_width,
    check_dilation_ratio,
    intersection_and_union,
    mask_boundary,
)
from mmpointrend.evaluation.no_figures import no_figures
from mmpointrend.outlines import check_polygons
from mmpointrend.registry import LOOPS, METRICS

_SIZES = {'': (0, 1e10), '_s': (0, 32**2), '_m': (32**2, 96**2), '_l': (96**2, 1e10)}


def _check_frame(sample: DetDataSample) -> None:
    """Refuses ground truth without masks that can be drawn, or not in the original image's frame."""
    truth = sample.gt_instances
    if 'masks' not in truth:
        raise ConfigError(
            'Masks on ground-truth boxes need ground-truth masks: set with_mask=True in the '
            "test pipeline's LoadAnnotations."
        )
    size = (truth.masks.height, truth.masks.width)
    if size != tuple(sample.ori_shape[:2]):
        raise ConfigError(
            f'The ground truth of {sample.img_path} is {size}, the image {sample.ori_shape[:2]}: '
            'in the test pipeline, LoadAnnotations has to come after Resize.'
        )
    if isinstance(truth.masks, PolygonMasks):
        check_polygons(truth.masks.masks, f'the image {sample.img_path}')


@torch.no_grad()
def predict_on_gt_boxes(model: nn.Module, data_batch: dict) -> list[DetDataSample]:
    """Predicts the masks of the ground-truth boxes and labels of a batch.

    Args:
        model: A two-stage mmdet detector with a mask head (or its distributed wrapper), in
            evaluation mode.
        data_batch: A batch of the test data loader. Crowd and ignored instances are no ground
            truth here (``PackDetInputs`` has put them aside).

    Returns:
        The data samples; ``pred_instances`` holds, in the order of ``gt_instances``, ``masks``
        (n, H, W) bool of the original size, ``bboxes`` (n, 4) in its pixels, ``labels`` (n,) and
        ``scores`` (n,), all 1.

    Raises:
        ConfigError: If the model has no RoI head with a mask head, or the batch no ground-truth
            masks of the original image's size.
    """
    detector: Any = model.module if is_model_wrapper(model) else model
    if not getattr(getattr(detector, 'roi_head', None), 'with_mask', False):
        raise ConfigError(
            f'{type(detector).__name__} has no RoI head with a mask head, which masks on '
            'ground-truth boxes need.'
        )
    data = detector.data_preprocessor(data_batch, False)
    samples = data['data_samples']
    regions = []
    for sample in samples:
        _check_frame(sample)
        truth = sample.gt_instances
        boxes: Tensor = getattr(truth.bboxes, 'tensor', truth.bboxes)
        scale = boxes.new_tensor(sample.scale_factor).repeat(2)
        # The head rescales its boxes in place; the product is a copy.
        regions.append(
            InstanceData(
                bboxes=boxes * scale, labels=truth.labels, scores=boxes.new_ones(len(boxes))
            )
        )
    features = detector.extract_feat(data['inputs'])
    metas = [sample.metainfo for sample in samples]
    predictions = detector.roi_head.predict_mask(features, metas, regions, rescale=True)
    for sample, prediction in zip(samples, predictions, strict=True):
        sample.pred_instances = prediction
    return samples


class _GTBoxLoop(BaseLoop):
    """What the two loops below share: one batch, with masks predicted on ground-truth boxes."""

    mode: str
    fp16: bool
    evaluator: Evaluator

    @torch.no_grad()
    def run_iter(self, idx: int, data_batch: Any) -> None:
        """Predicts one batch and hands it to the evaluator.

        Args:
            idx: Number of the batch.
            data_batch: A batch of the data loader.
        """
        batch = {'batch_idx': idx, 'data_batch': data_batch}
        self.runner.call_hook(f'before_{self.mode}_iter', **batch)
        with autocast(enabled=self.fp16):
            outputs = predict_on_gt_boxes(self.runner.model, data_batch)
        self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        self.runner.call_hook(f'after_{self.mode}_iter', **batch, outputs=outputs)


@LOOPS.register_module()
class GTBoxTestLoop(_GTBoxLoop, TestLoop):
    """mmengine's ``TestLoop`` with masks predicted on ground-truth boxes.

    Use it with `GTBoxMaskMetric` and a test pipeline whose ``LoadAnnotations`` has
    ``with_mask=True``: ``test_cfg=dict(type='mmpointrend.GTBoxTestLoop')``.
    """

    mode = 'test'


@LOOPS.register_module()
class GTBoxValLoop(_GTBoxLoop, ValLoop):
    """mmengine's ``ValLoop`` with masks predicted on ground-truth boxes; see `GTBoxTestLoop`."""

    mode = 'val'


@METRICS.register_module()
class GTBoxMaskMetric(BaseMetric):
    """Mean mask IoU and mean boundary IoU over the instances, predicted on their own boxes.

    Figures in [0, 1]: ``gt_box/mask_IoU`` and ``gt_box/boundary_IoU`` over all instances, and with
    ``_s``, ``_m``, ``_l`` over those whose ground-truth mask is below 32^2 pixels, from there to
    below 96^2, and from there on; nan where there is none. Boundary IoU is not clipped by mask
    IoU, as Boundary AP does it.

    Args:
        dilation_ratio: Width of the boundary as a share of the image's diagonal.
        collect_device: Where the ranks' results are gathered, ``cpu`` or ``gpu``.
        prefix: Put before the figures' names; ``gt_box`` where None.

    Raises:
        ConfigError: If ``dilation_ratio`` is not in (0, 1).
    """

    default_prefix = 'gt_box'

    def __init__(
        self,
        *,
        dilation_ratio: float = 0.02,
        collect_device: str = 'cpu',
        prefix: str | None = None,
    ) -> None:
        super().__init__(collect_device=collect_device, prefix=prefix)
        self.dilation_ratio = check_dilation_ratio(dilation_ratio)

    def process(self, data_batch: Any, data_samples: Sequence[dict]) -> None:
        """Compares the masks of each image.

        Args:
            data_batch: Not used.
            data_samples: Data samples as dicts, with ``gt_instances`` (mmdet's mask structure) and
                ``pred_instances.masks`` (n, H, W), one for each ground-truth instance and in the
                same order.

        Raises:
            ConfigError: If there is not one prediction for each ground-truth instance.
        """
        for sample in data_samples:
            truth = sample['gt_instances']['masks'].to_ndarray().astype(bool)
            predicted = sample['pred_instances']['masks'].cpu().numpy().astype(bool)
            if truth.shape != predicted.shape:
                raise ConfigError(
                    f'There are masks {predicted.shape} for ground truth {truth.shape}: '
                    'GTBoxMaskMetric needs GTBoxTestLoop or GTBoxValLoop.'
                )
            self.results.append(self._compare(predicted, truth))

    def _compare(self, predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
        """Mask area, mask IoU, boundary IoU of each instance: (n, 3)."""
        _, height, length = truth.shape
        width = boundary_width(height, length, self.dilation_ratio)
        rows = np.zeros((len(truth), 3))
        for row, mask, expected in zip(rows, predicted, truth, strict=True):
            whole = intersection_and_union(mask, expected)
            rim = intersection_and_union(mask_boundary(mask, width), mask_boundary(expected, width))
            row[:] = expected.sum(), whole[0] / max(whole[1], 1), rim[0] / max(rim[1], 1)
        return rows

    def compute_metrics(self, results: list) -> dict[str, float]:
        """Averages over the instances of all images.

        Args:
            results: (n, 3) area, mask IoU, boundary IoU of every image.

        Returns:
            The figures; nan if there is no result.
        """
        if not results:
            names = [f'{name}_IoU{size}' for name in ('mask', 'boundary') for size in _SIZES]
            return no_figures(names, self.prefix)
        area, mask_iou, boundary_iou = np.concatenate(results).T
        figures = {}
        for name, values in (('mask_IoU', mask_iou), ('boundary_IoU', boundary_iou)):
            for suffix, (low, high) in _SIZES.items():
                part = values[(area >= low) & (area < high)]
                figures[name + suffix] = float(part.mean()) if len(part) else float('nan')
        return figures
