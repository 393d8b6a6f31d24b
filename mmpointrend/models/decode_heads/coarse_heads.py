# Copyright (c) The mmpointrend authors.
"""What may be a coarse head: heads of one map, cascades of heads, and heads of several maps of which one is meant.

B images, K channels of the logits; ``inputs`` is what a decode head gets.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.model import ModuleList
from mmseg.models.decode_heads.cascade_decode_head import BaseCascadeDecodeHead
from mmseg.models.decode_heads.decode_head import BaseDecodeHead
from mmseg.registry import MODELS as MMSEG_MODELS
from mmseg.utils import add_prefix
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.decode_heads.loss_checks import check_losses
from mmpointrend.models.decode_heads.semantic_point_head import refuse_softmax_of_one_channel
from mmpointrend.models.decode_heads.void_cross_entropy import knowing_void
from mmpointrend.models.scope import build_part, scoped

__all__ = ['CascadedHeads', 'build_coarse_head', 'coarse_losses', 'coarse_map', 'facts_of']

_WHERE = 'decode_head.coarse_head'

# Decode heads of mmseg that return several maps, some in training alone, by the place of their prediction among them.
# Their losses take all of these.
_PREDICTION = {'DAHead': 0, 'DDRHead': 0, 'EncHead': 0, 'IterativeDecodeHead': -1, 'PIDHead': 1}

# Decode heads whose answer is not a map of class logits, by the reason.
_REFUSED = {
    'Mask2FormerHead': 'predicts a set of masks and trains on points of its own: for faster losses there take '
    'mmpointrend.Mask2FormerHead of a detector (docs/any_model.md); for PointRend',
    'MaskFormerHead': 'predicts a set of masks: for PointRend',
    'SideAdapterCLIPHead': 'predicts a set of masks: for PointRend',
    'VPDDepthHead': 'predicts depths: for PointRend',
    'PointHead': 'refines a coarse prediction and is none: mmpointrend.apis.add_pointrend moves a pair of a coarse '
    'head and a PointHead over; otherwise',
}


class CascadedHeads(ModuleList):
    """Heads of a cascade, as OCRNet's: each reads the map of the one before, the last one's is the prediction."""

    def forward(self, inputs: Any) -> list[Tensor]:
        """Maps of all heads.

        Args:
            inputs: What a decode head gets.

        Returns:
            Logits (B, K, h, w) of each head.
        """
        first, *others = self
        maps = [first(inputs)]
        for head in others:
            maps.append(head(inputs, maps[-1]))
        return maps


def _prediction_of(head: nn.Module) -> int | None:
    """Place of a head's prediction among the maps that it returns; None if it returns one map."""
    names = [cls.__name__ for cls in type(head).__mro__]
    return next((_PREDICTION[name] for name in names if name in _PREDICTION), None)


def facts_of(coarse_head: nn.Module) -> Any:
    """The head whose attributes hold for the prediction, such as ``num_classes`` and ``loss_decode``.

    Args:
        coarse_head: Of :func:`build_coarse_head`.

    Returns:
        The last head of a cascade, the base head of K-Net's iterations, or the head itself.
    """
    last = coarse_head[-1] if isinstance(coarse_head, CascadedHeads) else coarse_head
    return getattr(last, 'kernel_generate_head', last)


def coarse_map(coarse_head: nn.Module, maps: Any) -> Tensor:
    """The prediction among what a coarse head returned.

    Args:
        coarse_head: Of :func:`build_coarse_head`.
        maps: What it returned.

    Returns:
        Logits, shape (B, K, h, w).

    Raises:
        ConfigError: It returned anything but a map where one is expected.
    """
    place = -1 if isinstance(coarse_head, CascadedHeads) else _prediction_of(coarse_head)
    if place is not None and isinstance(maps, list | tuple):
        maps = maps[place]
    if not isinstance(maps, Tensor):
        raise ConfigError(
            f'{_WHERE} {type(coarse_head).__name__} returns a {type(maps).__name__}: PointRend refines one map of '
            'logits'
        )
    return maps


def coarse_losses(coarse_head: nn.Module, maps: Any, batch_data_samples: list) -> dict:
    """Losses of all maps of a coarse head.

    Args:
        coarse_head: Of :func:`build_coarse_head`.
        maps: What it returned.
        batch_data_samples: Data samples with ``gt_sem_seg``.

    Returns:
        Losses and accuracies: 'coarse.*' of the prediction, 'coarse_0.*' and so on of the heads of a cascade before it.
    """
    if not isinstance(coarse_head, CascadedHeads):
        head: Any = coarse_head
        return add_prefix(head.loss_by_feat(maps, batch_data_samples), 'coarse')
    losses: dict = {}
    for number, (head, logits) in enumerate(zip(coarse_head, maps, strict=True)):
        prefix = 'coarse' if number == len(coarse_head) - 1 else f'coarse_{number}'
        losses.update(add_prefix(head.loss_by_feat(logits, batch_data_samples), prefix))
    return losses


def _build_one(config: dict, where: str, needs_map: bool) -> BaseDecodeHead:
    cfg = scoped(config, 'mmseg')
    kind = cfg.get('type')
    name = kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', '')
    if name in _REFUSED:
        raise ConfigError(
            f'{where}.type is {kind}, which {_REFUSED[name]} take a head that gives one map of class logits, such as '
            'FPNHead, FCNHead, ASPPHead or UPerHead'
        )
    if 'loss_decode' in cfg:
        cfg.loss_decode = knowing_void(cfg.loss_decode)
    head = build_part(cfg, MMSEG_MODELS, 'mmseg', where)
    cascaded = isinstance(head, BaseCascadeDecodeHead)
    if not isinstance(head, BaseDecodeHead) or cascaded != needs_map:
        hint = (
            'it needs the map of a head before it: make coarse_head a list of the two, the other one first'
            if cascaded
            else 'a head behind the first of a cascade has to read the map before it, as OCRHead does'
            if needs_map
            else 'this head gives something else; take a head such as FPNHead, FCNHead, ASPPHead or UPerHead'
        )
        raise ConfigError(
            f'{where}.type is {cfg.type}: PointRend refines one map of logits, and {hint}'
        )
    facts = facts_of(head)
    if facts.out_channels == 1:
        refuse_softmax_of_one_channel(facts.loss_decode, where)
    losses = facts.loss_decode
    check_losses(
        losses if isinstance(losses, nn.ModuleList) else [losses],
        f'{where}.loss_decode',
        (2, facts.out_channels, 16, 16),
        facts.ignore_index,
    )
    return head


def build_coarse_head(config: Mapping | Sequence[Mapping]) -> Any:
    """Build a coarse head, or refuse it by name.

    Args:
        config: Config of a decode head of mmseg, or of the heads of a cascade in their order.

    Returns:
        The head: one of mmseg, or :class:`CascadedHeads`.

    Raises:
        ConfigError: It gives no map of class logits, or cannot be built.
    """
    if isinstance(config, Mapping):
        return _build_one(dict(config), _WHERE, needs_map=False)
    heads = [
        _build_one(dict(part), f'{_WHERE}[{number}]', needs_map=number > 0)
        for number, part in enumerate(config)
    ]
    channels = {facts_of(head).out_channels for head in heads}
    if len(channels) > 1:
        raise ConfigError(
            f'{_WHERE} is a cascade whose heads have {sorted(channels)} out_channels: set num_classes of all to the '
            'same number'
        )
    return heads[0] if len(heads) == 1 else CascadedHeads(heads)
