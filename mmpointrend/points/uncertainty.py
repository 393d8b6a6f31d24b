# Copyright (c) The mmpointrend authors.
"""How unsure a prediction is (paper, sections 3.1 and 4).

An uncertainty is a function of logits (R, k, ...) that returns (R, ...): the higher, the less sure. With one channel
it asks how far the prediction is from the decision boundary, with several how far the best class is from the second.
It chooses points, and has no gradient.
The paper's semantic models ask this of probabilities, detectron2, mmdet and mmseg of logits. For one channel both
give the same order.
"""

from collections.abc import Callable

import torch
from torch import Tensor

__all__ = ['UNCERTAINTIES', 'Uncertainty', 'logit_uncertainty', 'probability_uncertainty']

Uncertainty = Callable[[Tensor], Tensor]


# Pixels whose best and second best stay in a CPU's cache while the classes pass by (19 classes of 1024 x 2048: 93 -> 32
# ms, of which 39 are for working in place). A GPU has no such limit.
_PIXELS_IN_CACHE = 65536


def _negative_margin(scores: Tensor) -> Tensor:
    """Minus the distance of the two best scores; a running best and second best beat ``topk`` by a factor of ten."""
    flat = scores.flatten(2)
    size = _PIXELS_IN_CACHE if flat.device.type == 'cpu' else max(flat.shape[2], 1)
    margins = []
    for part in flat.split(size, dim=2):
        best, second = part[:, 0].clone(), torch.full_like(part[:, 0], -torch.inf)
        for score in part.unbind(1)[1:]:
            second.clamp_(min=torch.minimum(best, score))
            best.clamp_(min=score)
        margins.append(second.sub_(best))
    return torch.cat(margins, dim=1).view(len(scores), *scores.shape[2:])


@torch.no_grad()
def logit_uncertainty(logits: Tensor) -> Tensor:
    """Uncertainty of logits.

    Args:
        logits: Logits, shape (R, k, ...), k >= 1.

    Returns:
        Minus the absolute logit where k is 1, else minus the margin of the two largest logits; <= 0, shape (R, ...).
    """
    return logits[:, 0].abs().neg_() if logits.shape[1] == 1 else _negative_margin(logits)


@torch.no_grad()
def probability_uncertainty(logits: Tensor) -> Tensor:
    """Uncertainty of the probabilities that logits stand for (the paper's own, App. B).

    Args:
        logits: Logits, shape (R, k, ...), k >= 1.

    Returns:
        Minus the distance of the sigmoid to 0.5 where k is 1, else minus the margin of the two most probable classes
        of the softmax; in [-1, 0], shape (R, ...).
    """
    if logits.shape[1] == 1:
        return logits[:, 0].sigmoid().sub_(0.5).abs_().neg_()
    return _negative_margin(logits.softmax(1))


UNCERTAINTIES: dict[str, Uncertainty] = {
    'logits': logit_uncertainty,
    'probabilities': probability_uncertainty,
}
