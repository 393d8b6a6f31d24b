# Copyright (c) The mmpointrend authors.
"""What is wrong with the file of an image or a label map, before and after it is decoded."""

import io
import os
import re
import stat
import warnings
from collections.abc import Sequence
from typing import Any, Literal

import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

__all__ = [
    'complaint_about_decoding',
    'complaint_about_depth',
    'complaint_about_file',
    'described_size',
    'orientation',
]

# More than this OpenCV does not decode, and an image has no use for.
_MOST_BYTES = 2**31 - 1
# Beyond PIL's limit of pixels (179 million) real photographs take more than this, and so do blank JPEGs.
_LEAST_BYTES_OF_MANY_PIXELS = 2**20
_MOST_PIXELS = 179_000_000
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
_KINDS = {
    stat.S_ISDIR: 'a folder',
    stat.S_ISFIFO: 'a pipe (FIFO)',
    stat.S_ISSOCK: 'a socket',
    stat.S_ISCHR: 'a device',
    stat.S_ISBLK: 'a device',
}
# The Exif tag that says how a picture is to be turned: 1 not at all, 5 to 8 by a quarter.
_ORIENTATION = 0x112
_EIGHT_BITS = frozenset(['1', 'CMYK', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'YCbCr'])
_FIX = 'copy it anew or take it out of the dataset'


def described_size(shape: Sequence[int]) -> str:
    """Write a size as people do, width first.

    Args:
        shape: Height and width; more is left out.

    Returns:
        Text such as ``640 x 480``.
    """
    return f'{shape[1]} x {shape[0]}'


def _is_local(path: str, step: Any) -> bool:
    backend = (getattr(step, 'backend_args', None) or {}).get('backend', 'local')
    elsewhere = getattr(step, 'file_client_args', None)
    return '://' not in path and not elsewhere and backend in ('local', 'LocalBackend')


def complaint_about_file(path: Any, step: Any, kind: str) -> str | None:
    """Look at a local file without reading it: what would hang, or take memory without measure.

    Args:
        path: Path or address; None and files elsewhere pass.
        step: The loading step, for its backends.
        kind: ``image`` or ``label map``.

    Returns:
        A sentence, or None.
    """
    if path is None or not _is_local(str(path), step):
        return None
    try:
        status = os.stat(path)
    except (OSError, ValueError):
        return None  # The step says what is wrong.
    if not stat.S_ISREG(status.st_mode):
        what = next((name for test, name in _KINDS.items() if test(status.st_mode)), 'special')
        return f'the {kind} {path} is {what} and not a file; take it out of the dataset.'
    backend = getattr(step, 'imdecode_backend', None)
    if status.st_size > _MOST_BYTES and backend != 'tifffile':
        return (
            f'the {kind} {path} has {status.st_size} bytes, more than images can be decoded of '
            f'({_MOST_BYTES}); cut it into tiles.'
        )
    if 0 < status.st_size < _LEAST_BYTES_OF_MANY_PIXELS:
        return _complaint_about_bomb(path, status.st_size, kind)
    return None


def _complaint_about_bomb(path: Any, length: int, kind: str) -> str | None:
    """Look at the head of a small file, which may claim to be a huge image."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', Image.DecompressionBombWarning)
            with Image.open(path) as image:
                claimed = image.size
    except Image.DecompressionBombError as error:
        # PIL decodes label maps, within its own limit; a blank one may be small and large at once.
        return _bomb(path, length, kind, str(error).split(',')[0]) if kind == 'image' else None
    except Exception:
        return _complaint_about_unknown(path, length, kind)
    # PIL keeps a pointer a row.
    if max(claimed) > _LONGEST_SIDE:
        return _bomb(path, length, kind, f'{claimed[0]} x {claimed[1]} pixels')
    return None


def _bomb(path: Any, length: int, kind: str, claimed: str) -> str:
    return (
        f'the {kind} {path} has {length} bytes and claims to be larger than any real image of so few '
        f'({claimed}); take it out of the dataset.'
    )


def _complaint_about_unknown(path: Any, length: int, kind: str) -> str | None:
    """Look at the head of a file that PIL cannot read and OpenCV may; the step says what else is
    wrong."""
    with open(path, 'rb') as file:
        head = file.read(_HEAD)
    # OpenCV reads on where the head of a PNM image is broken, and takes what numbers it finds for the size.
    if re.match(rb'P[1-7]\s', head):
        return f'the {kind} {path} is damaged or no image; {_FIX}.'
    for pattern, order in _HEADS:
        for sides in pattern.finditer(head):
            one, other = (
                int(side) if order is None else _whole(side, order) for side in sides.groups()
            )
            if one * other > _MOST_PIXELS or max(one, other) > _LONGEST_SIDE:
                return _bomb(path, length, kind, f'{one} x {other} pixels')
    return None


def _whole(side: bytes, order: Literal['big', 'little']) -> int:
    """A side in pixels; BMP's of four bytes may be negative, for images from top to bottom."""
    return abs(int.from_bytes(side, order, signed=len(side) == 4))


