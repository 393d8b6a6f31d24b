# Copyright (c) The mmpointrend authors.
"""Where the logits of an RoI's points come from: a coarse mask with the point head, or an MLP of the RoI's own.

R RoIs, P points, K channels of the coarse logits (1 if class-agnostic), C fine channels of all levels together.
"""

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import torch
import torch.nn.functional as F
from torch import Tensor

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.frames import RoIFrames
from mmpointrend.points import (
    ImplicitPredictor,
    PointPredictor,
    logit_uncertainty,
    point_predictor,
    regular_grid,
    sample_features,
)

__all__ = ['CoarseSource', 'ImplicitSource', 'MaskSource', 'mean_of_masks']

PredictPoints = Callable[..., Tensor]
"""Maps points (r, P, 2) of all RoIs, or of those in ``regions``, to logits (r, 1, P) of each RoI's own class."""


class MaskSource(Protocol):
    """What the mask head has said of R RoIs, with the point head that refines it.

    One object is what a stage of a cascade needs: training selects points by :meth:`uncertainty` and learns from
    :meth:`logits`; rendering begins with :meth:`start` and goes on with :meth:`predictor`.
    """

    def __getitem__(self, regions: Tensor) -> 'MaskSource':
        """The same of some of the RoIs."""

    def uncertainty(self, points: Tensor) -> Tensor:
        """How unsure the mask head is of its prediction for each RoI's own class.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).

        Returns:
            The higher the less sure, shape (R, P).

        Raises:
            ConfigError: The mask head predicts no mask.
        """

    def logits(self, points: Tensor, fine: Tensor) -> Tensor:
        """Logits of training points.

        Args:
            points: Points (x, y) in ``[0, 1]^2`` of their RoI, shape (R, P, 2).
            fine: Their fine features, shape (R, P, C).

        Returns:
            Logits of each RoI's own class, shape (R, 1, P).
        """

    def start(self, predict: PredictPoints) -> Tensor:
        """Logits of each RoI's own class that rendering starts from; no other class is carried through the steps.

        Args:
            predict: Logits of points of the RoIs.

        Returns:
            Logits, at least float32, shape (R, 1, h, h).
        """

    def predictor(self, frames: RoIFrames, num_points: int | None = None) -> PointPredictor:
        """The core's predictor of logits at points.

        Args:
            frames: The RoIs on the fine levels.
            num_points: See :func:`mmpointrend.points.point_predictor`.

        Returns:
            The predictor.
        """


class CoarseSource:
    """PointRend's: coarse logits, which the point head reads beside the fine features.

    Attributes:
        coarse: Logits of the mask head, shape (R, K, h, h).

    Args:
        point_head: The point head.
        coarse: Logits of the mask head.
        labels: The class of each RoI, integer, shape (R,); None for predictors of all classes.
    """

    def __init__(self, point_head: Any, coarse: Tensor, labels: Tensor | None) -> None:
        self._point_head, self.coarse, self._labels = point_head, coarse, labels

    def __getitem__(self, regions: Tensor) -> 'CoarseSource':
        """The same of some of the RoIs."""
        return CoarseSource(self._point_head, self.coarse[regions], _of(self._labels, regions))

    @property
    def _own(self) -> Tensor:
        """Logits (R, 1, h, h) of each RoI's own class; the only ones where K is 1."""
        own = self.coarse
        if own.shape[1] > 1:
            own = own[torch.arange(len(own), device=own.device), self._labels].unsqueeze(1)
        return own.to(torch.promote_types(own.dtype, torch.float32))

    def uncertainty(self, points: Tensor) -> Tensor:
        """See :class:`MaskSource`."""
        return logit_uncertainty(sample_features(self._own, points).transpose(1, 2))

    def logits(self, points: Tensor, fine: Tensor) -> Tensor:
        """See :class:`MaskSource`."""
        return self._point_head(fine, sample_features(self.coarse, points), self._labels)

    def start(self, predict: PredictPoints) -> Tensor:
        """See :class:`MaskSource`."""
        return self._own

    def predictor(self, frames: RoIFrames, num_points: int | None = None) -> PointPredictor:
        """See :class:`MaskSource`."""
        return point_predictor(
            self._point_head,
            frames.levels,
            self.coarse,
            frames.images,
            self._labels,
            num_points=num_points,
            extents=frames.boxes(),
        )


class ImplicitSource:
    """Implicit PointRend's: the parameters of the MLP that each RoI's points go through.

    Args:
        point_head: The point head.
        parameters: What the mask head predicts, shape (R, D, 1, 1).
        labels: The class of each RoI, integer, shape (R,); None for predictors of all classes.
        side: Side of the grid of predicted points that rendering starts from.
    """

    def __init__(
        self, point_head: Any, parameters: Tensor, labels: Tensor | None, side: int
    ) -> None:
        self._point_head, self._parameters, self._labels = point_head, parameters, labels
        self._side = side

    def __getitem__(self, regions: Tensor) -> 'ImplicitSource':
        """The same of some of the RoIs."""
        labels = _of(self._labels, regions)
        return ImplicitSource(self._point_head, self._parameters[regions], labels, self._side)

    def uncertainty(self, points: Tensor) -> Tensor:
        """See :class:`MaskSource`.

        Raises:
            ConfigError: Always.
        """
        raise ConfigError(
            'train_cfg.rcnn selects points by uncertainty, which Implicit PointRend does not know: set '
            "point_selection=dict(type='UniformSelection')"
        )

    def logits(self, points: Tensor, fine: Tensor) -> Tensor:
        """See :class:`MaskSource`."""
        return self._point_head(points, [fine], self._parameters.flatten(1), self._labels)

    def start(self, predict: PredictPoints) -> Tensor:
        """See :class:`MaskSource`."""
        parameters, side = self._parameters, self._side
        grid = regular_grid(side, side, parameters.device).expand(len(parameters), -1, -1)
        return predict(grid).unflatten(2, (side, side)).float()

    def predictor(self, frames: RoIFrames, num_points: int | None = None) -> PointPredictor:
        """See :class:`MaskSource`."""
        return ImplicitPredictor(
            self._point_head,
            frames.levels,
            self._parameters.flatten(1),
            frames.images,
            self._labels,
        )


def _of(labels: Tensor | None, regions: Tensor) -> Tensor | None:
    return None if labels is None else labels[regions]


def mean_of_masks(logits: Sequence[Tensor]) -> Tensor:
    """Average the masks of several mask heads, as mmdet does: the mean of their probabilities, as a logit.

    Args:
        logits: Logits of the same RoIs, each (R, K, h, h).

    Returns:
        Logits, at least float32, shape (R, K, h, h).
    """
    if len(logits) == 1:
        return logits[0]
    stacked = torch.stack(list(logits))
    stacked = stacked.to(torch.promote_types(stacked.dtype, torch.float32))
    # Not through the probabilities, which round to 0 and 1.
    return F.logsigmoid(stacked).logsumexp(0) - F.logsigmoid(-stacked).logsumexp(0)
