# Copyright (c) The mmpointrend authors.
"""Classes of the model, of the data and of checkpoints against one another."""

import logging
from collections.abc import Sequence
from typing import Any

from mmengine.logging import print_log
from torch import nn

from mmpointrend.engine.checks.dataset import leaves
from mmpointrend.engine.checks.names import (
    first_difference,
    only_order_differs,
    some_names,
    spelled,
)
from mmpointrend.errors import CheckpointError, ConfigError

__all__ = [
    'check_checkpoint_classes',
    'check_class_counts',
    'check_same_classes',
]

_HEADS = frozenset(
    ['bbox_head', 'mask_head', 'point_head', 'decode_head', 'auxiliary_head', 'coarse_head']
)


def check_class_counts(model: nn.Module, dataset: Any, loader: str) -> None:
    """Compare the class counts of the model's heads with the classes of the dataset.

    Args:
        model: The model, wrapped or not.
        dataset: The dataset that it is to see; one without ``metainfo['classes']`` passes.
        loader: Name of the data loader in the config, for the message.

    Raises:
        ConfigError: A head disagrees; the message names its key and both counts.
    """
    classes = _metainfo(dataset).get('classes')
    if not classes:
        return
    if isinstance(classes, str):
        raise ConfigError(
            f'{loader}.dataset.metainfo.classes is the text {classes!r}: write a tuple, '
            f'({classes!r},).'
        )
    for name, module in model.named_modules():
        parts = [part for part in name.split('.') if not part.isdigit() and part != 'module']
        # A class-agnostic head serves any number of classes, and ours says 1.
        if getattr(module, 'class_agnostic', False):
            continue
        count = getattr(module, 'num_classes', None)
        if parts and parts[-1] in _HEADS and isinstance(count, int) and count != len(classes):
            raise ConfigError(
                f'model.{".".join(parts)}.num_classes is {count}, but the dataset of {loader} has '
                f'{len(classes)} classes {some_names(classes)}: set one of them to the other '
                f'({loader}.dataset.metainfo=dict(classes=...)).'
            )


def check_same_classes(dataset: Any, other: Any, loader: str, other_loader: str) -> None:
    """Compare the classes of two datasets that one model sees.

    Args:
        dataset: A dataset; one without classes passes.
        other: The dataset seen before, alike.
        loader: Name of the first one's data loader in the config, for the message.
        other_loader: Name of the other one's.

    Raises:
        ConfigError: They have the same names in different orders. As many other names, and labels
            that are shifted in one of them, are warned of.
    """
    names, others = _classes_of(dataset), _classes_of(other)
    if names is None or others is None or len(names) != len(others):
        return
    if names == others:
        _warn_of_zero_label(dataset, other, loader, other_loader)
        return
    both = f'{other_loader} has the classes {some_names(others)} and {loader} {some_names(names)}'
    if only_order_differs(others, names):
        raise ConfigError(
            f'{both}, the same in another order ({first_difference(others, names)}): give both '
            'datasets the same metainfo=dict(classes=...).'
        )
    if _same_up_to_case(others, names):
        return
    print_log(
        f'{both}: a label means the one there and the other here '
        f'({first_difference(others, names)}).',
        'current',
        logging.WARNING,
    )


def _warn_of_zero_label(dataset: Any, other: Any, loader: str, other_loader: str) -> None:
    """Warn of label maps of one folder whose labels are shifted in one loader only."""
    one, two = next(leaves(dataset)), next(leaves(other))
    flags = [getattr(leaf, 'reduce_zero_label', None) for leaf in (one, two)]
    if None in flags or flags[0] == flags[1] or one.data_root != two.data_root:
        return
    print_log(
        f'reduce_zero_label is {flags[0]} in the dataset of {loader} and {flags[1]} in that of '
        f'{other_loader}, so that their labels differ by one; set both to the same unless their '
        'label maps are written differently.',
        'current',
        logging.WARNING,
    )


def check_checkpoint_classes(
    checkpoint: dict[str, Any], dataset: Any, filename: str, loader: str, *, trains_anew: bool
) -> None:
    """Compare the classes that a checkpoint was trained on with those of a dataset.

    Args:
        checkpoint: The loaded checkpoint; one that does not name its classes passes.
        dataset: The dataset that the model is to see.
        filename: Where the checkpoint is from, for the message.
        loader: Name of the dataset's loader in the config.
        trains_anew: Whether its weights are where training starts, on whatever data; only the same
            names in another order are then warned of.

    Raises:
        CheckpointError: The names are the same in another order, and the weights are tested or
            trained further. As many other names are warned of.
    """
    trained, names = _trained_classes(checkpoint), _classes_of(dataset)
    if trained is None or names is None or len(trained) != len(names) or trained == names:
        return
    both = (
        f'the checkpoint {filename} was trained on the classes {some_names(trained)}, and the '
        f'dataset of {loader} has {some_names(names)}'
    )
    difference = first_difference(trained, names)
    if only_order_differs(trained, names):
        if not trains_anew:
            raise CheckpointError(
                f'{both}, the same in another order ({difference}): set '
                f'{loader}.dataset.metainfo=dict(classes=...) to the order of the checkpoint.'
            )
        both += ', the same in another order, so that heads start with swapped classes'
    elif trains_anew or _same_up_to_case(trained, names):
        return
    print_log(f'{both} ({difference}).'.replace('the', 'The', 1), 'current', logging.WARNING)


def _names(classes: Any) -> tuple[str, ...] | None:
    if not isinstance(classes, list | tuple) or not classes:
        return None
    return tuple(map(spelled, classes)) if all(isinstance(c, str) for c in classes) else None


def _classes_of(dataset: Any) -> tuple[str, ...] | None:
    return _names(_metainfo(dataset).get('classes'))


def _metainfo(dataset: Any) -> dict[str, Any]:
    found = getattr(dataset, 'metainfo', None) or {}
    # mmdet's ConcatDataset has a list if its parts differ, in their palettes for example.
    return found[0] if isinstance(found, list) else found


def _trained_classes(checkpoint: dict[str, Any]) -> tuple[str, ...] | None:
    meta = checkpoint.get('meta')
    if not isinstance(meta, dict):
        return None
    dataset_meta = meta.get('dataset_meta')
    if not isinstance(dataset_meta, dict):
        # mmdet 2.x and mmseg 0.x wrote them so.
        return _names(meta.get('CLASSES'))
    return _names(dataset_meta.get('classes', dataset_meta.get('CLASSES')))


def _same_up_to_case(first: Sequence[str], second: Sequence[str]) -> bool:
    return [name.strip().casefold() for name in first] == [
        name.strip().casefold() for name in second
    ]
