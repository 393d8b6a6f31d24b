# Copyright (c) The mmpointrend authors.
"""Polygons of predictions, and the forms in which others read them.

Outlines are traced where the logit is 0, from what the renderer has rendered (:mod:`mmpointrend.contours` says how, and
what the coordinates are). The RoI head hands them over with ``test_cfg.rcnn.keep_contours=True``, or inside of
:func:`contours_kept`; mmseg's samples have their logits. Of a sample without either, the edges of the mask's pixels are
the outline.
"""

import itertools
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
import shapely
import torch
from pycocotools import mask as mask_api
from torch import nn

from mmpointrend.contours import Polygon, trace, trace_mask
from mmpointrend.errors import ConfigError, InputError

__all__ = [
    'TOLERANCE',
    'Polygon',
    'contours_kept',
    'instance_polygons',
    'label_map_polygons',
    'rasterize',
    'simplify',
    'to_coco',
    'to_geojson',
]

TOLERANCE = 0.25
"""Default distance in pixels by which simplification may move an outline."""

_LEAST_IOU = 0.995
# Of more parts and holes than this pycocotools takes seconds: noise, and no outlines.
MOST_RINGS = 1000
_DECIMALS = 3


@contextmanager
def contours_kept(model: nn.Module) -> Iterator[None]:
    """Let a detector's RoI head hand over outlines with its masks, as ``pred_instances.contours``.

    Args:
        model: A detector with a PointRend RoI head, or that head. Models without an RoI head (segmentors) are left as
            they are: their samples have logits. So are others' heads, whose masks are traced along pixels.

    Yields:
        Nothing.
    """
    head = getattr(model, 'roi_head', model)
    test_cfg = getattr(head, 'test_cfg', None)
    if test_cfg is None or not hasattr(head, 'point_head'):
        yield
        return
    before = test_cfg.get('keep_contours')
    test_cfg['keep_contours'] = True
    try:
        yield
    finally:
        test_cfg['keep_contours'] = bool(before)


def simplify(polygons: Sequence[Polygon], tolerance: float = TOLERANCE) -> tuple[Polygon, ...]:
    """Leave out vertices, by shapely's topology-preserving Douglas-Peucker algorithm.

    Args:
        polygons: Parts of a mask.
        tolerance: The farthest in pixels that a vertex that is left out may lie from the new outline, >= 0; 0 leaves
            out vertices on straight lines alone.

    Returns:
        The same number of parts, with their holes.

    Raises:
        ConfigError: The tolerance is negative or not finite.
    """
    if not 0 <= tolerance < np.inf:
        raise ConfigError(
            f'tolerance is {tolerance}: give a number of pixels >= 0, such as {TOLERANCE}'
        )
    if not polygons:
        return ()
    # All at once: an untrained model's mask has thousands of parts and holes.
    rings = [ring for part in polygons for ring in part.rings]
    part_of_ring = np.repeat(np.arange(len(polygons)), [len(part.rings) for part in polygons])
    loops = shapely.linearrings(
        np.concatenate(rings), indices=np.repeat(np.arange(len(rings)), list(map(len, rings)))
    )
    shapes = shapely.polygons(loops, indices=part_of_ring)
    shapes = shapely.simplify(shapes, tolerance, preserve_topology=True)
    loops, part_of_ring = shapely.get_rings(shapes, return_index=True)
    points, ring_of_point = shapely.get_coordinates(loops, return_index=True)
    ends = np.searchsorted(ring_of_point, np.arange(len(loops)), side='right')
    # The last vertex is the first one again.
    rings = [points[start : end - 1] for start, end in itertools.pairwise([0, *ends])]
    firsts = np.searchsorted(part_of_ring, np.arange(len(polygons) + 1))
    return tuple(
        Polygon(rings[first], tuple(rings[first + 1 : end]))
        for first, end in itertools.pairwise(firsts)
    )


def to_coco(polygons: Sequence[Polygon]) -> list[list[float]]:
    """Write polygons as COCO's ``segmentation``: one list x1, y1, x2, y2, ... for each part.

    COCO has no holes. A hole is joined to the outline by a bridge of no width, there and back, so that pycocotools and
    whoever else fills by the even-odd or the nonzero rule leaves it out.

    Args:
        polygons: Parts of a mask.

    Returns:
        Coordinates in pixels, with 3 decimals.
    """
    return [np.round(_bridged(part), _DECIMALS).ravel().tolist() for part in polygons]


def _bridged(polygon: Polygon) -> np.ndarray:
    """One ring of the outline and the holes, each visited from the outline's vertex that is next to it."""
    if not polygon.holes:
        return polygon.outer
    tree = shapely.STRtree(shapely.points(polygon.outer))
    lengths = np.array([len(hole) for hole in polygon.holes])
    (_, nearest), distances = tree.query_nearest(
        shapely.points(np.concatenate(polygon.holes)), return_distance=True, all_matches=False
    )
    visits: dict[int, list[np.ndarray]] = {}
    for hole, end, length in zip(polygon.holes, np.cumsum(lengths), lengths, strict=True):
        start = int(distances[end - length : end].argmin())
        visits.setdefault(int(nearest[end - length + start]), []).append(
            np.roll(hole, -start, axis=0)
        )
    pieces = []
    for index, vertex in enumerate(polygon.outer):
        pieces.append(vertex[None])
        for hole in visits.get(index, ()):
            pieces += [hole, hole[:1], vertex[None]]
    return np.concatenate(pieces)


