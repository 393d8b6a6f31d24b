# Copyright (c) The mmpointrend authors.
"""Label maps without logits at full resolution: maps of K channels that exist only some rows at a time.

A map is a chain of steps (enlarge, overwrite points, crop, flip, resize), each of which gives any of its rows from the
rows of the one before. What looks at all rows, one band after the other, keeps one label a pixel.

K channels, H and W of a map, N points.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.points.coordinates import grid_points
from mmpointrend.points.fast import limits
from mmpointrend.points.selection import select_uncertain
from mmpointrend.points.subdivision import subdivide
from mmpointrend.points.uncertainty import Uncertainty, logit_uncertainty

__all__ = [
    'Bands',
    'CroppedBands',
    'DenseBands',
    'FlippedBands',
    'OverwrittenBands',
    'ResizedBands',
    'labels_of',
    'most_uncertain',
    'overwritten',
    'subdivide_bands',
]


class Bands(Protocol):
    """A map of which any rows can be had."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""

    @property
    def device(self) -> torch.device:
        """Where its rows are made."""

    def rows(self, begin: int, end: int) -> Tensor:
        """Rows ``begin`` to ``end`` of the map, shape (K, end - begin, W); not to be written to."""


@dataclass(frozen=True)
class DenseBands:
    """A map that is there, shape (K, H, W)."""

    values: Tensor

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        channels, height, width = self.values.shape
        return channels, height, width

    @property
    def device(self) -> torch.device:
        """Of its values."""
        return self.values.device

    def rows(self, begin: int, end: int) -> Tensor:
        """See :class:`Bands`."""
        return self.values[:, begin:end]


class _Of:
    """A map made of another one."""

    def __init__(self, source: Bands) -> None:
        self._source = source

    @property
    def device(self) -> torch.device:
        """The source's."""
        return self._source.device


class ResizedBands(_Of):
    """A map, bilinearly resized as ``interpolate`` does.

    Args:
        source: The map.
        height: H.
        width: W.
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.
    """

    def __init__(self, source: Bands, height: int, width: int, align_corners: bool) -> None:
        super().__init__(source)
        self._height, self._width, self._align_corners = height, width, align_corners

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self._source.shape[0], self._height, self._width

    def rows(self, begin: int, end: int) -> Tensor:
        """See :class:`Bands`."""
        height, width = self._source.shape[1:]
        if (height, width) == (self._height, self._width):
            return self._source.rows(begin, end)
        low, high, part = self._neighbours(begin, end)
        # Known on the host: a GPU is not asked.
        first, last = int(low[0]), int(high[-1]) + 1
        source = self._source.rows(first, last)
        weight = part.to(source.device, source.dtype)[:, None]
        low, high = (rows.to(source.device) - first for rows in (low, high))
        # Between the rows first, for these are shorter; then along each row.
        values = torch.lerp(source[:, low], source[:, high], weight)
        if width == self._width:
            return values
        size = (end - begin, self._width)
        return F.interpolate(
            values[None], size=size, mode='bilinear', align_corners=self._align_corners
        )[0]

    def _neighbours(self, begin: int, end: int) -> tuple[Tensor, Tensor, Tensor]:
        """Rows of the source above and below some rows, and the share of the latter, each (end - begin,)."""
        source = self._source.shape[1]
        at = torch.arange(begin, end, dtype=torch.float32)
        if self._align_corners:
            at = at * ((source - 1) / max(self._height - 1, 1))
        else:
            at = ((at + 0.5) * (source / self._height) - 0.5).clamp(min=0)
        low = at.floor().long().clamp(max=source - 1)
        return low, (low + 1).clamp(max=source - 1), at - low


class CroppedBands(_Of):
    """A window of a map.

    Args:
        source: The map.
        top: First row.
        left: First column.
        height: H.
        width: W.
    """

    def __init__(self, source: Bands, top: int, left: int, height: int, width: int) -> None:
        super().__init__(source)
        self._top, self._left, self._height, self._width = top, left, height, width

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self._source.shape[0], self._height, self._width

    def rows(self, begin: int, end: int) -> Tensor:
        """See :class:`Bands`."""
        rows = self._source.rows(self._top + begin, self._top + end)
        return rows[..., self._left : self._left + self._width]


class FlippedBands(_Of):
    """A map, mirrored.

    Args:
        source: The map.
        vertical: Whether the first row becomes the last one, instead of the first column the last one.
    """

    def __init__(self, source: Bands, vertical: bool) -> None:
        super().__init__(source)
        self._vertical = vertical

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self._source.shape

    def rows(self, begin: int, end: int) -> Tensor:
        """See :class:`Bands`."""
        if not self._vertical:
            return self._source.rows(begin, end).flip(-1)
        height = self.shape[1]
        return self._source.rows(height - end, height - begin).flip(-2)


