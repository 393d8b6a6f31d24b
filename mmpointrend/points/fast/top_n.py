# Copyright (c) The mmpointrend authors.
"""The N largest of many values."""

import torch
from torch import Tensor

from mmpointrend.points.fast import limits

__all__ = ['largest']


def largest(values: Tensor, number: int) -> Tensor:
    """Places of the N largest values of each row: ``values.topk(number, dim=1).indices``, in any order.

    Args:
        values: Values, shape (R, A).
        number: N <= A.

    Returns:
        Indices in ``[0, A)``, shape (R, N).
    """
    num_values = values.shape[1]
    if number == num_values:
        return torch.arange(num_values, device=values.device).expand(len(values), -1)
    if num_values % limits.TOP_GROUP == 0 and num_values >= limits.TOP_SPARSE * number:
        return _in_two_rounds(values, number)
    return values.topk(number, dim=1, sorted=False).indices


def _in_two_rounds(values: Tensor, number: int) -> Tensor:
    """First the groups with the largest maxima, then their members.

    No value of another group belongs to the N largest, for N groups hold a larger one each.
    """
    # A group is every so many-th value: its maximum is then taken over whole rows of memory.
    maxima = values.unflatten(1, (limits.TOP_GROUP, -1)).amax(dim=1)
    num_groups = maxima.shape[1]
    groups = maxima.topk(number, dim=1, sorted=False).indices
    steps = num_groups * torch.arange(limits.TOP_GROUP, device=values.device)
    members = (groups.unsqueeze(1) + steps[:, None]).flatten(1)
    chosen = values.gather(1, members).topk(number, dim=1, sorted=False).indices
    return members.gather(1, chosen)
