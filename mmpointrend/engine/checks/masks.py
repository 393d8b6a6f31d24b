# Copyright (c) The mmpointrend authors.
"""Masks of instances that cannot be drawn, or not on their image."""

from collections.abc import Sequence
from typing import Any

from mmpointrend.engine.checks.images import described_size
from mmpointrend.outlines import can_be_drawn

__all__ = ['complaint_about_masks']


def complaint_about_masks(results: dict[str, Any], source: str) -> str | None:
    """Look at the masks of one image before they are drawn.

    Args:
        results: Dict of the sample with ``instances`` and the image's ``ori_shape``.
        source: Where the masks come from, for the message.

    Returns:
        A sentence that names the image; None if all masks can be drawn on it.
    """
    size = results.get('ori_shape')
    for number, instance in enumerate(results.get('instances') or []):
        mask = instance.get('mask')
        what = f'the mask of instance {number} of the image {results.get("img_path")} in {source}'
        if isinstance(mask, list) and not all(_is_harmless(polygon) for polygon in mask):
            return (
                f'{what} has coordinates that are not finite, or far beyond any image: take it out, or '
                'write it anew in pixels.'
            )
        if isinstance(mask, dict) and size is not None and not _has_size(mask, size):
            return (
                f'{what} is run lengths of {_shown(mask.get("size"))} pixels, but the image is '
                f'{described_size(size)}: write them anew for the image, as [height, width].'
            )
    return None


def _is_harmless(polygon: Any) -> bool:
    try:
        return can_be_drawn(polygon)
    except TypeError:
        return True  # Not a list of numbers: mmdet fails on it, or leaves it out.


def _has_size(mask: dict[str, Any], size: Sequence[int]) -> bool:
    given = mask.get('size')
    # mmdet leaves out what has no size.
    return given is None or (isinstance(given, list | tuple) and list(given) == list(size[:2]))


def _shown(size: Any) -> str:
    return described_size(size) if isinstance(size, list) and len(size) == 2 else str(size)
