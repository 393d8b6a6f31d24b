# Copyright (c) The mmpointrend authors.
"""Recording what the renderer does, step by step."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn

from mmpointrend.errors import ConfigError
from mmpointrend.points import SubdivisionStep

__all__ = ['record_subdivision']


def _rendering_head(model: nn.Module) -> Any:
    """The module with an ``observer``: the given one, its RoI head or its decode head."""
    for candidate in (
        model,
        getattr(model, 'roi_head', None),
        getattr(model, 'decode_head', None),
    ):
        if hasattr(candidate, 'observer'):
            return candidate
    raise ConfigError(
        f'{type(model).__name__} has no head that renders by subdivision: take a model with '
        'mmpointrend.PointRendRoIHead or mmpointrend.PointRendHead, or one of these'
    )


@contextmanager
def record_subdivision(model: nn.Module) -> Iterator[list[list[SubdivisionStep]]]:
    """Records every rendering while the context is open.

    Args:
        model: A PointRend head or a detector or segmentor that has one. An observer that it has
            keeps being called.

    Yields:
        A list that grows: one list of steps per rendering (a batch, or a window of slide mode),
        beginning with the coarse prediction; ``points`` and ``logits`` are copies, on the CPU.
        Regions are those of the rendering: the detections of the batch's images one after the
        other, or the images.

    Raises:
        ConfigError: If the model has no head that renders.
    """
    head = _rendering_head(model)
    before = head.observer
    renderings: list[list[SubdivisionStep]] = []

    def observe(step: SubdivisionStep) -> None:
        if before is not None:
            before(step)
        if step.index == 0:
            renderings.append([])
        points, logits = (
            value.detach().float().cpu().clone() for value in (step.points, step.logits)
        )
        renderings[-1].append(SubdivisionStep(step.index, points, logits))

    head.observer = observe
    try:
        yield renderings
    finally:
        head.observer = before
