# Copyright (c) The mmpointrend authors.
"""Memory of large results.

The system hands out fresh memory page by page, when it is first written to, which takes as long as writing it: half of
the time of upsampling to 19 x 1024 x 2048. NumPy asks for pages of 2 MB where Linux offers them on demand (it uses
``madvise``), PyTorch does not.
"""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

__all__ = ['empty', 'zeros']

# NumPy asks for large pages from this size on.
_LARGE = 1 << 22


def _is_ours(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> bool:
    if torch.compiler.is_compiling() or device.type != 'cpu':
        return False
    return math.prod(shape) * dtype.itemsize >= _LARGE


def empty(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor with any values; upsampling to 160 MB of it takes 64 ms instead of 97.

    Args:
        shape: Its shape.
        dtype: Its dtype.
        device: Its device.

    Returns:
        The tensor, contiguous.
    """
    if not _is_ours(shape, dtype, device):
        return torch.empty(*shape, dtype=dtype, device=device)
    memory = np.empty(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(*shape)


def zeros(shape: Sequence[int], dtype: torch.dtype, device: torch.device) -> Tensor:
    """A tensor of zeros.

    On a CPU the system's memory is zero already: it is not written again, and only as much of it is taken as is written
    to later. 100 masks of 800 x 1216 take 35 ms less, and the memory of their boxes.

    Args:
        shape: Its shape.
        dtype: Its dtype.
        device: Its device.

    Returns:
        The tensor, contiguous.
    """
    if not _is_ours(shape, dtype, device):
        return torch.zeros(*shape, dtype=dtype, device=device)
    memory = np.zeros(math.prod(shape) * dtype.itemsize, np.uint8)
    return torch.from_numpy(memory).view(dtype).view(*shape)
