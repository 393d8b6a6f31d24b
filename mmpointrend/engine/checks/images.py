# Copyright (c) The mmpointrend authors.
"""What is wrong with the file of an image or a label map, before and after it is decoded."""

import io
from collections.abc import Sequence
from typing import Any

import mmcv
import numpy as np
from mmengine import fileio
from PIL import Image

from mmpointrend import image_heads

__all__ = [
    'complaint_about_decoding',
    'complaint_about_depth',
    'complaint_about_file',
    'described_size',
    'orientation',
]

_EIGHT_BITS = frozenset(['1', 'CMYK', 'L', 'LA', 'P', 'PA', 'RGB', 'RGBA', 'YCbCr'])
_REMEDY = 'take it out of the dataset'
_FIX = f'copy it anew or {_REMEDY}'


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
    # tifffile maps large files into memory.
    is_mapped = getattr(step, 'imdecode_backend', None) == 'tifffile'
    return image_heads.complaint_about_file(path, kind, _REMEDY, any_length=is_mapped)


def orientation(path: Any) -> int:
    """Read the Exif orientation of an image.

    Args:
        path: Path or address of the image.

    Returns:
        1 to 8; 5 to 8 swap width and height. 1 if the image does not say.
    """
    try:
        with _opened(path) as image:
            return int(image.getexif().get(image_heads.ORIENTATION, 1))
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
