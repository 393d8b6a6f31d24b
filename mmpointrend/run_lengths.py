# Copyright (c) The mmpointrend authors.
"""Run lengths of masks: which are one, and those of masks of which only crops exist."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from pycocotools import mask as coco_mask

__all__ = ['encode_changes', 'is_decodable']

_COMPRESSED = re.compile(r'[0-o]+')
# Of a run length below 2**32.
_MOST_DIGITS = 7


def is_decodable(counts: Any, pixels: int) -> bool:
    """Whether runs fill a mask: pycocotools leaves memory as it was behind shorter ones, and writes
    behind the mask with longer ones.

    Args:
        counts: What a file has as ``counts``: whole numbers, or COCO's text of them.
        pixels: Height times width of the mask.

    Returns:
        False for anything else.
    """
    if isinstance(counts, list):
        return set(map(type, counts)) == {int} and min(counts) >= 0 and sum(counts) == pixels
    if not isinstance(counts, str) or _COMPRESSED.fullmatch(counts) is None:
        return False
    runs = _decompress(counts)
    return runs is not None and runs.min() >= 0 and int(runs.sum()) == pixels


def _decompress(counts: str) -> np.ndarray | None:
    """Run lengths (n,) of COCO's compressed ones; None if they end within a number.

    Each number is its digits of five bits, lowest first, with 32 added to all but the last one; bit
    16 of the last one is the sign. From the fourth number on, the one before the last is taken off.
    """
    digits = np.frombuffer(counts.encode('ascii'), np.uint8).astype(np.int64) - 48
    ends = np.flatnonzero(digits < 32)
    if len(ends) == 0 or ends[-1] != len(digits) - 1:
        return None
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends - starts + 1
    if lengths.max() > _MOST_DIGITS:
        return None
    places = np.arange(len(digits)) - np.repeat(starts, lengths)
    runs = np.add.reduceat((digits & 31) << 5 * places, starts)
    runs -= np.where(digits[ends] & 16, 1 << 5 * lengths, 0)
    runs[1::2] = np.cumsum(runs[1::2])
    runs[2::2] = np.cumsum(runs[2::2])
    return runs


def encode_changes(
    regions: np.ndarray, changes: np.ndarray, sizes: Sequence[tuple[int, int]]
) -> list[dict[str, Any]]:
    """COCO's run lengths of masks, from where they change.

    Args:
        regions: The mask of each change, ascending, shape (n,).
        changes: Pixels that differ from the one before, numbered column by column, in ``[0, height * width]``, as
            :func:`mmpointrend.points.run_changes` gives them, shape (n,).
        sizes: Height and width of each mask.

    Returns:
        ``size`` and compressed ``counts`` of each mask, equal to what ``pycocotools.mask.encode`` gives for it.
    """
    # A mask that goes on in the next column changes twice at one pixel, that is, not at all.
    same = np.zeros(len(changes) + 1, bool)
    same[1:-1] = (changes[1:] == changes[:-1]) & (regions[1:] == regions[:-1])
    kept = ~(same[1:] | same[:-1])
    regions, changes = regions[kept], changes[kept]
    ends = np.searchsorted(regions, np.arange(len(sizes)), side='right')
    encoded: list[dict[str, Any]] = []
    begin = 0
    for (height, width), end in zip(sizes, ends.tolist(), strict=True):
        own = changes[begin:end]
        begin = end
        pixels = height * width
        # Behind the last pixel nothing is left to count.
        bounds = own if len(own) > 0 and own[-1] == pixels else np.append(own, pixels)
        mask = {'size': [height, width], 'counts': np.diff(bounds, prepend=0)}
        # Written by pycocotools, as all readers expect them.
        encoded += coco_mask.frPyObjects([mask], height, width)
    return encoded
