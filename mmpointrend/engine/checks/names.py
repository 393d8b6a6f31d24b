# Copyright (c) The mmpointrend authors.
"""How messages name lists."""

from collections.abc import Iterable

__all__ = ['some_names']


def some_names(names: Iterable[object]) -> str:
    """Show the first three names of a list, in brackets.

    Args:
        names: The list.

    Returns:
        Text such as ``(a, b, c, ...)``.
    """
    names = list(names)
    shown = ', '.join(map(str, names[:3]))
    return f'({shown}, ...)' if len(names) > 3 else f'({shown})'
