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

from mmpointrend.points.fast.margin import negative_margin

__all__ = ['UNCERTAINTIES', 'Uncertainty', 'logit_uncertainty', 'probability_uncertainty']

Uncertainty = Callable[[Tensor], Tensor]


@torch.no_grad()
def logit_uncertainty(logits: Tensor) -> Tensor:
    """Uncertainty of logits.

    Args:
        logits: Logits, shape (R, k, ...), k >= 1.

    Returns:
        Minus the absolute logit where k is 1, else minus the margin of the two largest logits; <= 0, shape (R, ...).
    """
    return logits[:, 0].abs().neg_() if logits.shape[1] == 1 else negative_margin(logits)


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
    return negative_margin(logits.softmax(1))


UNCERTAINTIES: dict[str, Uncertainty] = {
    'logits': logit_uncertainty,
    'probabilities': probability_uncertainty,
}
