# Copyright (c) The mmpointrend authors.
"""What conversions of both tasks ask of a config."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config, ConfigDict
from mmengine.registry import MODELS, DefaultScope

from mmpointrend.errors import ConfigError
from mmpointrend.models.scope import scoped
from mmpointrend.rules import naming

__all__ = ['build', 'building', 'name_of', 'scope_of', 'tapped', 'updated']


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
