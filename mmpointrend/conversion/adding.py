# Copyright (c) The mmpointrend authors.
"""A model's config with PointRend: as a config, and as a file of a few lines that inherits the original."""

import os
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from mmengine.config import Config

from mmpointrend.conversion.changes import apply, code
from mmpointrend.conversion.parts import name_of
from mmpointrend.engine.config_files import read_config
from mmpointrend.engine.launch import output_file
from mmpointrend.errors import ConfigError

__all__ = ['add_pointrend', 'convert_config']

_SOURCES = ('neck', 'backbone')
_PACKAGES = ('mmdet', 'mmseg', 'mmpointrend')


def _changes(cfg: Config, fine_from: str) -> dict:
    if fine_from not in _SOURCES:
        raise ConfigError(f"fine_from is {fine_from!r}: set it to 'neck' or 'backbone'")
    model = cfg.get('model')
    if not isinstance(model, dict) or 'type' not in model:
        raise ConfigError('the config has no model: give the config of a detector or a segmentor')
    if 'decode_head' in model:
        from mmpointrend.conversion.semantic import semantic_changes

        return {'model': semantic_changes(cfg, fine_from)}
    if 'roi_head' in model:
        from mmpointrend.conversion.instance import instance_changes

        return {'model': instance_changes(cfg, fine_from)}
    raise ConfigError(_without_heads(model))


def _without_heads(model: Any) -> str:
    kind = name_of(model.type)
    head = name_of((model.get('panoptic_head') or {}).get('type'))
    if 'Mask2Former' in kind or head == 'Mask2FormerHead':
        return (
            f'model.type is {kind}, whose head trains at points of its own and renders no mask: set '
            "panoptic_head.type to 'mmpointrend.Mask2FormerHead' for the same losses in less time and memory; for "
            'PointRend take a detector with an RoI mask head'
        )
    return (
        f'model.type is {kind}, which has neither an RoI head nor a decode head: PointRend refines the masks of a '
        'two-stage detector, such as Mask R-CNN, or the map of an EncoderDecoder'
    )


def add_pointrend(cfg: Config, fine_from: str = 'neck') -> Config:
    """Add PointRend to any two-stage mask detector of mmdet and any ``EncoderDecoder`` of mmseg.

    The rest of the model stays: backbone, neck, boxes, auxiliary heads, data, schedule. What PointRend needs to know is
    read from the config, and, of a segmentor, from its model, which is built once without weights. A config of mmdet's
    or mmseg's own PointRend is moved over.

    Args:
        cfg: The config, which stays as it is.
        fine_from: Where the point head's features come from: 'neck', the finest level that the heads get (P2), or
            'backbone', the finest of the backbone (res2).

    Returns:
        The new config.

    Raises:
        ConfigError: PointRend cannot be added: the message says why, and what to do.
    """
    return apply(_changes(cfg, fine_from), cfg)


def convert_config(config: str | Path, out: str | Path, fine_from: str = 'neck') -> Config:
    """Write a config that inherits another one and adds PointRend.

    Args:
        config: A config's file, or its name in a package, such as
            'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'.
        out: The file to write, ending in ``.py``.
        fine_from: See :func:`add_pointrend`.

    Returns:
        The config that was written.

    Raises:
        ConfigError: PointRend cannot be added, the config cannot be read or inherited, or ``out`` is not a Python file.
        InputError: ``out`` cannot be written.
    """
    path = Path(out)
    if path.suffix != '.py':
        raise ConfigError(f'{out} does not end in .py: give the new config a name that does')
    source = _file_of(str(config))
    if path.resolve() == source.resolve():
        raise ConfigError(f'{out} is the config itself: give the new one a name of its own')
    if source.suffix == '.py' and Config._is_lazy_import(str(source)):
        raise ConfigError(
            f'{config} is in the style of Python modules (read_base), which a config of _base_ cannot inherit: take '
            'the config of the same model without it, or call mmpointrend.apis.add_pointrend on the loaded one'
        )
    cfg = read_config(str(source))
    changes = _changes(cfg, fine_from)
    text = '\n'.join(
        [
            f'# {source.stem} with PointRend.',
            f'_base_ = {_reference(source, path)!r}',
            '',
            f'model = {code(changes["model"])}',
            '',
        ]
    )
    output_file(path).write_text(text)
    return Config.fromfile(str(path))


def _file_of(config: str) -> Path:
    """The file of a config that is named by its path or by its package."""
    package, separator, _ = config.partition('::')
    if separator and find_spec(package) is None:
        raise ConfigError(
            f'{config} is of {package}, which is not installed: install it, or give a path'
        )
    try:
        return Path(Config._get_cfg_path(config, '')[0])
    except (FileNotFoundError, KeyError, ValueError) as error:
        raise ConfigError(
            f'{config} does not exist: give the path of a config, or PACKAGE::NAME'
        ) from error


def _reference(source: Path, out: Path) -> str:
    """How ``_base_`` names a config: by its package, or by the way from the new one."""
    for package in _PACKAGES:
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            continue
        configs = (Path(spec.origin).parent / '.mim' / 'configs').resolve()
        if source.resolve().is_relative_to(configs):
            return f'{package}::{source.resolve().relative_to(configs).as_posix()}'
    return Path(os.path.relpath(source.resolve(), out.resolve().parent)).as_posix()
