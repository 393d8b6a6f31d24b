# Copyright (c) The mmpointrend authors.
"""What stands for the objects of a pickle while its program is looked at: sizes and depths."""

import math
from typing import Any, BinaryIO, NamedTuple, Protocol

from mmpointrend.checkpoints.faults import DamageError

__all__ = [
    'MOST_HASHING',
    'BoundedFile',
    'Built',
    'ByteSource',
    'Global',
    'Items',
    'extent',
    'weight_of',
    'whole',
]

MOST_HASHING = 50_000_000
"""Number of elements that keys may have in all, tuples in tuples counted as often as they occur."""
_MOST_NESTING = 100


class ByteSource(Protocol):
    """A file whose reads return what is left if more is asked for, without allocating the rest."""

    def read(self, count: int, /) -> bytes:
        """Return up to ``count`` bytes."""

    def readline(self) -> bytes:
        """Return the bytes to the next line break, included."""

    def tell(self) -> int:
        """Return the position in bytes."""


class BoundedFile:
    """A file that is never asked for more than it has left: to read more takes memory first.

    Args:
        file: The file.
        size: Its length in bytes.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file, self._size = file, size
        self.readline, self.tell = file.readline, file.tell

    def read(self, count: int) -> bytes:
        """Return up to ``count`` bytes.

        Args:
            count: Number of bytes.

        Returns:
            The bytes; fewer at the end of the file.
        """
        return self._file.read(count if count < 4096 else min(count, self._size - self.tell()))


class Global(NamedTuple):
    """A function or class that the pickle names.

    Attributes:
        name: Module and name, joined by a dot.
    """

    name: str


class Items:
    """Stands for a tuple.

    Args:
        values: Stand-ins of the elements.

    Attributes:
        depth: Levels of nesting.
        weight: Number of elements on all levels, each counted as often as it occurs.
    """

    __slots__ = ('depth', 'values', 'weight')

    def __init__(self, values: list[Any]) -> None:
        self.values = values
        self.depth = 1 + max(map(_depth, values), default=0)
        self.weight = 1 + sum(map(weight_of, values))
        if self.depth > _MOST_NESTING or self.weight > MOST_HASHING:
            raise DamageError('it nests tuples without end')


class Built:
    """Stands for an object that is not kept: a list, dict, long text or the result of a call.

    Args:
        kind: What it is; for a call the name of the function.

    Attributes:
        depth: Levels of nesting.
        weight: Number of elements on all levels, each counted as often as it occurs.
    """

    __slots__ = ('depth', 'kind', 'weight')

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.depth = self.weight = 1

    def take(self, values: list[Any]) -> None:
        """Count elements that are put into the object.

        Args:
            values: Their stand-ins.
        """
        self.depth = max(self.depth, 1 + max(map(_depth, values), default=0))
        # A list can contain itself, and numbers that double for ever become slow.
        self.weight = min(self.weight + sum(map(weight_of, values)), MOST_HASHING + 1)
        if self.depth > _MOST_NESTING:
            raise DamageError('it nests containers without end')


def _depth(value: Any) -> int:
    return value.depth if isinstance(value, Items | Built) else 0


def weight_of(value: Any) -> int:
    """Number of elements of a stand-in on all levels.

    Args:
        value: The stand-in.

    Returns:
        The number, 1 for what has no elements.
    """
    return value.weight if isinstance(value, Items | Built) else 1


def whole(numbers: Any) -> tuple[int, ...]:
    """The whole numbers of a tuple, such as a shape.

    Args:
        numbers: Stand-in of the tuple.

    Returns:
        The numbers.

    Raises:
        DamageError: It is not a tuple of numbers from 0 on.
    """
    values = numbers.values if isinstance(numbers, Items) else [None]
    if any(type(value) is not int or value < 0 for value in values):
        raise DamageError('the shape of a tensor is not a tuple of numbers')
    return tuple(values)


def extent(size: tuple[int, ...], stride: tuple[int, ...]) -> int:
    """Number of elements from the first to the last one of a tensor, both included.

    Args:
        size: Its shape.
        stride: Its strides, in elements.

    Returns:
        The number; 0 if the tensor has no element.
    """
    if math.prod(size) == 0:
        return 0
    return 1 + sum((length - 1) * step for length, step in zip(size, stride, strict=True))
