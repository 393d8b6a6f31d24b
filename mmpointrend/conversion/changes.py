# Copyright (c) The mmpointrend authors.
"""Changes of a config, to be made or to be written down: entries by key, some of them taken from the config."""

import copy
import keyword
from dataclasses import dataclass
from typing import Any

from mmengine.config import Config, ConfigDict

__all__ = ['Base', 'Each', 'apply', 'code']

_WIDTH = 100


@dataclass(frozen=True)
class Base:
    """A value of the config that is changed.

    Attributes:
        path: Keys and indices from the top, such as ('model', 'decode_head', 0).
        until: End of a slice of the list at ``path``; the whole value if it is None.
    """

    path: tuple[str | int, ...]
    until: int | None = None

    def of(self, cfg: Any) -> Any:
        """The value.

        Args:
            cfg: The config.

        Returns:
            A copy.
        """
        for key in self.path:
            cfg = cfg[key]
        return copy.deepcopy(cfg if self.until is None else cfg[: self.until])

    def __str__(self) -> str:
        keys = [f'.{key}' if isinstance(key, str) else f'[{key}]' for key in self.path]
        return '_base_' + ''.join(keys) + ('' if self.until is None else f'[:{self.until}]')


@dataclass(frozen=True)
class Each:
    """A list of dicts of the config that is changed, each with new entries.

    Attributes:
        base: The list.
        changes: Entries that each gets.
    """

    base: Base
    changes: dict

    def of(self, cfg: Any) -> list:
        """The new list.

        Args:
            cfg: The config.

        Returns:
            Copies with the entries.
        """
        return [{**item, **self.changes} for item in self.base.of(cfg)]

    def __str__(self) -> str:
        entries = ', '.join(f'{key}={code(value)}' for key, value in self.changes.items())
        return f'[dict(stage, {entries}) for stage in {self.base}]'


def apply(changes: dict, cfg: Config) -> Config:
    """A config with changes.

    Args:
        changes: New entries by key, nested; ``_delete_`` as in any config.
        cfg: The config, which stays as it is.

    Returns:
        The new config.
    """
    changed = copy.deepcopy(cfg)
    changed.merge_from_dict({key: _resolved(value, cfg) for key, value in changes.items()})
    return changed


def _resolved(value: Any, cfg: Config) -> Any:
    if isinstance(value, Base | Each):
        return value.of(cfg)
    if isinstance(value, dict):
        return ConfigDict({key: _resolved(item, cfg) for key, item in value.items()})
    return [_resolved(item, cfg) for item in value] if isinstance(value, list) else value


def code(value: Any, indent: int = 0) -> str:
    """Changes as Python.

    Args:
        value: A value of changes.
        indent: Column that the value starts in.

    Returns:
        Its text, over several lines where one is too long.
    """
    if isinstance(value, Base | Each):
        return str(value)
    if not isinstance(value, dict | list):
        return repr(value)
    if isinstance(value, list):
        opening, closing, parts = '[', ']', [('', item) for item in value]
    elif all(
        isinstance(key, str) and key.isidentifier() and not keyword.iskeyword(key) for key in value
    ):
        opening, closing, parts = 'dict(', ')', [(f'{key}=', item) for key, item in value.items()]
    else:
        opening, closing = '{', '}'
        parts = [(f'{key!r}: ', item) for key, item in value.items()]
    line = opening + ', '.join(name + code(item) for name, item in parts) + closing
    if indent + len(line) < _WIDTH and '\n' not in line:
        return line
    inner = indent + 4
    rows = [f'{" " * inner}{name}{code(item, inner)},' for name, item in parts]
    return '\n'.join([opening, *rows, ' ' * indent + closing])
