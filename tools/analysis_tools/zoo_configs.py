# Copyright (c) The mmpointrend authors.
"""The configs that the installed mmdet and mmseg ship, loaded once: mmdet's alone take minutes."""

import ast
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

__all__ = ['ZooConfig', 'zoo']

_PROJECTS = {'mmdet': 'mmdet', 'mmseg': 'mmsegmentation'}
_CACHE = Path(os.environ.get('XDG_CACHE_HOME', Path.home() / '.cache')) / 'mmpointrend' / 'zoo'


@dataclass(frozen=True)
class ZooConfig:
    """A config of a package.

    Attributes:
        package: 'mmdet' or 'mmseg'.
        name: Its path below the package's configs, with '/'.
        path: Its file.
        cache: Folder that loaded models are kept in.
    """

    package: str
    name: str
    path: Path
    cache: Path

    @property
    def family(self) -> str:
        """The folder that it is in."""
        return self.name.partition('/')[0]

    def load(self) -> Config:
        """The model of the config with its default scope, from the cache if it is there.

        Returns:
            A config with 'model' and 'default_scope' alone.

        Raises:
            ValueError: The config cannot be loaded; the reason is kept too.
        """
        kept = (
            self.cache / f'{self.package}-{version(_PROJECTS[self.package])}' / f'{self.name}.txt'
        )
        if kept.is_file():
            content = ast.literal_eval(kept.read_text())
        else:
            content = self._content()
            text = repr(content)
            if ast.literal_eval(text) == content:
                kept.parent.mkdir(parents=True, exist_ok=True)
                kept.with_suffix('.part').write_text(text)
                kept.with_suffix('.part').replace(kept)
        if 'error' in content:
            raise ValueError(content['error'])
        return Config(content)

    def _content(self) -> dict[str, Any]:
        """Values of the config, or the reason why there are none."""
        try:
            cfg = Config.fromfile(str(self.path))
        except Exception as error:
            return {'error': ' '.join(f'{type(error).__name__}: {error}'.split())}
        model = cfg.get('model')
        content = {'model': _values(model), 'default_scope': cfg.get('default_scope')}
        return content


def _values(node: Any) -> Any:
    """Values without mmengine's types; functions and numbers that Python cannot write down as their text."""
    if isinstance(node, dict):
        return {key: _values(value) for key, value in node.items()}
    if isinstance(node, list | tuple):
        return type(node)(_values(value) for value in node)
    plain = node is None or isinstance(node, bool | int | float | str)
    if plain and not (isinstance(node, float) and not math.isfinite(node)):
        return node
    return str(node)


def zoo(package: str, cache: Path | None = None) -> Iterator[ZooConfig]:
    """All configs of a package, in the order of their names.

    Args:
        package: 'mmdet' or 'mmseg'.
        cache: Folder for loaded models; one of the user's by default.

    Yields:
        Each config.
    """
    spec = find_spec(package)
    assert spec is not None and spec.origin is not None
    configs = Path(spec.origin).parent / '.mim' / 'configs'
    for path in sorted(configs.rglob('*.py')):
        name = path.relative_to(configs).as_posix()
        if not name.startswith('_base_') and '/_base_/' not in name:
            yield ZooConfig(package, name, path, cache or _CACHE)
