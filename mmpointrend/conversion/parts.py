# Copyright (c) The mmpointrend authors.
"""What conversions of both tasks ask of a config."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.scope import scoped
from mmpointrend.rules import naming

__all__ = ['build', 'building', 'name_of', 'scope_of', 'tapped', 'updated']


# Sides of images that a model is tried on, in pixels, if its backbone takes any: some heads pool maps of a large one.
SIDES = (128, 512)


def name_of(kind: Any) -> str:
    """The name of a ``type`` without its package.

    Args:
        kind: A name, with or without package, or a class.

    Returns:
        The name.
    """
    return (
        kind.rpartition('.')[2] if isinstance(kind, str) else getattr(kind, '__name__', str(kind))
    )


def scope_of(cfg: Config) -> str:
    """The package that a config's types belong to.

    Args:
        cfg: The config.

    Returns:
        'mmdet', 'mmseg' or another; 'mmdet' or 'mmseg' by its heads where the config does not say.
    """
    return cfg.get('default_scope') or ('mmseg' if 'decode_head' in cfg.model else 'mmdet')


@contextmanager
def building(cfg: Config) -> Iterator[None]:
    """Context in which parts of a config are built without a trace: random numbers and default scope stay.

    Args:
        cfg: The config.
    """
    with (
        DefaultScope.overwrite_default_scope(scope_of(cfg)),
        torch.random.fork_rng(devices=[]),
        torch.no_grad(),
    ):
        yield


def build(cfg: Config, key: str) -> Any:
    """Build a part of a model to learn what it gives.

    Args:
        cfg: The config.
        key: 'backbone' or 'neck'.

    Returns:
        The part in evaluation mode, without weights of a file.

    Raises:
        ConfigError: It cannot be built here.
    """
    part = scoped(cfg.model[key], scope_of(cfg))
    kind = part.get('type')
    if isinstance(kind, str) and '.' in kind:
        package = kind.partition('.')[0]
        try:
            __import__(package)
        except ImportError as error:
            raise ConfigError(
                f'model.{key}.type is {kind}, but {package} cannot be imported: install it first ({error})'
            ) from error
    with naming(f'model.{key} of type {name_of(kind)}'):
        try:
            built = MODELS.build(part)
        except ImportError as error:
            raise ConfigError(
                f'model.{key} of type {name_of(kind)} needs a package that is missing: {error}'
            ) from error
    # mmseg's ResNet does not return itself.
    built.eval()
    return built


def tapped(cfg: Config, key: str, **keys: Any) -> dict:
    """Changes that let a backbone or neck keep fine features, see :mod:`mmpointrend.models.taps`.

    Args:
        cfg: The config.
        key: 'backbone' or 'neck'.
        **keys: Further keys of it.

    Returns:
        The changes of the part.
    """
    kind = cfg.model[key].type
    if not isinstance(kind, str):
        kind = kind.__name__
    whole = kind if '.' in kind else f'{scope_of(cfg)}.{kind}'
    return {'type': f'mmpointrend.Tapped{key.capitalize()}', 'of': whole, **keys}


def updated(parent: ConfigDict, key: str, changes: dict) -> dict:
    """Changes of an entry that may be missing or None.

    Args:
        parent: What the entry is in.
        key: Its key.
        changes: New entries.

    Returns:
        The changes, with ``_delete_`` where mmengine would not merge them.
    """
    gone = key in parent and not isinstance(parent[key], dict)
    return {'_delete_': True, **changes} if gone else changes


@dataclass(frozen=True)
class Level:
    """A map that the point head can read.

    Attributes:
        index: Its number among the feature levels, or its name, such as 'backbone.layer1'.
        channels: Its channels.
        stride: In pixels of the image.
    """

    index: int | str
    channels: int
    stride: float


class TriedBackbone:
    """What a backbone gives of an image; in a context of :func:`building`.

    Attributes:
        height: Height of the image.
        outputs: What the backbone returned.
        layers: Maps of its layers, and of those within, in the order of their computation.

    Args:
        cfg: The config.
        side: Side of the image in pixels, if the backbone takes any.

    Raises:
        ConfigError: The backbone cannot be built, or cannot read the image.
    """

    def __init__(self, cfg: Config, side: int = SIDES[0]) -> None:
        size: Any = cfg.model.backbone.get('img_size') or side
        height, width = (size, size) if isinstance(size, int) else size
        self.height = int(height)
        channels = len((cfg.model.get('data_preprocessor') or {}).get('mean') or (0, 0, 0))
        backbone = build(cfg, 'backbone')
        self._calls: dict[str, int] = {}
        self._maps: dict[str, Level] = {}
        for name, module in backbone.named_modules():
            if name and len(name.split('.')) <= 2:
                self._watch(name, module)
        with naming('model.backbone', f' cannot read an image of {self.height}x{width}'):
            self.outputs = backbone(torch.zeros(1, channels, self.height, width))
        self.layers = list(self._maps.values())

    def _watch(self, name: str, module: nn.Module) -> None:
        def note(module: nn.Module, inputs: tuple, output: Any) -> None:
            self._calls[name] = self._calls.get(name, 0) + 1
            # Of a layer that is run several times no single map is meant.
            self._maps.pop(name, None)
            if self._calls[name] == 1 and isinstance(output, Tensor) and output.ndim == 4:
                self._maps[name] = self.level(f'backbone.{name}', output)

        module.register_forward_hook(note)

    def level(self, index: int | str, output: Tensor) -> Level:
        """A map of the image as a level.

        Args:
            index: Its number or name.
            output: The map, shape (1, C, H, W).

        Returns:
            The level.
        """
        return Level(index, output.shape[1], self.height / output.shape[2])

    def levels(self, outputs: Any, prefix: str = '') -> list[Level]:
        """The levels among what a part returned.

        Args:
            outputs: Feature levels; of a transformer each may have its class token beside it.
            prefix: What stands before their numbers, as in 'backbone.0'; they are numbers without it.

        Returns:
            The levels.
        """
        found = []
        for number, level in enumerate(outputs):
            level = level[0] if isinstance(level, list | tuple) else level
            if isinstance(level, Tensor) and level.ndim == 4:
                found.append(self.level(f'{prefix}{number}' if prefix else number, level))
        return found

    def finest_layer(self) -> Level:
        """The last layer of stride 4, or of the next stride that there is: before it are edges and colours.

        Returns:
            Its map.
        """
        layers = [layer for layer in self.layers if layer.stride >= 4]
        finest = min(layer.stride for layer in layers)
        return [layer for layer in layers if layer.stride == finest][-1]
