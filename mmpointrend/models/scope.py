# Copyright (c) The mmpointrend authors.
"""Building parts of other packages from inside our heads, whatever the default scope is."""

from typing import Any

from mmengine.config import ConfigDict

__all__ = ['scoped']


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
