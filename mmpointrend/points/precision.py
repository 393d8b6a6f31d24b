# Copyright (c) The mmpointrend authors.
"""Which precision what is computed in."""

from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

__all__ = ['for_sums', 'without_autocast']


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Context in which positions and weights of interpolation keep their precision.

    Args:
        device: Where they are.

    Returns:
        The context; it does nothing on devices that have no autocast.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def for_sums(values: Tensor) -> Tensor:
    """Values in single precision where gradients are wanted.

    Many points add up in one cell's gradient: in half precision small ones would be lost to the sum.

    Args:
        values: Floating point, any shape.

    Returns:
        The values, or a copy of them.
    """
    return values.float() if values.requires_grad and values.dtype.itemsize < 4 else values
