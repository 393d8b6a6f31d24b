# Copyright (c) The mmpointrend authors.
"""Models by name, path or checkpoint, with weights from wherever they are."""

import copy
import logging
import os
from pathlib import Path
from typing import Any

import torch
from mmdet.visualization import get_palette
from mmengine.config import Config
from mmengine.device import get_device
from mmengine.logging import print_log
from mmengine.model import BaseModel, revert_sync_batchnorm
from mmengine.registry import DATASETS, MODELS, DefaultScope
from mmengine.runner import CheckpointLoader
from mmengine.runner.checkpoint import load_state_dict

from mmpointrend.checkpoints.download import download
from mmpointrend.engine.checkpoint import check_fit, watch_loading
from mmpointrend.engine.checks import leaves
from mmpointrend.engine.config_files import find_config_file, is_checkpoint, read_config, task_of
from mmpointrend.engine.detectron2 import convert, load_weights
from mmpointrend.engine.model_index import published_models
from mmpointrend.errors import CheckpointError, ConfigError

__all__ = ['load_model']

# Files that only detectron2's models come in.
_OF_DETECTRON2 = ('.npz', '.pkl')


def load_model(
    config: str | os.PathLike[str] | Config,
    weights: str | os.PathLike[str] | None = None,
    *,
    device: str | None = None,
    trust_config: bool = False,
    cfg_options: dict[str, Any] | None = None,
) -> BaseModel:
    """Load a model of either task, ready for :func:`~mmpointrend.apis.predict`.

    Args:
        config: Name of a config of this package; path of any config; a name or path behind
            ``mmpointrend::``, or a path behind ``mmdet::`` or ``mmseg::``; a config that was read; or path
            or address of a checkpoint that carries its config.
        weights: Path or address of a checkpoint: ours, mmdet's or mmseg's, or a model of detectron2's
            (``.pkl``, ``.npz``, ``.pth``), which is converted. None takes the published weights of the
            name, or those of the checkpoint given as ``config``.
        device: Such as ``'cpu'`` or ``'cuda:0'``; None takes a GPU if there is one.
        trust_config: Whether the config that a checkpoint carries may be used. It is Python of whoever wrote
            the checkpoint.
        cfg_options: Settings that override the config, from dotted keys.

    Returns:
        The model in evaluation mode on the device. ``model.cfg`` is its config, ``model.dataset_meta`` has its
        ``classes`` and ``palette``.

    Raises:
        ConfigError: There is no such config, it cannot be used, or it has no published weights; or this
            machine's torch cannot use the device.
        CheckpointError: The weights cannot be read, or are of another model.
    """
    config = config if isinstance(config, Config) else os.fspath(config)
    weights = None if weights is None else os.fspath(weights)
    device = device or get_device()
    _check_device(device)
    checkpoint: dict[str, Any] | None = None
    if isinstance(config, str) and is_checkpoint(config):
        if weights is not None:
            raise ConfigError(
                f'{config} and {weights} are both checkpoints: give a config first, then the weights.'
            )
        weights = config
        checkpoint = CheckpointLoader.load_checkpoint(weights, map_location='cpu')
        cfg = _carried_config(weights, checkpoint, trust_config)
    elif isinstance(config, str):
        cfg = read_config(config)
        weights = _published_weights(config) if weights is None else weights
    else:
        cfg = copy.deepcopy(config)
        if weights is None:
            raise ConfigError('a config that was read has no published weights: give weights=...')
    cfg.merge_from_dict(cfg_options or {})
    task_of(cfg)
    if checkpoint is None:
        checkpoint = _read_weights(weights, cfg)
    with DefaultScope.overwrite_default_scope(cfg.default_scope):
        # A copy, for mmseg's segmentors write into their config.
        model = revert_sync_batchnorm(MODELS.build(copy.deepcopy(cfg.model)))
        _fill(model, checkpoint, weights)
        model.dataset_meta = _dataset_meta(cfg, checkpoint)
    model.cfg = cfg
    return model.to(device).eval()


