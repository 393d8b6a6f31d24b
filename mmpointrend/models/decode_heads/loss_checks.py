# Copyright (c) The mmpointrend authors.
"""Losses of the semantic task, tried once when they are built."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn

from mmpointrend.errors import ConfigError

__all__ = ['check_losses']


@torch.no_grad()
def check_losses(
    losses: Iterable[nn.Module], where: str, logits: Tensor, ignore_index: int | None
) -> None:
    """Refuse losses that would fail in the first step, such as by a ``class_weight`` of another length.

    A loss that is not mmseg's may need a GPU, and is not tried.

    Args:
        losses: The losses.
        where: Their name in a config.
        logits: Logits of the shape that they will get, (B, K, H, W).
        ignore_index: Label that takes no part in them.

    Raises:
        ConfigError: A loss fails, or has no ``loss_name``.
    """
    channels = logits.shape[1]
    labels = torch.zeros(len(logits), *logits.shape[2:], dtype=torch.long)
    labels[:, 1:] = min(1, channels - 1)
    for loss in losses:
        kind = type(loss)
        if not isinstance(getattr(loss, 'loss_name', None), str):
            raise ConfigError(
                f"{where} is {kind.__name__}, which has no loss_name: take one of mmseg's losses, such as "
                "dict(type='CrossEntropyLoss')"
            )
        if not kind.__module__.startswith('mmseg.'):
            continue
        try:
            loss(logits, labels, ignore_index=ignore_index)
        except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
            weights = getattr(loss, 'class_weight', None)
            hint = "take a loss such as dict(type='CrossEntropyLoss')"
            if weights is not None and len(weights) != channels:
                hint = f'give class_weight one number for each of the {channels} channels, not {len(weights)}'
            raise ConfigError(
                f'{where} is {kind.__name__}, which fails on {channels} channels of logits: {hint} '
                f'({" ".join(str(error).split())})'
            ) from error
