# Copyright (c) The mmpointrend authors.
"""Which run lengths are a mask."""

import re
from typing import Any

import numpy as np

__all__ = ['is_decodable']

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