def _check_device(device: str) -> None:
    # Only a tensor there shows that a device can be used: torch raises these errors without one of its own.
    try:
        torch.zeros(1, device=device)
    except (AssertionError, NotImplementedError, RuntimeError) as error:
        reason = str(error).partition('\n')[0]
        raise ConfigError(
            f'the device {device} cannot be used ({reason}): give cpu, or a GPU that `mmpointrend doctor` shows.'
        ) from error


def _carried_config(filename: str, checkpoint: dict[str, Any], trusted: bool) -> Config:
    """The config in a checkpoint: a name of ours, or Python if it is trusted."""
    meta = checkpoint.get('meta') or {}
    name, text = meta.get('config'), meta.get('cfg')
    if not text and isinstance(name, str) and name in published_models():
        return read_config(name)
    if not isinstance(text, str):
        raise ConfigError(
            f'the checkpoint {filename} carries no config that can be used: give the config by name or '
            'path, and the checkpoint as weights.'
        )
    if not trusted:
        raise ConfigError(
            f'the checkpoint {filename} carries its config, which is Python of whoever wrote it: give the '
            'config by name or path and the checkpoint as weights, or trust_config=True (--trust-config) if you '
            'trust it.'
        )
    return Config.fromstring(text, '.py')


def _published_weights(config: str) -> str:
    file = find_config_file(config)
    entry = published_models().get(file.stem)
    if entry is None or not file.samefile(entry.config):
        raise ConfigError(
            f'the config {config} is not one of mmpointrend, whose published weights are known: give '
            'weights=...'
        )
    return entry.weights


def _read_weights(filename: str, cfg: Config) -> dict[str, Any]:
    """A checkpoint with our names, whosoever's it is."""
    is_address = filename.startswith(('http://', 'https://'))
    if Path(filename.partition('?')[0]).suffix in _OF_DETECTRON2:
        path = (
            str(download(filename, lambda new: load_weights(str(new)))) if is_address else filename
        )
        weights = load_weights(path)
    else:
        checkpoint = CheckpointLoader.load_checkpoint(filename, map_location='cpu')
        # What detectron2's training writes.
        if 'state_dict' in checkpoint or not isinstance(checkpoint.get('model'), dict):
            return checkpoint
        weights = checkpoint['model']
    try:
        return {'state_dict': convert(weights, cfg).state_dict}
    except CheckpointError as error:
        raise CheckpointError(f'{filename}: {error}; give the config that they are of.') from error


def _fill(model: BaseModel, checkpoint: dict[str, Any], filename: str) -> None:
    """Load the weights; all of the model's tensors have to be there."""
    weights = checkpoint.get('state_dict', checkpoint)
    state = type(weights)((name.removeprefix('module.'), value) for name, value in weights.items())
    if hasattr(weights, '_metadata'):
        state._metadata = weights._metadata
    with watch_loading(model) as report:
        load_state_dict(model, state, strict=False, logger='silent')
    check_fit(filename, report, 'predict with')
    if report.unexpected:
        print_log(f'Of {filename} {report}.', 'current', logging.WARNING)


def _dataset_meta(cfg: Config, checkpoint: dict[str, Any]) -> dict[str, Any]:
    """Classes, the checkpoint's before the config's, and their colours, the other way round."""
    meta = checkpoint.get('meta') or {}
    saved = meta.get('dataset_meta') or {key: meta.get(key) for key in ('CLASSES', 'PALETTE')}
    saved = {str(key).lower(): value for key, value in saved.items()}
    stated: dict[str, Any] = {}
    if cfg.get('test_dataloader') is not None:
        dataset, *_ = leaves(cfg.test_dataloader.dataset)
        stated = DATASETS.build({**dataset, 'lazy_init': True}).metainfo
    classes = saved.get('classes') or stated.get('classes')
    if not classes:
        raise ConfigError(
            'neither the checkpoint nor test_dataloader.dataset of the config says which classes there are: '
            'set test_dataloader.dataset.metainfo=dict(classes=...).'
        )
    classes = (classes,) if isinstance(classes, str) else tuple(classes)
    palette = stated.get('palette') or saved.get('palette')
    if not isinstance(palette, list | tuple) or len(palette) < len(classes):
        palette = get_palette('random', len(classes))
    return {'classes': classes, 'palette': [tuple(map(int, colour)) for colour in palette]}
