# Copyright (c) The mmpointrend authors.
"""Masks of detections that never become dense: run lengths, with or without the bitmaps of their boxes.

They are a type of their own, never a tensor: what takes a mask for one of the whole image would encode a crop as such.
:class:`SparseMasks` answers what mmdet asks of ``pred_instances.masks``.
"""

from collections.abc import Iterator, Sequence
from typing import Any, overload

import numpy as np
import torch
from pycocotools import mask as coco_mask
from torch import Tensor

from mmpointrend.errors import InputError

__all__ = ['SparseMask', 'SparseMasks']

# Bytes of masks that are made dense together.
_MOST_DENSE = 4 << 30


class SparseMask(dict):
    """COCO's run lengths of a mask: ``size`` (height, width) and ``counts``.

    Indexed like an image it is one: ``mask[rows, columns]`` and ``numpy.asarray(mask)`` decode it.

    Attributes:
        corner: Column and row of the bitmap's first pixel in the image; None without a bitmap.
        bitmap: The mask in its box, bool, shape (rows, columns); outside it is False. None if run lengths alone are
            kept.

    Args:
        encoded: ``size`` and ``counts``.
        corner: See the attribute.
        bitmap: See the attribute.
    """

    def __init__(
        self,
        encoded: dict[str, Any],
        corner: tuple[int, int] | None = None,
        bitmap: np.ndarray | None = None,
    ) -> None:
        super().__init__(encoded)
        self.corner, self.bitmap = corner, bitmap

    def __getitem__(self, key: Any) -> Any:
        """A key of the dict, or pixels (numpy's indexing of (height, width))."""
        return super().__getitem__(key) if isinstance(key, str) else self.dense()[key]

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.dense().astype(bool if dtype is None else dtype)

    def dense(self) -> np.ndarray:
        """The mask of the whole image, bool, shape (height, width)."""
        return coco_mask.decode(dict(self)).astype(bool)


class SparseMasks:
    """Masks of an image's detections, in place of a tensor (N, height, width).

    A sequence of :class:`SparseMask`: mmdet's ``CocoMetric`` takes it as it is. ``numpy()`` and ``detach()`` answer
    with itself, for what follows encodes one mask after the other; ``astype`` makes all of them dense, for what draws.

    Args:
        masks: One for each detection.
        size: Height and width of the image.
    """

    def __init__(self, masks: Sequence[SparseMask], size: tuple[int, int]) -> None:
        self._masks, self._size = list(masks), size

    def __len__(self) -> int:
        return len(self._masks)

    def __iter__(self) -> Iterator[SparseMask]:
        return iter(self._masks)

    @overload
    def __getitem__(self, item: int) -> SparseMask: ...

    @overload
    def __getitem__(self, item: Any) -> 'SparseMasks': ...

    def __getitem__(self, item: Any) -> 'SparseMask | SparseMasks':
        """One mask of a number; masks of a slice, of numbers, or of a truth value for each."""
        if isinstance(item, int | np.integer):
            return self._masks[item]
        if isinstance(item, slice):
            return SparseMasks(self._masks[item], self._size)
        if isinstance(item, Tensor):
            item = item.cpu().numpy()
        chosen = np.arange(len(self))[np.asarray(item, dtype=None if len(item) else int)]
        return SparseMasks([self._masks[number] for number in chosen.tolist()], self._size)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SparseMasks) and (self._masks, self._size) == (
            other._masks,
            other._size,
        )

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        height, width = self._size
        return f'SparseMasks({len(self)} of {height}x{width})'

    @staticmethod
    def cat(parts: Sequence['SparseMasks']) -> 'SparseMasks':
        """Masks of several parts of one image's detections, one part after the other.

        Args:
            parts: At least one.

        Returns:
            All masks.
        """
        return SparseMasks([mask for part in parts for mask in part], parts[0]._size)

    @property
    def shape(self) -> tuple[int, int, int]:
        """(N, height, width)."""
        return len(self), *self._size

    def detach(self) -> 'SparseMasks':
        """Itself."""
        return self

    def cpu(self) -> 'SparseMasks | Tensor':
        """Itself; of no masks a tensor, of which mmdet asks boxes of masks."""
        return self if len(self) > 0 else torch.zeros(self.shape, dtype=torch.bool)

    def numpy(self) -> 'SparseMasks':
        """Itself: a sequence of what numpy takes for an array."""
        return self

    def astype(self, dtype: Any) -> np.ndarray:
        """All masks, dense.

        Args:
            dtype: Of the array.

        Returns:
            Masks with values 0 and 1, shape (N, height, width).

        Raises:
            InputError: They would take gigabytes.
        """
        num_bytes = len(self) * self._size[0] * self._size[1] * np.dtype(dtype).itemsize
        if num_bytes > _MOST_DENSE:
            height, width = self._size
            raise InputError(
                f'{len(self)} masks of {height}x{width} would take {num_bytes / 2**30:.0f} GB as whole bitmaps: select '
                'fewer of them (masks[:10]), or take them one by one (masks[0].dense())'
            )
        dense = np.zeros(self.shape, dtype)
        for place, mask in zip(dense, self._masks, strict=True):
            place[...] = mask.dense()
        return dense

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return self.astype(bool if dtype is None else dtype)
