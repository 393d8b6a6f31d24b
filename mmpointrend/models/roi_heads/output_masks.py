# Copyright (c) The mmpointrend authors.
"""Masks of detections at the output's size: what is written where.

R detections of all images together; H and W of the map that a mask was rendered to. Boxes are in pixels of the output
once they are rescaled.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.mask_heads.fcn_mask_head import _do_paste_mask
from mmengine.config import ConfigDict
from mmengine.structures import InstanceData
from torch import Tensor

from mmpointrend.models.roi_heads.kept_contours import ContourCanvas, keep_contours
from mmpointrend.points import (
    OutputGrid,
    ResolutionBatch,
    as_crops,
    extent,
    run_changes,
    zeros,
)
from mmpointrend.run_lengths import encode_changes
from mmpointrend.sparse_masks import SparseMask, SparseMasks

__all__ = ['MaskCanvas', 'paste']


class MaskCanvas:
    """Masks of detections, to which logits of the output's own pixels are written.

    Detections get an empty mask at once, as ``masks``, or sparse ones by :meth:`finish`.

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
        output: ``test_cfg.mask_output``.
    """

    def __init__(
        self,
        results_list: Sequence[InstanceData],
        batch_img_metas: Sequence[dict],
        rescale: bool,
        threshold: float,
        keep_contours: bool = False,
        output: str = 'dense',
    ) -> None:
        self._threshold = threshold
        self._sparse = None if output == 'dense' else _SparseCanvas(output == 'crop')
        self._masks: list[Tensor] = []
        self._contours = ContourCanvas(threshold) if keep_contours else None
        grids = []
        for results, meta in zip(results_list, batch_img_metas, strict=True):
            height, width = _output_size(meta, rescale)
            if rescale:
                _rescale(results.bboxes, meta)
            grids.append(OutputGrid.of_boxes(results.bboxes, height, width))
            if self._sparse is not None:
                self._sparse.add(results, (height, width))
            else:
                results.masks = _no_masks(
                    len(results), height, width, threshold, results.bboxes.device
                )
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
        masks = _as_masks(logits, self._threshold)
        if self._sparse is not None:
            self._draw_sparse(batch, masks)
        else:
            for region, values in zip(batch.regions, masks, strict=True):
                column, row, columns, rows = self._places[region]
                place = slice(row, row + rows), slice(column, column + columns)
                self._masks[region][place] = _of_region(values, batch, rows, columns)
        if self._contours is not None:
            for region, values in zip(batch.regions, logits.detach().float().cpu(), strict=True):
                column, row, columns, rows = self._places[region]
                own = _of_region(values, batch, rows, columns)
                self._contours.draw(region, own.numpy(), (column, row))

    def _draw_sparse(self, batch: ResolutionBatch, masks: Tensor) -> None:
        """Take down where masks (r, A) or (r, H, W) change."""
        assert self._sparse is not None
        if masks.device.type == 'cpu':
            # One by one: no pixel beyond a region is looked at.
            for region, values in zip(batch.regions, masks, strict=True):
                column, row, columns, rows = self._places[region]
                crop = _of_region(values, batch, rows, columns)
                self._sparse.draw([region], crop[None], [(column, row)], [(columns, rows)])
            return
        places = [self._places[region] for region in batch.regions]
        sizes = [(columns, rows) for _, _, columns, rows in places]
        if batch.steps is None:
            masks = as_crops(
                masks, masks.new_tensor(sizes, dtype=torch.long), batch.rows, batch.columns
            )
        corners = [(column, row) for column, row, _, _ in places]
        self._sparse.draw(batch.regions, masks, corners, sizes)

    def finish(self) -> None:
        """Give the detections their masks, once all are drawn."""
        if self._sparse is not None:
            self._sparse.finish()


class _SparseCanvas:
    """Run lengths of detections of all images, taken from crops of their masks.

    Args:
        keeps_bitmaps: Whether the crops are kept too.
    """

    def __init__(self, keeps_bitmaps: bool) -> None:
        self._keeps_bitmaps = keeps_bitmaps
        self._images: list[tuple[InstanceData, tuple[int, int]]] = []
        self._sizes: list[tuple[int, int]] = []
        self._changes: list[Tensor] = []
        self._bitmaps: dict[int, tuple[tuple[int, int], np.ndarray]] = {}

    def add(self, results: InstanceData, size: tuple[int, int]) -> None:
        """Take up the detections of the next image.

        Args:
            results: Detections.
            size: Height and width of the output.
        """
        self._images.append((results, size))
        self._sizes += [size] * len(results)

    def draw(
        self,
        regions: Sequence[int],
        crops: Tensor,
        corners: Sequence[tuple[int, int]],
        sizes: Sequence[tuple[int, int]],
    ) -> None:
        """Take down where masks change.

        Args:
            regions: Numbers of detections among those of all images.
            crops: Their masks, bool, shape (r, H, W).
            corners: Column and row of each crop's first pixel.
            sizes: Columns and rows of each.
        """
        numbers, corner, size, height = (
            torch.tensor(values, device=crops.device)
            for values in (regions, corners, sizes, [self._sizes[region][0] for region in regions])
        )
        rows, changes = run_changes(crops, corner, size, height)
        self._changes.append(torch.stack([numbers[rows], changes]))
        if self._keeps_bitmaps:
            for region, crop, at, (columns, height_) in zip(
                regions, crops.cpu().numpy(), corners, sizes, strict=True
            ):
                self._bitmaps[region] = at, crop[:height_, :columns].copy()

    def finish(self) -> None:
        """Encode all masks, after one transfer."""
        none = torch.zeros(2, 0, dtype=torch.long)
        regions, changes = torch.cat(self._changes or [none], dim=1).cpu().numpy()
        # Batches come in an order of their own; within a region changes are in order.
        order = np.argsort(regions, kind='stable')
        encoded = encode_changes(regions[order], changes[order], self._sizes)
        begin = 0
        empty = (0, 0), np.zeros((0, 0), bool)
        for results, size in self._images:
            numbers = range(begin, begin + len(results))
            begin = numbers.stop
            results.masks = SparseMasks(
                [
                    SparseMask(encoded[n], *self._bitmaps.get(n, empty))
                    if self._keeps_bitmaps
                    else SparseMask(encoded[n])
                    for n in numbers
                ],
                size,
            )


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
    output = test_cfg.get('mask_output', 'dense')
    sparse = None if output == 'dense' else _SparseCanvas(output == 'crop')
    begin = 0
    for results, meta, own in zip(results_list, batch_img_metas, logits.split(sizes), strict=True):
        size = _output_size(meta, rescale)
        if rescale:
            _rescale(results.bboxes, meta)
        if sparse is None:
            results.masks = _pasted(mask_head, own, results.bboxes, meta, size, test_cfg)
        else:
            sparse.add(results, size)
            _paste_sparse(sparse, begin, own, results.bboxes, size, test_cfg.mask_thr_binary)
        begin += len(results)
        keep_contours(results, own, size, test_cfg)
    if sparse is not None:
        sparse.finish()


def _drawn_boxes(bboxes: Tensor, size: tuple[int, int]) -> Tensor:
    """Boxes (r, 4) as mmdet pastes them, those that have no pixel outside of the output (height, width).

    mmdet samples in single precision. On a CPU it fails on a box far outside, and draws lines where a side is 0 (on a
    GPU through all of the image): such boxes move to where they have no pixel, without asking whether there are any.
    """
    height, width = size
    boxes = bboxes.float()
    low, high = boxes[:, :2], boxes[:, 2:]
    drawn = (low <= extent(height, width, boxes) + 1) & (high >= -1) & (high > low)
    nowhere = torch.cat([boxes.new_full((2,), -2), boxes.new_full((2,), -1)])
    return torch.where(drawn.all(dim=1, keepdim=True), boxes, nowhere)


def _paste_sparse(
    canvas: _SparseCanvas,
    first: int,
    logits: Tensor,
    bboxes: Tensor,
    size: tuple[int, int],
    threshold: float,
) -> None:
    """Draw masks of an image, mmdet's pasted ones, one by one and in their boxes alone.

    Args:
        canvas: What they are drawn on.
        first: Number of the image's first detection.
        logits: Logits, shape (r, 1, H, W).
        bboxes: Boxes in pixels of the output, shape (r, 4).
        size: Height and width of the output.
        threshold: Probability from which a pixel is foreground.
    """
    boxes = _drawn_boxes(bboxes, size)
    for number, (values, box) in enumerate(zip(logits.sigmoid(), boxes, strict=True)):
        crop, (down, across) = _do_paste_mask(values[None], box[None], *size, skip_empty=True)
        corner, extents = (int(across.start), int(down.start)), (crop.shape[2], crop.shape[1])
        canvas.draw([first + number], crop >= threshold, [corner], [extents])


def _pasted(
    mask_head: FCNMaskHead,
    logits: Tensor,
    bboxes: Tensor,
    meta: dict,
    size: tuple[int, int],
    test_cfg: ConfigDict,
) -> Tensor:
    """Masks (r, height, width) of an image, given boxes in pixels of the output."""
    if len(bboxes) == 0:
        return _no_masks(0, *size, test_cfg.mask_thr_binary, bboxes.device)
    boxes = _drawn_boxes(bboxes, size)
    return mask_head._predict_by_feat_single(
        logits,
        boxes,
        torch.zeros(len(boxes), dtype=torch.long, device=boxes.device),
        {**meta, 'scale_factor': (1.0, 1.0), 'ori_shape': size},
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