def orientation(path: Any) -> int:
    """Read the Exif orientation of an image.

    Args:
        path: Path or address of the image.

    Returns:
        1 to 8; 5 to 8 swap width and height. 1 if the image does not say.
    """
    try:
        with _opened(path) as image:
            return int(image.getexif().get(_ORIENTATION, 1))
    except Exception:
        return 1


def complaint_about_depth(path: Any, step: Any) -> str | None:
    """Compare the numbers in a label map with what is left of them in 8 bits.

    Args:
        path: Path or address of the label map.
        step: The loading step, which keeps 8 bits.

    Returns:
        A sentence; None if no label becomes another. All bits set (-1, 65535) may become 255, as
        void does.
    """
    try:
        with _opened(path, step) as image:
            if image.mode in _EIGHT_BITS:
                return None
    except Exception:
        pass  # A format that PIL does not know is decoded by the step's own backend.
    backend = getattr(step, 'imdecode_backend', None)
    content = fileio.get(path, backend_args=getattr(step, 'backend_args', None))
    labels = mmcv.imfrombytes(content, flag='unchanged', backend=backend)
    if labels.dtype in (np.uint8, np.bool_):
        return None
    with np.errstate(invalid='ignore'):
        kept = labels.astype(np.uint8)
    lost = labels != kept
    for void in (-1, 2**16 - 1, 2**32 - 1):
        lost &= labels != void
    if not lost.any():
        return None
    return (
        f'the label map {path} holds label {labels[lost][0]} ({labels.dtype}), which becomes '
        f'{kept[lost][0]} in the 8 bits that LoadAnnotations keeps: write labels as whole numbers from '
        '0 to 255.'
    )


def _opened(path: Any, step: Any = None) -> Image.Image:
    """An image of which PIL has read the head alone."""
    if _is_local(str(path), step):
        return Image.open(path)
    return Image.open(
        io.BytesIO(fileio.get(path, backend_args=getattr(step, 'backend_args', None)))
    )


def complaint_about_decoding(path: Any, step: Any, kind: str) -> str | None:
    """Find out why a file could not be loaded.

    Args:
        path: Path or address; None passes.
        step: The loading step that failed.
        kind: ``image`` or ``label map``.

    Returns:
        A sentence; None if the file can be read, so that something else is to blame.
    """
    if path is None:
        return None
    try:
        content = fileio.get(path, backend_args=getattr(step, 'backend_args', None))
    except (OSError, ValueError) as error:
        reason = (
            'does not exist'
            if isinstance(error, FileNotFoundError)
            else f'cannot be read ({_first_line(error)})'
        )
        return f'the {kind} {path} {reason}; check data_root, data_prefix and the file names.'
    if not content:
        return f'the {kind} {path} is empty; {_FIX}.'
    flag = getattr(step, 'color_type', 'unchanged')
    backend = getattr(step, 'imdecode_backend', None)
    try:
        decoded = mmcv.imfrombytes(content, flag=flag, backend=backend)
        stored = mmcv.imfrombytes(content, flag='unchanged') if decoded is None else None
    except Exception as error:
        return f'the {kind} {path} cannot be decoded ({_first_line(error)}); {_FIX}.'
    if stored is not None:
        return (
            f'the {kind} {path} is {stored.dtype} of shape {stored.shape}, which cannot be read as '
            f"color_type='{flag}' asks; write it anew as an image of 8 bits."
        )
    if decoded is None:
        return f'the {kind} {path} is damaged or no image; {_FIX}.'
    return None


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0]
