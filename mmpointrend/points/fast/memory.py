# Copyright (c) The mmpointrend authors.
"""Memory of large results that are mostly zero."""

import math
import mmap
from collections.abc import Sequence

import torch
from torch import Tensor

from mmpointrend.points.fast import limits

__all__ = ['zeros']


def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros.

    On a CPU the system's memory is zero already: it is not written again, and only as much of it is taken as is written
    to later.

    Args:
        shape: Its shape.
        dtype: Its dtype.
        device: Its device.

    Returns:
        The tensor, contiguous.
    """
    num_bytes = math.prod(shape) * dtype.itemsize
    if device.type != 'cpu' or num_bytes < limits.MAPPED_BYTES or torch.compiler.is_compiling():
        return torch.zeros(*shape, dtype=dtype, device=device)
    # Private: a page that is read and was not written to takes no memory, and a forked process has its own. Unmapped
    # when the tensor's memory is freed, which holds the only reference to it.
    memory = mmap.mmap(-1, num_bytes, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    return torch.frombuffer(memory, dtype=torch.uint8).view(dtype).view(*shape)
