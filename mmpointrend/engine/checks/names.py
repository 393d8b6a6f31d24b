# Copyright (c) The mmpointrend authors.
"""Lists of class names: how messages show them, and what can be wrong with one."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

__all__ = [
    'complaint_about_classes',
    'first_difference',
    'near_names',
    'only_order_differs',
    'some_names',
    'spelled',
]

# LVIS's own files, v0.5 and v1, misspell a name that mmdet's datasets spell right.
_SPELLINGS = {'speaker_(stero_equipment)': 'speaker_(stereo_equipment)'}


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


def spelled(name: Any) -> Any:
    """Spell a name as mmdet does.

    Args:
        name: Name of a class.

    Returns:
        The name, other than as given only if it is known to be misspelled in public files.
    """
    return _SPELLINGS.get(name, name) if isinstance(name, str) else name


def _key(name: Any) -> str:
    return str(spelled(name)).strip().casefold()


def near_names(names: Iterable[str], present: Iterable[str]) -> str:
    """Find a name that is there in another case or with other blanks.

    Args:
        names: Names that are wanted.
        present: Names that are there.

    Returns:
        Text such as ``'Cat' where metainfo.classes has 'cat'``; empty if there is none.
    """
    by_key = {_key(name): name for name in present}
    for name in names:
        if _key(name) in by_key:
            return f'{by_key[_key(name)]!r} where metainfo.classes has {name!r}'
    return ''


def only_order_differs(first: Sequence[str], second: Sequence[str]) -> bool:
    """Tell whether two lists hold the same names in different orders.

    Args:
        first: A list of names.
        second: Another one; case and blanks around names do not count.

    Returns:
        Whether they do; False for equal lists.
    """
    one, other = list(map(_key, first)), list(map(_key, second))
    return one != other and sorted(one) == sorted(other)


def first_difference(first: Sequence[str], second: Sequence[str]) -> str:
    """Name the first place at which two lists differ.

    Args:
        first: A list of names.
        second: Another one that differs.

    Returns:
        Text such as ``label 1 is 'cat' in the one and 'dog' in the other``.
    """
    place = next(i for i, (a, b) in enumerate(zip(first, second, strict=False)) if a != b)
    return f'label {place} is {first[place]!r} in the one and {second[place]!r} in the other'


def complaint_about_classes(metainfo: Mapping[str, Any] | None) -> str | None:
    """Say what is wrong with the classes of a dataset's meta information.

    Args:
        metainfo: The meta information; without classes nothing is wrong.

    Returns:
        The rest of a sentence that starts with the dataset; None if they are fine.
    """
    metainfo = metainfo or {}
    classes = metainfo.get('classes')
    old = metainfo.get('CLASSES')
    if old is not None and (classes is None or list(old) != list(classes)):
        return f'metainfo has the key CLASSES, which is not read: write metainfo=dict(classes={old!r}).'
    if classes is None:
        return None
    if isinstance(classes, str):
        return f'metainfo.classes is the text {classes!r}: write a tuple, ({classes!r},).'
    if not isinstance(classes, list | tuple):
        return (
            f'metainfo.classes is a {type(classes).__name__}: write a tuple of names, whose order '
            'gives the labels.'
        )
    labels: dict[str, int] = {}
    for label, name in enumerate(classes):
        if not isinstance(name, str):
            return f'metainfo.classes has {name!r} as name {label}: write names as text.'
        if labels.setdefault(name, label) != label:
            return (
                f'metainfo.classes names {name!r} twice, as labels {labels[name]} and {label}: '
                'give each class a name of its own.'
            )
    return None
