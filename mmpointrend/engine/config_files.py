# Copyright (c) The mmpointrend authors.
"""Reading configs: Python is run, JSON and YAML are plain values, and both say what is wrong.

The config's ``default_scope`` tells the task: ``mmdet`` is instance segmentation, ``mmseg``
semantic segmentation.
"""

import ast
import difflib
from pathlib import Path
from typing import Any

from mmengine.config import Config

import mmpointrend
from mmpointrend.data_files import check_regular, read_json, read_yaml
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.plain_configs import complaint_about_types

__all__ = ['OUR_CONFIGS', 'find_config_file', 'is_checkpoint', 'read_config', 'task_of']

OUR_CONFIGS = Path(mmpointrend.__file__).parent / '.mim' / 'configs'
"""Folder of the configs of this package."""

_CHECKPOINTS = ('.ckpt', '.pkl', '.pt', '.pth', '.safetensors')
# mmengine reads a file again for each time that it is named.
_MOST_BASES = 1000
_TASKS = {'mmdet': 'instance', 'mmseg': 'semantic'}


def task_of(cfg: Config) -> str:
    """Task of a config.

    Args:
        cfg: The config.

    Returns:
        ``'instance'`` or ``'semantic'``.

    Raises:
        ConfigError: ``default_scope`` is neither mmdet nor mmseg.
    """
    scope = cfg.get('default_scope')
    if not isinstance(scope, str) or scope not in _TASKS:
        raise ConfigError(
            f"default_scope is {scope!r}: set it to 'mmdet' for instance or 'mmseg' for semantic "
            "segmentation; types of this package are found by their prefix, 'mmpointrend.<Type>'."
        )
    return _TASKS[scope]


def read_config(path: str, options: dict[str, Any] | None = None) -> Config:
    """Read a config of either task.

    Args:
        path: Its file, or its name as :func:`find_config_file` takes it.
        options: Settings that override it, from dotted keys.

    Returns:
        The config.

    Raises:
        ConfigError: There is no such file, it or one that it inherits cannot be read, its
            ``default_scope`` names no task, or it has no model.
    """
    cfg = _config_of(path)
    cfg.merge_from_dict(options or {})
    task_of(cfg)
    if cfg.get('model') is None:
        raise ConfigError(f'{path} has no model: it is a part that whole configs inherit.')
    return cfg


def is_checkpoint(name: str) -> bool:
    """Whether a name is one of a checkpoint, not of a config.

    Args:
        name: Name, path or address.

    Returns:
        True for an address, and for a path that ends as those of checkpoints do.
    """
    return '://' in name or Path(name).suffix in _CHECKPOINTS


def find_config_file(name: str) -> Path:
    """Find a config by path or by name.

    Args:
        name: Path of any config; name of one of this package, with or without ``.py`` and the folder that
            it is in; or either behind ``mmpointrend::``, or a path behind ``mmdet::`` or ``mmseg::``.

    Returns:
        Path of its file.

    Raises:
        ConfigError: There is none.
    """
    package, _, rest = name.rpartition('::')
    if not package and Path(name).exists():
        return Path(name)
    if package in ('', 'mmpointrend'):
        found = {path.stem: path for path in OUR_CONFIGS.glob('[!_]*/*.py')}
        wanted = Path(rest.removesuffix('.py'))
        path = found.get(wanted.name)
        if path is not None and str(wanted.parent) in ('.', path.parent.name):
            return path
        if not package and (wanted.name != name or Path(name).suffix):
            raise ConfigError(f'the config {name} does not exist.')
        close = difflib.get_close_matches(wanted.name, found, n=3, cutoff=0.4)
        hint = f'similar names are {", ".join(close)}' if close else 'none has a similar name'
        raise ConfigError(
            f'there is no config {name} ({hint}): give a path, or a name that `mmpointrend info` lists.'
        )
    try:
        path = Path(Config._get_cfg_path(name, '')[0])
    except Exception as error:
        raise ConfigError(
            f'there is no config {name} ({error}): give a path below the configs of {package}, such as '
            "'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'."
        ) from error
    if not path.is_file():
        raise ConfigError(f'the config {name} does not exist: {package} has no {path}.')
    return path


def _config_of(name: str) -> Config:
    """Read a config; JSON and YAML as plain values, Python is run."""
    path = str(find_config_file(name))
    kind = Path(path).suffix
    if kind not in ('.py', '.json', '.yaml', '.yml'):
        raise ConfigError(f'the config {path} is no config: give a .py, .json, .yaml or .yml file.')
    try:
        check_regular(path, 'the config')
        if kind != '.py':
            content = read_json(path, 'the config') if kind == '.json' else read_yaml(path)
            if not isinstance(content, dict):
                raise ConfigError(f'the config {path} has no keys at its top.')
        _check_bases(Path(path), ())
        cfg = Config.fromfile(path)
        complaint = None if kind == '.py' else complaint_about_types(cfg.to_dict())
        if complaint is not None:
            raise ConfigError(
                f'the config {path} {complaint}; name a registered type, or write it as Python if you '
                'trust it.'
            )
        return cfg
    except InputError as error:
        raise ConfigError(str(error)) from error
    except FileNotFoundError as error:
        raise ConfigError(f'the config {path} names a file that is not there ({error}).') from error
    except RecursionError as error:
        raise ConfigError(f'the config {path} is nested too deeply.') from error
    except Exception as error:
        # Python fails where its program does; values in places of other kinds fail inside mmengine.
        if kind == '.py' or isinstance(error, ConfigError):
            raise
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise ConfigError(
            f'the config {path} cannot be used ({type(error).__name__}: {reason}): correct the entry.'
        ) from error


def _check_bases(path: Path, children: tuple[Path, ...], count: list[int] | None = None) -> None:
    """Refuse bases that mmengine would go round for ever, or wait for: a config among its own, a chain
    that names each of its files several times, a pipe."""
    path = path.resolve()
    if path in children:
        chain = ' <- '.join(str(child) for child in (*children, path))
        raise ConfigError(f'the config {path} inherits itself ({chain}): correct _base_.')
    count = [0] if count is None else count
    count[0] += 1
    if count[0] > _MOST_BASES:
        raise ConfigError(
            f'the config {(*children, path)[0]} inherits more than {_MOST_BASES} files, counted as often '
            'as they are named: correct _base_.'
        )
    if children and path.exists():
        check_regular(path, 'the config')
    for base in _bases_of(path):
        _check_bases(path.parent / base, (*children, path), count)


def _bases_of(path: Path) -> list[str]:
    """Files that a config inherits, as far as it names them plainly."""
    try:
        if path.suffix == '.py':
            values = [
                ast.literal_eval(node.value)
                for node in ast.parse(path.read_text(encoding='utf-8')).body
                if isinstance(node, ast.Assign) and '_base_' in map(ast.unparse, node.targets)
            ]
        else:
            content = read_json(path) if path.suffix == '.json' else read_yaml(path)
            values = [content.get('_base_', [])]
    except (OSError, ValueError, SyntaxError, AttributeError):
        return []
    names = [name for value in values for name in (value if isinstance(value, list) else [value])]
    return [name for name in names if isinstance(name, str) and '::' not in name]
