# Copyright (c) The mmpointrend authors.
"""What is built of a config that arrives with every call."""

import copy
from collections.abc import Callable, Mapping
from typing import Generic, TypeVar

__all__ = ['BuiltOnce']

_Built = TypeVar('_Built')


class BuiltOnce(Generic[_Built]):
    """A function of a config that is called again only if the config has changed.

    mmseg hands a model's ``train_cfg`` and ``test_cfg`` to the decode head in every step.

    Args:
        build: Builds what is wanted of a config.
    """

    def __init__(self, build: Callable[[Mapping], _Built]) -> None:
        self._build = build
        self._last: tuple[Mapping, _Built] | None = None

    def __call__(self, config: Mapping) -> _Built:
        """What the config asks for."""
        if self._last is None or self._last[0] != config:
            # A copy, for a config may be changed in place.
            self._last = copy.deepcopy(config), self._build(config)
        return self._last[1]