class OverwrittenBands(_Of):
    """A map in which some pixels have other values.

    Args:
        source: The map.
        indices: Row-major numbers of the pixels, ascending, shape (N,).
        values: Their values, shape (K, N).
    """

    def __init__(self, source: Bands, indices: Tensor, values: Tensor) -> None:
        super().__init__(source)
        self._indices, self._values = indices, values

    @property
    def shape(self) -> tuple[int, int, int]:
        """(K, H, W)."""
        return self._source.shape

    def rows(self, begin: int, end: int) -> Tensor:
        """See :class:`Bands`."""
        rows = self._source.rows(begin, end).contiguous()
        height, width = self.shape[1:]
        chosen = slice(None)
        # Of all rows a GPU is not asked which points lie in them.
        if (begin, end) != (0, height):
            bounds = self._indices.new_tensor([begin * width, end * width])
            chosen = slice(*torch.searchsorted(self._indices, bounds).tolist())
        indices = self._indices[chosen] - begin * width
        values = self._values[:, chosen].to(rows.dtype)
        return rows.flatten(1).scatter(1, indices.expand_as(values), values).view_as(rows)


def _parts(bands: Bands) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are looked at together; a GPU has no cache that they would have to stay in."""
    channels, height, width = bands.shape
    step = max(height, 1)
    if bands.device.type == 'cpu':
        step = max(limits.BAND_VALUES // max(channels * width, 1), 1)
    for begin in range(0, height, step):
        yield begin, min(begin + step, height)


def labels_of(bands: Bands, threshold: float | None = None) -> Tensor:
    """Labels of a map of logits.

    Args:
        bands: The map.
        threshold: Of one channel, the probability above which a pixel has label 1.

    Returns:
        The best of several channels, the first of equal ones, int64; of one channel 0 or 1 in the logits' dtype; shape
        (H, W).
    """
    return torch.cat([_labels(bands.rows(*part), threshold) for part in _parts(bands)])


def _labels(logits: Tensor, threshold: float | None) -> Tensor:
    """Labels (h, W) of logits (K, h, W)."""
    if len(logits) == 1:
        return (logits[0].sigmoid() > (threshold or 0.0)).to(logits.dtype)
    # A running best takes a pass where they lie; `argmax` would walk along the channels of each pixel.
    best, labels = logits[0].clone(), torch.zeros_like(logits[0], dtype=torch.long)
    for label, values in enumerate(logits.unbind(0)[1:], 1):
        labels.masked_fill_(values > best, label)
        best.clamp_(min=values)
    return labels


def subdivide_bands(
    coarse: Tensor,
    predict_points: Callable[[Tensor], Tensor],
    *,
    num_points: int,
    steps: int,
    scale_factor: int = 2,
    uncertainty: Uncertainty = logit_uncertainty,
    align_corners: bool = False,
) -> list[Bands]:
    """Render as :func:`mmpointrend.points.subdivide` does, the last step by bands.

    Args:
        coarse: Coarse logits, shape (R, K, h, w).
        predict_points: Maps points (x, y) in ``[0, 1]^2`` of their region, (R, P, 2), to logits (R, K, P).
        num_points: N, points of one step and region.
        steps: Number of steps, >= 0.
        scale_factor: What each step multiplies the sides by, an integer >= 2.
        uncertainty: Maps logits (R, K, H, W) to their uncertainty (R, H, W).
        align_corners: The convention, see :mod:`mmpointrend.points.coordinates`.

    Returns:
        The rendered logits of each region, (K, h * scale_factor**steps, w * scale_factor**steps).
    """
    logits = subdivide(
        coarse,
        predict_points,
        num_points=num_points,
        steps=max(steps - 1, 0),
        scale_factor=scale_factor,
        uncertainty=uncertainty,
        align_corners=align_corners,
    )
    bands: list[Bands] = [DenseBands(values) for values in logits]
    if steps == 0 or len(bands) == 0:
        return bands
    height, width = (side * scale_factor for side in logits.shape[-2:])
    bands = [ResizedBands(source, height, width, align_corners) for source in bands]
    indices = most_uncertain(bands, num_points, uncertainty)
    values = predict_points(grid_points(indices, height, width, align_corners))
    return overwritten(bands, indices, values)


def most_uncertain(bands: Sequence[Bands], num_points: int, uncertainty: Uncertainty) -> Tensor:
    """The N most uncertain pixels of maps of one size.

    Args:
        bands: R maps, at least one.
        num_points: N.
        uncertainty: Maps logits (1, K, h, W) to their uncertainty (1, h, W).

    Returns:
        Row-major pixel indices, ascending, shape (R, min(N, H * W)).
    """
    maps = [
        torch.cat([uncertainty(one.rows(*part)[None].float())[0] for part in _parts(one)])
        for one in bands
    ]
    return select_uncertain(torch.stack(maps), num_points)


def overwritten(bands: Sequence[Bands], indices: Tensor, values: Tensor) -> list[Bands]:
    """Maps in which predicted points have their own logits.

    Args:
        bands: R maps.
        indices: Row-major pixel indices, ascending, shape (R, N).
        values: Logits, shape (R, K, N).

    Returns:
        R maps.
    """
    return [OverwrittenBands(*one) for one in zip(bands, indices, values, strict=True)]
