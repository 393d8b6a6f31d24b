# Copyright (c) The mmpointrend authors.
"""Building parts of other packages from inside our heads, whatever the default scope is."""

from typing import Any

from mmengine.config import ConfigDict
from mmengine.registry import Registry

from mmpointrend.rules import PART, check, naming

__all__ = ['build_part', 'scoped']


def scoped(cfg: dict, scope: str) -> Any:
    """Config whose unprefixed ``type`` is looked up in the task's own package.

    Without it, an ``FPNHead`` under our head would be looked up in whatever the default scope is: nothing, mmdet,
    mmseg, or ours when the config was inherited as ``mmpointrend::``.

    Args:
        cfg: Config of the part.
        scope: Scope of the package, such as 'mmdet'; a ``_scope_`` of the config's own wins.

    Returns:
        A copy of the config, a ``ConfigDict``, with ``_scope_`` set.
    """
    return ConfigDict({'_scope_': scope, **cfg})


def build_part(cfg: Any, registry: Registry, scope: str, where: str) -> Any:
    """Build a part, or refuse it in one sentence, whoever's it is.

    Args:
        cfg: Config of the part, with a ``type``.
        registry: Where the type is looked up.
        scope: As in :func:`scoped`.
        where: The part's name in a config, such as 'roi_head.mask_head.loss_mask'.

    Returns:
        The part.

    Raises:
        ConfigError: It is not the config of a part, there is no such type, or the type refuses its arguments.
    """
    parent, _, key = where.rpartition('.')
    check({key: cfg}, parent, {key: PART})
    with naming(where):
        return registry.build(scoped(cfg, scope))
