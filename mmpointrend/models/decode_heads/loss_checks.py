# Copyright (c) The mmpointrend authors.
"""Losses of the semantic task, tried once when they are built."""

import copy
from collections.abc import Iterable, Sequence
from typing import Any

import torch
from mmengine.device import get_device
from mmseg.models.losses import OhemCrossEntropy
from torch import Tensor, nn

from mmpointrend.errors import ConfigError

__all__ = ['check_losses', 'loss_of']

# mmseg's losses of logits and labels. Others want more than that.
_TRIED = frozenset(['CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss'])


def loss_of(loss: Any, logits: Tensor, labels: Tensor, ignore_index: int | None) -> Tensor:
    """Loss of logits and labels by any loss of mmseg.

    Args:
        loss: The loss.
        logits: Logits, shape (B, K, H, W).
        labels: Class labels, integer, shape (B, H, W).
        ignore_index: Label that takes no part.

    Returns:
        The loss, a scalar.
    """
    # It knows the label by itself.
    if isinstance(loss, OhemCrossEntropy):
        return loss(logits, labels)
    return loss(logits, labels, ignore_index=ignore_index)


def check_losses(
    losses: Iterable[nn.Module], where: str, shape: Sequence[int], ignore_index: int | None
) -> None:
    """Refuse losses that would fail in the first step, such as by a ``class_weight`` of another length.

    Losses of other packages are not tried: what they need is not known.

    Args:
        losses: The losses.
        where: Their name in a config.
        shape: Shape (B, K, H, W) of the logits to try.
        ignore_index: Label that takes no part in them.

    Raises:
        ConfigError: A loss fails, or has no ``loss_name``.
    """
    batch, channels, *size = shape
    # With a device, for a model may be built on the meta device.
    logits = torch.zeros(batch, channels, *size, device='cpu')
    labels = torch.zeros(batch, *size, dtype=torch.long, device='cpu')
    labels[:, 1:] = min(1, channels - 1)
    for loss in losses:
        kind = type(loss)
        if not isinstance(getattr(loss, 'loss_name', None), str):
            raise ConfigError(
                f"{where} is {kind.__name__}, which has no loss_name: take one of mmseg's losses, such as "
                "dict(type='CrossEntropyLoss')"
            )
        if not any(
            base.__module__.startswith('mmseg.') and base.__name__ in _TRIED
            for base in kind.__mro__
        ):
            continue
        error = _failure(loss, logits, labels, ignore_index, 'cpu')
        # mmseg's FocalLoss fails on CPUs alone.
        if error is not None and get_device() != 'cpu':
            error = _failure(loss, logits, labels, ignore_index, get_device())
        if error is None:
            continue
        weights = getattr(loss, 'class_weight', None)
        sigmoid = ', use_sigmoid=True' if channels == 1 else ''
        hint = f"take a loss such as dict(type='CrossEntropyLoss'{sigmoid})"
        if weights is not None and len(weights) != channels:
            hint = f'give class_weight one number for each of the {channels} channels, not {len(weights)}'
        raise ConfigError(
            f'{where} is {kind.__name__}, which fails on {channels} channels of logits: {hint} '
            f'({" ".join(str(error).split())})'
        ) from error


@torch.no_grad()
def _failure(
    loss: nn.Module, logits: Tensor, labels: Tensor, ignore_index: int | None, device: str
) -> Exception | None:
    """What a loss raises, if anything."""
    try:
        loss_of(copy.deepcopy(loss).to(device), logits.to(device), labels.to(device), ignore_index)
    except (
        AssertionError,
        AttributeError,
        IndexError,
        NotImplementedError,
        RuntimeError,
        TypeError,
        ValueError,
    ) as error:
        return error
    return None
