# Copyright (c) The mmpointrend authors.
"""Classes of the model against classes of the data."""

from typing import Any

from torch import nn

from mmpointrend.engine.checks.names import some_names
from mmpointrend.errors import ConfigError

__all__ = ['check_class_counts']

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
    classes = (getattr(dataset, 'metainfo', None) or {}).get('classes')
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
