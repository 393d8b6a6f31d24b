# Copyright (c) The mmpointrend authors.
"""How a config asks for rendering: the keys that mmdet's and mmseg's ``test_cfg`` know, checked once for both tasks."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.taps import Levels
from mmpointrend.points import steps_to_reach
from mmpointrend.points.precision import asked_dtype, rendering_dtype, without_autocast
from mmpointrend.rules import MAX_SIDE, check, optional, whole

__all__ = ['Rendering', 'check_points', 'rendering_precision']

# Four times the coarsest stride that decode heads have: no config tells the size of an image's coarse prediction.
_MAX_SCALE = 128

_RULES = {
    'scale_factor': whole(2),
    'subdivision_num_points': whole(1).needed(),
    'subdivision_steps': optional(whole(0), advised=False),
    'output_size': optional(whole(1)),
}


@dataclass(frozen=True)
class Rendering:
    """Arguments of :func:`mmpointrend.points.subdivide` that a config sets.

    Attributes:
        num_points: N, points of one step and region, >= 1 (``subdivision_num_points``).
        steps: Number of steps, >= 0 (``subdivision_steps``).
        scale_factor: What each step multiplies the sides by, an integer >= 2.
    """

    num_points: int
    steps: int
    scale_factor: int = 2

    @classmethod
    def from_config(cls, cfg: Mapping, where: str, coarse_size: int | None = None) -> 'Rendering':
        """Read a test_cfg; other keys in it are left alone.

        Args:
            cfg: Config with ``subdivision_num_points``, ``subdivision_steps`` and ``scale_factor`` (default 2). Where
                ``coarse_size`` is known, ``output_size`` may stand in for ``subdivision_steps``.
            where: The config's name for messages, such as 'test_cfg.rcnn'.
            coarse_size: Side of the coarse prediction in pixels.

        Returns:
            The checked arguments.

        Raises:
            ConfigError: A key is missing, out of range, or the output size is not reachable.
        """
        check(cfg, where, _RULES)
        scale_factor: int = cfg.get('scale_factor', 2)
        steps: Any = cfg.get('subdivision_steps')
        output_size = cfg.get('output_size')
        if coarse_size is not None and output_size is not None:
            steps = cls._steps_to(coarse_size, output_size, scale_factor, steps, where)
        # Asked for where nothing stands in for it.
        check({'subdivision_steps': steps}, where, {'subdivision_steps': whole(0)})
        cls._check_size(coarse_size, int(steps), scale_factor, where)
        return cls(cfg['subdivision_num_points'], int(steps), scale_factor)

    @staticmethod
    def _check_size(coarse_size: int | None, steps: int, scale_factor: int, where: str) -> None:
        """Refuse maps that no memory holds."""
        size, most = coarse_size or 1, _MAX_SCALE if coarse_size is None else MAX_SIDE
        for _ in range(steps):
            size *= scale_factor
            if size > most:
                limit = (
                    f'{most} times the coarse prediction'
                    if coarse_size is None
                    else f'{most} pixels'
                )
                raise ConfigError(
                    f'{where}.subdivision_steps is {steps} with a scale_factor of {scale_factor}: sides of more than '
                    f'{limit} are not rendered, for lack of memory; take fewer steps'
                )

    @staticmethod
    def _steps_to(
        coarse_size: int, output_size: int, scale_factor: int, steps: int | None, where: str
    ) -> int:
        try:
            needed = steps_to_reach(coarse_size, output_size, scale_factor)
        except ValueError as error:
            raise ConfigError(f'{where}.output_size: {error}') from error
        if steps not in (None, needed):
            raise ConfigError(
                f'{where}.output_size of {output_size} takes {needed} steps from {coarse_size}, but subdivision_steps '
                f'is {steps}: set subdivision_steps to {needed}, or to None'
            )
        return needed


def check_points(points: Tensor) -> int | None:
    """Check the points of a ``predict_points``.

    Args:
        points: Points (x, y), shape (R, P, 2).

    Returns:
        The ``num_points`` of :func:`mmpointrend.points.point_predictor`: the number of points, or None if gradients
        are wanted, because maps that are projected beforehand have none.

    Raises:
        ValueError: If a point lies outside ``[0, 1]^2``, or the last dimension is not 2.
    """
    if points.ndim != 3 or points.shape[-1] != 2:
        raise ValueError(f'points have the shape {tuple(points.shape)}: give (R, P, 2)')
    # Negated, so that NaN is refused too.
    if not bool(((points >= 0) & (points <= 1)).all()):
        raise ValueError('points lie outside [0, 1]^2 of their region: predict those inside alone')
    return None if torch.is_grad_enabled() else points.shape[0] * points.shape[1]


@contextmanager
def rendering_precision(x: Sequence[Tensor]) -> Iterator[Any]:
    """Context without autocast if the device has no instructions for its dtype.

    The heads in front of the renderer would take as long as the renderer, see
    :func:`mmpointrend.points.precision.rendering_dtype`.

    Args:
        x: Feature levels, each (B, C, H, W).

    Yields:
        The levels, in single precision in this case.
    """
    device = x[0].device
    asked = asked_dtype(torch.float32, device)
    if rendering_dtype(asked, device) == asked:
        yield x
        return
    levels: Sequence[Tensor] = [level.float() for level in x]
    if isinstance(x, Levels):
        levels = Levels.of(levels, {name: kept.float() for name, kept in x.kept.items()})
    with without_autocast(device):
        yield levels
