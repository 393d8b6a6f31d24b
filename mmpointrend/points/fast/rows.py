# Copyright (c) The mmpointrend authors.
"""Weighted sums of rows, which bilinear samples are."""

import torch.nn.functional as F
from torch import Tensor

__all__ = ['sum_rows']


def sum_rows(rows: Tensor, indices: Tensor, weights: Tensor) -> Tensor:
    """``(rows[indices] * weights.unsqueeze(-1)).sum(-2)``, differentiable in the rows.

    One ``embedding_bag`` reads each row's C channels in one stretch, and makes no copy of them.

    Args:
        rows: Rows, shape (N, C).
        indices: Rows of each sum, in ``[0, N)``, integer, shape (R, P, n).
        weights: What each contributes, dtype of ``rows``, shape (R, P, n).

    Returns:
        Sums, shape (R, P, C).
    """
    sums = F.embedding_bag(
        # It is quicker with short indices, forward and backward.
        indices.flatten(0, 1).int(),
        rows,
        per_sample_weights=weights.flatten(0, 1),
        mode='sum',
    )
    return sums.unflatten(0, indices.shape[:2])
