# Copyright (c) The mmpointrend authors.
"""Masks of detections at the output's size: what is written where.

R detections of all images together; H and W of the map that a mask was rendered to. Boxes are in pixels of the output
once they are rescaled.
"""

import math
from collections.abc import Sequence

import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.models.roi_heads.kept_contours import ContourCanvas, keep_contours
from mmpointrend.points import OutputGrid, ResolutionBatch, extent, zeros

__all__ = ['MaskCanvas', 'paste']


class MaskCanvas:
    """Masks of detections, to which logits of the output's own pixels are written.

    Detections get an empty mask at once, as ``masks``.

    Attributes:
        grid: The output's pixels of each detection.
        sizes: Columns and rows of each of these, on the host.

    Args:
        results_list: Detections of each image.
        batch_img_metas: Meta information of each image.
        rescale: Whether ``bboxes`` become boxes of the original image, in place, and masks have its size.
        threshold: Probability from which a pixel is foreground; where it is negative, masks are uint8 probabilities
            times 255.
        keep_contours: Whether detections get the outlines of their masks too, as ``contours``.
    """

    def __init__(
        self,
        results_list: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
        rescale: bool,
        threshold: float,
        keep_contours: bool = False,
    ) -> None:
        self._threshold = threshold
        self._masks: list[Tensor] = []
        self._contours = ContourCanvas(threshold) if keep_contours else None
        grids = []
        for results, meta in zip(results_list, batch_img_metas, strict=True):
            height, width = _output_size(meta, rescale)
            if rescale:
                _rescale(results.bboxes, meta)
            grids.append(OutputGrid.of_boxes(results.bboxes, height, width))
            results.masks = _no_masks(len(results), height, width, threshold, results.bboxes.device)
            self._masks.extend(results.masks)
            if self._contours is not None:
                self._contours.add(results, (height, width))
        self.grid = OutputGrid.cat(grids)
        # What has to be known on the host, in one transfer: the shapes of all that follows.
        self._places = torch.cat([self.grid.start, self.grid.size], dim=1).tolist()
        self.sizes = [(columns, rows) for _, _, columns, rows in self._places]

    def draw(self, batch: ResolutionBatch, logits: Tensor) -> None:
        """Write masks.

        Args:
            batch: The detections.
            logits: Of their pixels, shape (r, A) row by row where all were predicted, else (r, H, W).
        """
        for region, values in zip(batch.regions, _as_masks(logits, self._threshold), strict=True):
            column, row, columns, rows = self._places[region]
            place = slice(row, row + rows), slice(column, column + columns)
            self._masks[region][place] = _of_region(values, batch, rows, columns)
        if self._contours is not None:
            for region, values in zip(batch.regions, logits.detach().float().cpu(), strict=True):
                column, row, columns, rows = self._places[region]
                own = _of_region(values, batch, rows, columns)
                self._contours.draw(region, own.numpy(), (column, row))


def _of_region(values: Tensor, batch: ResolutionBatch, rows: int, columns: int) -> Tensor:
    """The pixels (rows, columns) of a region of a batch."""
    if batch.steps is None:
        return values[: rows * columns].view(rows, columns)
    return values[:rows, :columns]


def paste(
    mask_head: FCNMaskHead,
    logits: Tensor,
    results_list: Sequence[InstanceData],
    batch_img_metas: Sequence[dict],
    test_cfg: ConfigDict,
    rescale: bool,
) -> None:
    """Add masks of detections, resampled from maps that cover their boxes, by mmdet's mask head.

    A box that the output has nothing of gets an empty mask. ``contours`` are added if ``test_cfg.keep_contours`` is
    True.

    Args:
        mask_head: The mask head.
        logits: Logits, shape (R, 1, H, W).
        results_list: Detections of each image.
        batch_img_metas: Meta information of each image.
        test_cfg: The RoI head's.
        rescale: Whether ``bboxes`` become boxes of the original image, in place, and masks have its size.
    """
    sizes = [len(results) for results in results_list]
    for results, meta, own in zip(results_list, batch_img_metas, logits.split(sizes), strict=True):
        results.masks = _pasted(mask_head, own, results.bboxes, meta, test_cfg, rescale)
        keep_contours(results, own, test_cfg)


def _pasted(
    mask_head: FCNMaskHead,
    logits: Tensor,
    bboxes: Tensor,
    meta: dict,
    test_cfg: ConfigDict,
    rescale: bool,
) -> Tensor:
    """Masks (r, height, width) of an image."""
    height, width = _output_size(meta, rescale)
    if rescale:
        _rescale(bboxes, meta)
    if len(bboxes) == 0:
        return _no_masks(0, height, width, test_cfg.mask_thr_binary, bboxes.device)
    # mmdet samples in single precision. On a CPU it fails on a box far outside, and draws lines where a side is 0 (on a
    # GPU through all of the image): such boxes move to where they have no pixel, without asking whether there are any.
    boxes = bboxes.float()
    low, high = boxes[:, :2], boxes[:, 2:]
    drawn = (low <= extent(height, width, boxes) + 1) & (high >= -1) & (high > low)
    nowhere = torch.cat([boxes.new_full((2,), -2), boxes.new_full((2,), -1)])
    boxes = torch.where(drawn.all(dim=1, keepdim=True), boxes, nowhere)
    return mask_head._predict_by_feat_single(
        logits,
        boxes,
        torch.zeros(len(boxes), dtype=torch.long, device=boxes.device),
        {**meta, 'scale_factor': (1.0, 1.0), 'ori_shape': (height, width)},
        test_cfg,
        rescale=True,
    )


def _rescale(bboxes: Tensor, meta: dict) -> None:
    """Turn boxes of the network's input into boxes of the original image, in place as mmdet does."""
    bboxes /= bboxes.new_tensor(meta['scale_factor']).repeat(1, 2)


def _output_size(meta: dict, rescale: bool) -> tuple[int, int]:
    """Height and width of an image's masks, as mmdet has them."""
    height, width = meta['ori_shape'][:2]
    if rescale:
        return height, width
    scale_x, scale_y = meta['scale_factor'][:2]
    return round(height * scale_y), round(width * scale_x)


def _as_masks(logits: Tensor, threshold: float) -> Tensor:
    """Masks as :class:`MaskCanvas` has them."""
    if threshold < 0:
        return (logits.sigmoid() * 255).to(torch.uint8)
    # The sigmoid of all pixels would take as long as choosing the points among them.
    odds = threshold / (1 - threshold) if threshold < 1 else math.inf
    return logits >= (math.log(odds) if odds > 0 else -math.inf)


def _no_masks(
    number: int, height: int, width: int, threshold: float, device: torch.device
) -> Tensor:
    """Empty masks (number, height, width) as :class:`MaskCanvas` has them."""
    dtype = torch.bool if threshold >= 0 else torch.uint8
    return zeros((number, height, width), dtype, device)
