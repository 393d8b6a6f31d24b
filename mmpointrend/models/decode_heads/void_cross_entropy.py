# Copyright (c) The mmpointrend authors.
"""Cross entropy with class weights where some labels are void."""

from typing import Any

from mmseg.models.losses import CrossEntropyLoss
from torch import Tensor

from mmpointrend.registry import MODELS

__all__ = ['VoidCrossEntropyLoss', 'knowing_void']


@MODELS.register_module()
class VoidCrossEntropyLoss(CrossEntropyLoss):
    """mmseg's softmax cross entropy with ``class_weight``, also of labels some of which are void.

    mmseg's own looks up the weight of class 255 to average by, which there is not: an IndexError, on a GPU the end of
    the process. Averaged by the weights of the labels that count, as PyTorch does, it is the same without void labels.

    Args:
        **kwargs: Those of mmseg's ``CrossEntropyLoss``, with ``class_weight``.
    """

    def forward(
        self,
        cls_score: Tensor,
        label: Tensor,
        weight: Tensor | None = None,
        avg_factor: Tensor | float | None = None,
        reduction_override: str | None = None,
        ignore_index: int = -100,
        **kwargs: Any,
    ) -> Tensor:
        """Loss of an image.

        Args:
            cls_score: Logits, shape (B, K, H, W).
            label: Class labels, integer, shape (B, H, W).
            weight: Weights of pixels, shape (B, H, W).
            avg_factor: What the sum is divided by.
            reduction_override: As in mmseg.
            ignore_index: Label that takes no part.
            **kwargs: As in mmseg.

        Returns:
            The loss, a scalar where it is averaged.
        """
        if avg_factor is None and (reduction_override or self.reduction) == 'mean':
            weights, void = cls_score.new_tensor(self.class_weight), label == ignore_index
            avg_factor = weights[label.masked_fill(void, 0)].masked_fill(void, 0).sum()
        return super().forward(
            cls_score, label, weight, avg_factor, reduction_override, ignore_index, **kwargs
        )


def knowing_void(loss: Any) -> Any:
    """Config of a loss, ours where mmseg's would fail on void labels.

    Args:
        loss: Config of a loss, or a list of such.

    Returns:
        The same, or a copy with another ``type``.
    """
    if isinstance(loss, list | tuple):
        return [knowing_void(one) for one in loss]
    if not isinstance(loss, dict) or loss.get('class_weight') is None:
        return loss
    softmax = not (loss.get('use_sigmoid') or loss.get('use_mask'))
    if softmax and loss.get('type') in (
        'CrossEntropyLoss',
        'mmseg.CrossEntropyLoss',
        CrossEntropyLoss,
    ):
        return {**loss, 'type': 'mmpointrend.VoidCrossEntropyLoss'}
    return loss
