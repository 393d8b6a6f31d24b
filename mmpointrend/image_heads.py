# Copyright (c) The mmpointrend authors.
"""What the file of an image would do to who decodes it, told by its status and its first bytes."""

import os
import re
import warnings
from pathlib import Path
from typing import Literal

from PIL import Image

from mmpointrend.data_files import kind_of_special

__all__ = ['MOST_PIXELS', 'ORIENTATION', 'complaint_about_file']

MOST_PIXELS = 178_956_970
"""Pixels of the largest image that PIL decodes."""

ORIENTATION = 0x112
"""The Exif tag that says how a picture is to be turned: 1 not at all, 5 to 8 by a quarter."""

# More than this OpenCV does not decode, and an image has no use for.
_MOST_BYTES = 2**31 - 1
# Beyond PIL's limit of pixels real photographs take more than this, and so do blank JPEGs.
_LEAST_BYTES_OF_MANY_PIXELS = 2**20
_LONGEST_SIDE = 1_000_000
# Where formats that OpenCV reads have their two sides, and in which order of bytes (None is text).
_HEAD = 4096
_HEADS: tuple[tuple[re.Pattern[bytes], Literal['big', 'little'] | None], ...] = (
    (re.compile(rb'^\x89PNG\r\n\x1a\n.{8}(.{4})(.{4})', re.DOTALL), 'big'),
    (re.compile(rb'^BM.{16}(.{4})(.{4})', re.DOTALL), 'little'),
    (
        re.compile(
            rb'^\xff\xd8.*?\xff[\xc0-\xc3\xc5-\xc7\xc9-\xcb\xcd-\xcf]\0.{2}(.{2})(.{2})', re.DOTALL
        ),
        'big',
    ),
    (re.compile(rb'^[-+]Y\s+(\d{1,19})\s+[-+]X\s+(\d{1,19})', re.MULTILINE), None),
)


def complaint_about_file(
    path: str | Path, kind: str, remedy: str, *, any_length: bool = False
) -> str | None:
    """Look at a local file without decoding it: what would hang, or take memory without measure.

    Args:
        path: Path of the file; a missing one passes.
        kind: ``image`` or ``label map``.
        remedy: What the user is to do with a file that is no such thing, as an imperative.
        any_length: Whether the decoder takes files of any number of bytes.

    Returns:
        A sentence, or None.
    """
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None  # Whoever opens the file says what is wrong.
    special = kind_of_special(status.st_mode)
    if special is not None:
        return f'the {kind} {path} is {special} and not a file; {remedy}.'
    if status.st_size > _MOST_BYTES and not any_length:
        return (
            f'the {kind} {path} has {status.st_size} bytes, more than images can be decoded of '
            f'({_MOST_BYTES}); cut it into tiles.'
        )
    if 0 < status.st_size < _LEAST_BYTES_OF_MANY_PIXELS:
        return _complaint_about_bomb(path, status.st_size, kind, remedy)
    return None


def _complaint_about_bomb(path: str | Path, length: int, kind: str, remedy: str) -> str | None:
    """Look at the head of a small file, which may claim to be a huge image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path) as image:
                claimed = image.size
    except Image.DecompressionBombError as error:
        # PIL decodes label maps, within its own limit; a blank one may be small and large at once.
        claim = str(error).split(',')[0]
        return _bomb(path, length, kind, claim, remedy) if kind == 'image' else None
    except Exception:
        return _complaint_about_unknown(path, length, kind, remedy)
    # PIL keeps a pointer a row.
    if max(claimed) > _LONGEST_SIDE:
        return _bomb(path, length, kind, f'{claimed[0]} x {claimed[1]} pixels', remedy)
    return None


def _bomb(path: str | Path, length: int, kind: str, claimed: str, remedy: str) -> str:
    return (
        f'the {kind} {path} has {length} bytes and claims to be larger than any real image of so few '
        f'({claimed}); {remedy}.'
    )


def _complaint_about_unknown(path: str | Path, length: int, kind: str, remedy: str) -> str | None:
    """Look at the head of a file that PIL cannot read and OpenCV may; the decoder says what else is
    wrong."""
    with open(path, 'rb') as file:
        head = file.read(_HEAD)
    # OpenCV reads on where the head of a PNM image is broken, and takes what numbers it finds for the size.
    if re.match(rb'P[1-7]\s', head):
        return f'the {kind} {path} is damaged or no image; copy it anew or {remedy}.'
    for pattern, order in _HEADS:
        for sides in pattern.finditer(head):
            one, other = (
                int(side) if order is None else _whole(side, order) for side in sides.groups()
            )
            if one * other > MOST_PIXELS or max(one, other) > _LONGEST_SIDE:
                return _bomb(path, length, kind, f'{one} x {other} pixels', remedy)
    return None


def _whole(side: bytes, order: Literal['big', 'little']) -> int:
    """A side in pixels; BMP's of four bytes may be negative, for images from top to bottom."""
    return abs(int.from_bytes(side, order, signed=len(side) == 4))
