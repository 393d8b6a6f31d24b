# Copyright (c) The mmpointrend authors.
"""Feature maps for the point heads that no head gets otherwise: a backbone's levels behind a neck, any layer.

A detector hands its RoI head, a segmentor its decode head, what the neck returns. The paper's semantic models read
res2 of the backbone all the same, and a backbone may return the last stage alone. Two types of config keep more:

.. code-block:: python

    backbone=dict(type='mmpointrend.TappedBackbone', of='mmdet.ResNet', layers=['layer1'], ...)
    neck=dict(type='mmpointrend.TappedNeck', of='mmdet.FPN', ...)

Each builds the module of type ``of`` with all other keys, and lets it return :class:`Levels`, a tuple of what it
returned before. Nothing else of a model changes, names of weights included.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.registry import MODELS as MMENGINE_MODELS
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.registry import MODELS
from mmpointrend.rules import Rule, check, listed, naming

__all__ = ['Levels', 'level_of', 'original', 'tapped_backbone', 'tapped_neck']

_NAME = Rule('the name of a type', lambda value: isinstance(value, str) and value != '')


class Levels(tuple):
    """Feature levels, with those that were kept besides.

    Attributes:
        original: What the module returned: a tuple or list of levels, or one map.
        kept: Maps by name: 'backbone.0' is the backbone's first level, 'backbone.layer1' its layer of that name.
    """

    original: Any
    kept: dict[str, Tensor]

    @classmethod
    def of(cls, output: Any, kept: Mapping[str, Tensor]) -> 'Levels':
        """Levels of an output.

        Args:
            output: What a module returned.
            kept: Maps by name, besides those that the output itself has kept.

        Returns:
            The levels.
        """
        levels = cls([output] if isinstance(output, Tensor) else output)
        levels.original = original(output)
        levels.kept = {**getattr(output, 'kept', {}), **kept}
        return levels


def original(levels: Any) -> Any:
    """What a backbone or neck returns without taps.

    Args:
        levels: What it returned.

    Returns:
        The same, or what is in :class:`Levels`.
    """
    return levels.original if isinstance(levels, Levels) else levels


def level_of(levels: Any, index: int | str, where: str, given: Any = None) -> Tensor:
    """A fine feature level by number or name.

    Args:
        levels: What a head gets: feature levels (B, C, H, W), or one map.
        index: Number of a level, negative ones from the end, or the name of a map that was kept.
        where: The key's name in a config.
        given: The key's value, if it is a list of several.

    Returns:
        The map, shape (B, C, H, W).

    Raises:
        ConfigError: There is no such level.
    """
    if isinstance(index, str):
        kept = getattr(levels, 'kept', {})
        if index not in kept:
            known = f'kept are {", ".join(kept)}' if kept else 'nothing is kept'
            raise ConfigError(
                f"{where} names {index!r}, but {known}: set model.neck.type to 'mmpointrend.TappedNeck', or "
                "model.backbone.type to 'mmpointrend.TappedBackbone' with it in layers, and model.*.of to the type "
                'that was there'
            )
        return kept[index]
    if isinstance(levels, Tensor):
        levels = [levels]
    if not -len(levels) <= index < len(levels):
        raise ConfigError(
            f'{where} is {index if given is None else given}, but the head gets {len(levels)} feature levels: choose '
            f'from 0 to {len(levels) - 1}'
        )
    level = levels[index]
    # A transformer with its class token beside the map.
    return level[0] if isinstance(level, list | tuple) else level


class _KeepLayer:
    """Forward hook of a layer that puts its output aside."""

    def __init__(self, kept: dict[str, Tensor], name: str) -> None:
        self.kept, self.name = kept, name

    def __call__(self, module: nn.Module, inputs: tuple, output: Any) -> None:
        self.kept[self.name] = output


class _HandOn:
    """Forward hook of a backbone that hands on its layers' outputs, which do not outlive the call."""

    def __init__(self, kept: dict[str, Tensor]) -> None:
        self.kept = kept

    def __call__(self, module: nn.Module, inputs: tuple, output: Any) -> Levels:
        levels = Levels.of(output, self.kept)
        self.kept.clear()
        return levels


def _keep_inputs(module: nn.Module, inputs: tuple, output: Any) -> Levels:
    """Forward hook of a neck that hands on its inputs as 'backbone.0' and so on."""
    (levels,) = inputs
    numbered = {
        f'backbone.{number}': level
        for number, level in enumerate(levels)
        if isinstance(level, Tensor)
    }
    return Levels.of(output, {**getattr(levels, 'kept', {}), **numbered})


def _build(part: str, of: str, config: dict) -> Any:
    check({'of': of}, f'model.{part}', {'of': _NAME})
    with naming(f'model.{part}'):
        return MMENGINE_MODELS.build({'type': of, **config})


@MODELS.register_module(name='TappedBackbone')
def tapped_backbone(of: str, layers: Sequence[str], **config: Any) -> Any:
    """Build a backbone that hands on outputs of its layers besides its levels.

    Args:
        of: Type of the backbone.
        layers: Names of layers, such as 'layer1' (res2 of a ResNet), 'stem.2'; each output is one map, and is named
            'backbone.layer1' and so on.
        **config: The backbone's other keys.

    Returns:
        The backbone.

    Raises:
        ConfigError: It has no such layer.
    """
    names = listed(Rule('the name of a layer', lambda value: isinstance(value, str)))
    check({'layers': layers}, 'model.backbone', {'layers': names})
    backbone = _build('backbone', of, config)
    modules = dict(backbone.named_modules())
    kept: dict[str, Tensor] = {}
    for name in layers:
        if name not in modules or name == '':
            raise ConfigError(
                f'model.backbone.layers names {name!r}, which {type(backbone).__name__} does not have: take from '
                f'{", ".join(name for name, _ in backbone.named_children())}, or a layer within'
            )
        modules[name].register_forward_hook(_KeepLayer(kept, f'backbone.{name}'))
    backbone.register_forward_hook(_HandOn(kept))
    return backbone


@MODELS.register_module(name='TappedNeck')
def tapped_neck(of: str, **config: Any) -> Any:
    """Build a neck that hands on the backbone's levels besides its own.

    Args:
        of: Type of the neck.
        **config: The neck's other keys.

    Returns:
        The neck.
    """
    neck = _build('neck', of, config)
    neck.register_forward_hook(_keep_inputs)
    return neck