def to_geojson(polygons: Sequence[Polygon]) -> dict[str, Any]:
    """Write polygons as a GeoJSON geometry, which ``shapely.geometry.shape`` reads.

    Args:
        polygons: Parts of a mask.

    Returns:
        A ``MultiPolygon``: of each part its outline and then its holes, closed, in pixels (x, y) with y downwards.
        Areas of outlines are positive in these coordinates, as RFC 7946 asks for.
    """
    return {
        'type': 'MultiPolygon',
        'coordinates': [
            [np.round(np.concatenate([ring, ring[:1]]), _DECIMALS).tolist() for ring in part.rings]
            for part in polygons
        ],
    }


def rasterize(polygons: Sequence[Polygon], height: int, width: int) -> np.ndarray:
    """Fill polygons, by pycocotools, which rounds vertices to a fifth of a pixel.

    Args:
        polygons: Parts of a mask.
        height: H.
        width: W.

    Returns:
        Bool, shape (H, W).
    """
    return mask_api.decode(_runs(polygons, height, width)).astype(bool)


def _runs(polygons: Sequence[Polygon], height: int, width: int) -> dict[str, Any]:
    parts = to_coco(polygons)
    if not parts:
        return mask_api.encode(np.zeros((height, width), np.uint8, order='F'))
    return mask_api.merge(mask_api.frPyObjects(parts, height, width))


def instance_polygons(sample: Any, tolerance: float = TOLERANCE) -> list[tuple[Polygon, ...]]:
    """Polygons of each instance of a prediction.

    They are filled once and compared with the mask. If simplification, or pycocotools' rounding of small objects,
    leaves an IoU below 0.995, the tolerance is halved, and halved again; what then still differs (objects of some
    pixels, or of a thousand parts and holes) gets the outline of its pixels.

    Args:
        sample: A ``DetDataSample`` with ``pred_instances``, or these: ``masks``, bool, (N, H, W).
        tolerance: Farthest in pixels that simplification may move an outline.

    Returns:
        Parts of each instance, none if its mask is empty.

    Raises:
        InputError: There are no masks.
    """
    instances = getattr(sample, 'pred_instances', sample)
    if 'masks' not in instances:
        raise InputError(
            'the prediction has no masks to draw polygons of: take a model that predicts masks'
        )
    contours = instances.get('contours', [None] * len(instances))
    return [
        _fitting(contour, _as_array(mask).astype(bool), tolerance)
        for contour, mask in zip(contours, instances.masks, strict=True)
    ]


def label_map_polygons(sample: Any, tolerance: float = TOLERANCE) -> dict[int, tuple[Polygon, ...]]:
    """Polygons of each class of a predicted label map.

    With logits the outline of a class runs where its logit equals the best other one, so that neighbouring classes
    share their boundary, up to the tolerance on either side and less than a pixel where three meet.

    Args:
        sample: A ``SegDataSample`` with ``pred_sem_seg`` and, for outlines finer than pixels, ``seg_logits``.
        tolerance: Farthest in pixels that simplification may move an outline.

    Returns:
        Parts by label, of the labels that occur.

    Raises:
        InputError: There is no label map.
    """
    if 'pred_sem_seg' not in sample:
        raise InputError('the prediction has no label map to draw polygons of')
    labels = _as_array(sample.pred_sem_seg.data)[0]
    logits = None
    if 'seg_logits' in sample and sample.seg_logits.data.shape[-2:] == labels.shape:
        logits = sample.seg_logits.data.detach().float().cpu()
    margins = _Margins(logits, labels) if logits is not None else None
    return {
        label: _fitting(
            margins.contour(label) if margins is not None else None, labels == label, tolerance
        )
        for label in np.unique(labels).tolist()
    }


class _Margins:
    """By how much the logit of a class is above the best other one."""

    def __init__(self, logits: torch.Tensor, labels: np.ndarray) -> None:
        height, width = labels.shape
        self._logits = logits
        # Outlines at the border run along it.
        self._x, self._y = (
            np.concatenate([[0], np.arange(side) + 0.5, [side]]) for side in (width, height)
        )
        self._level = 0.0
        if len(logits) > 1:
            top = logits.topk(2, dim=0)
            self._best, self._second = top.values
            self._winner = top.indices[0]
        else:
            # mmseg keeps probabilities, and not what it has thresholded them at.
            values = logits[0].numpy()
            low, high = values[labels == 0], values[labels > 0]
            if len(low) and len(high):
                self._level = float(low.max() + high.min()) / 2

    def contour(self, label: int) -> tuple[Polygon, ...] | None:
        if len(self._logits) == 1:
            margin = (self._logits[0] - self._level) * (1 if label else -1)
            if self._level == 0:
                return None
        elif label < len(self._logits):
            other = torch.where(self._winner == label, self._second, self._best)
            margin = self._logits[label] - other
        else:
            return None
        values = np.nan_to_num(margin.numpy(), nan=-1.0)
        return trace(np.pad(values, 1, mode='edge'), self._x, self._y)


def _fitting(
    contour: tuple[Polygon, ...] | None, mask: np.ndarray, tolerance: float
) -> tuple[Polygon, ...]:
    """A contour, simplified by as much as keeps the mask, or else the outline of the mask's pixels."""
    if not mask.any():
        return ()
    if contour is not None and sum(len(part.rings) for part in contour) <= MOST_RINGS:
        expected = mask_api.encode(np.asfortranarray(mask, np.uint8))
        for share in (1.0, 0.5, 0.25, 0.0):
            polygons = simplify(contour, share * tolerance)
            found = _runs(polygons, *mask.shape)
            if mask_api.iou([found], [expected], [0])[0, 0] >= _LEAST_IOU:
                return polygons
    return simplify(trace_mask(mask), 0)


def _as_array(values: Any) -> np.ndarray:
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)
