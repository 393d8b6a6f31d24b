# Copyright (c) The mmpointrend authors.
"""Distance of the two best scores."""

import torch
from torch import Tensor

from mmpointrend.points.fast import limits

__all__ = ['negative_margin']


def negative_margin(scores: Tensor) -> Tensor:
    """The second largest score minus the largest: ``second - best`` of ``scores.topk(2, dim=1).values``.

    A running best and second best take a pass over the scores, where ``topk`` sorts those of each pixel.

    Args:
        scores: Scores, shape (R, k, ...), k >= 2.

    Returns:
        Differences <= 0, shape (R, ...).
    """
    flat = scores.flatten(2)
    # A GPU has no cache that a part would have to stay in.
    size = limits.MARGIN_PIXELS if flat.device.type == 'cpu' else max(flat.shape[2], 1)
    margins = []
    for part in flat.split(size, dim=2):
        best, second = part[:, 0].clone(), torch.full_like(part[:, 0], -torch.inf)
        for score in part.unbind(1)[1:]:
            second.clamp_(min=torch.minimum(best, score))
            best.clamp_(min=score)
        margins.append(second.sub_(best))
    return torch.cat(margins, dim=1).view(len(scores), *scores.shape[2:])
