# Copyright (c) The mmpointrend authors.
"""Data loaders that cannot work with their workers, their batches or their augmentations."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from mmengine.dataset import DefaultSampler
from mmengine.dist import get_world_size
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader

from mmpointrend.engine.checks.dataset import leaves
from mmpointrend.engine.checks.settings import single_pixel_norms
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.rules import Rule, check, whole

__all__ = [
    'BatchSizeHook',
    'check_loader_config',
    'check_mask_augmentations',
    'check_single_images',
    'without_idle_workers',
]

# Settings of workers that PyTorch refuses where there are none, and what they are then.
_OF_WORKERS = {
    'persistent_workers': False,
    'prefetch_factor': None,
    'multiprocessing_context': None,
}

# Transforms of mmdet that read or write masks as bitmaps: polygons have no such operation.
_NEED_BITMAPS = frozenset(['Albu', 'CopyPaste', 'Expand', 'RandomErasing'])
# Those that move images and boxes and leave masks where they were, or refuse them, and what to take instead.
_LEAVE_MASKS = {
    'Mosaic': 'CachedMosaic',
    'MixUp': 'CachedMixUp',
    'RandomAffine': 'RandomResize, Rotate, ShearX or TranslateX',
    'RandomCenterCropPad': 'RandomCrop and Pad',
    'RandomShift': 'TranslateX and TranslateY',
}


def check_loader_config(cfg: Any, name: str) -> None:
    """Refuse a data loader's config that lacks something or has a wrong number.

    Args:
        cfg: The config; a loader that is built already passes.
        name: Its name in the config of the run, such as 'train_dataloader'.

    Raises:
        ConfigError: The message names the key.
    """
    if isinstance(cfg, DataLoader):
        return
    if isinstance(cfg, list | tuple):
        raise ConfigError(f'{name} is a list of {len(cfg)}: set it to one dict')
    dataset = Rule('a dict(type=...)', lambda value: value is not None)
    rules = {
        'dataset': dataset.needed(),
        'sampler': Rule("dict(type='DefaultSampler', shuffle=...)", dataset.accepts, True),
        'num_workers': whole(0),
    }
    batches = cfg.get('batch_sampler') if isinstance(cfg, Mapping) else None
    # PyTorch's own is 1, and mmengine asks for one where it builds a batch sampler.
    if batches is None or isinstance(batches, Mapping):
        rules['batch_size'] = whole(1) if batches is None else whole(1).needed()
    check(cfg, name, rules)


def without_idle_workers(cfg: Mapping) -> Mapping:
    """Config of a data loader without settings of workers that it does not have, which is said.

    Args:
        cfg: Its config.

    Returns:
        The config, or a copy without them.
    """
    if cfg.get('num_workers', 0) != 0:
        return cfg
    idle = {key: value for key, value in _OF_WORKERS.items() if (cfg.get(key) or None) is not None}
    if not idle:
        return cfg
    print_log(
        f'A data loader with num_workers=0 has no use for {", ".join(idle)}: switched off.',
        'current',
        logging.WARNING,
    )
    return {**cfg, **idle}


def check_mask_augmentations(dataset: Any) -> None:
    """Refuse augmentations that leave masks behind, and those of bitmaps where ``poly2mask=False`` keeps polygons.

    Args:
        dataset: A built dataset, under any stack of wrappers.

    Raises:
        ConfigError: The message names the transform.
    """
    loading = [
        step
        for leaf in leaves(dataset)
        for step in _own_steps(leaf)
        if getattr(step, 'with_mask', False)
    ]
    if not loading:
        return
    polygons = not all(getattr(step, 'poly2mask', True) for step in loading)
    steps = [(step, _name_in_mmdet(step)) for step in _steps(dataset)]
    # All at once: each of them would be the next error.
    leaving = sorted(
        {name for step, name in steps if name == type(step).__name__} & {*_LEAVE_MASKS}
    )
    if leaving:
        instead = ', and '.join(f'{_LEAVE_MASKS[name]} instead of {name}' for name in leaving)
        raise ConfigError(
            f'the pipeline has {" and ".join(leaving)}, which {"move" if len(leaving) > 1 else "moves"} images and '
            f'boxes but not their masks: take {instead}, or with_mask=False in LoadAnnotations for a model without '
            'masks'
        )
    for step, name in steps:
        if name == 'Albu' and 'gt_masks' not in getattr(step, 'keymap_to_albu', {}):
            continue
        if polygons and name in _NEED_BITMAPS:
            raise ConfigError(
                f'the pipeline has {type(step).__name__}, which works on bitmaps, and poly2mask=False in '
                'LoadAnnotations keeps polygons: set poly2mask=True'
            )


def _name_in_mmdet(step: Any) -> str:
    """Name of a transform's class, or of the nearest parent that is mmdet's; empty where there is none."""
    kinds = type(step).__mro__
    return next((kind.__name__ for kind in kinds if kind.__module__.startswith('mmdet.')), '')


def _own_steps(dataset: Any) -> list[Any]:
    pipeline = getattr(dataset, 'pipeline', None)
    steps = getattr(pipeline, 'transforms', pipeline)
    return list(steps) if isinstance(steps, Sequence) else []


def _steps(dataset: Any) -> list[Any]:
    """Transforms of a dataset and of what it wraps, those in `RandomApply` and `RandomChoice` among them."""
    found: list[Any] = []
    queue = [dataset]
    while queue:
        item = queue.pop()
        for name in ('dataset', 'datasets'):
            inner = getattr(item, name, None)
            queue.extend(
                inner if isinstance(inner, list | tuple) else [inner] * (inner is not None)
            )
        waiting = _own_steps(item)
        while waiting:
            step = waiting.pop()
            if isinstance(step, list | tuple):
                waiting.extend(step)
                continue
            found.append(step)
            inner = getattr(step, 'transforms', None)
            if isinstance(inner, list | tuple):
                waiting.extend(inner)
            elif hasattr(inner, 'transforms'):
                waiting.append(inner)
    return found


def check_single_images(model: nn.Module, loader: DataLoader) -> None:
    """Refuse batches of one image for batch normalisations that see one value a channel of it.

    Args:
        model: The model, wrapped or not.
        loader: Its training data.

    Raises:
        ConfigError: A batch has one image, always or at the end of an epoch.
    """
    sampler: Any = loader.sampler
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    left = 0
    if type(sampler) is DefaultSampler and size:
        left = len(sampler) % size
    drops = loader.drop_last or getattr(loader.batch_sampler, 'drop_last', False)
    if size != 1 and (left != 1 or drops):
        return
    # Synchronised, they see the images of all processes.
    names = single_pixel_norms(model, synchronised=get_world_size() > 1)
    if not names:
        return
    what = (
        f'model.{names[0]} normalises the batch pixel by pixel, one value a channel of each image, and cannot be '
        'trained on one image'
    )
    if size == 1:
        raise ConfigError(
            f'train_dataloader.batch_size is 1, but {what}: set batch_size to 2 or more, or norm_cfg of that head to '
            "dict(type='GN', num_groups=...)"
        )
    raise ConfigError(
        f'the last batch of {len(sampler)} images by train_dataloader.batch_size={size} is one image, but '
        f'{what}: set train_dataloader.drop_last=True'
    )


class BatchSizeHook(Hook):
    """Refuse a batch of images of several sizes where the data preprocessor would not pad them to one."""

    def before_train_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Look at a batch of training.

        Args:
            runner: The runner.
            batch_idx: Number of the batch.
            data_batch: The batch.

        Raises:
            InputError: Its images do not fit each other.
        """
        self._check(runner, data_batch, 'train_dataloader')

    def before_val_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Look at a batch of validation, see :meth:`before_train_iter`."""
        self._check(runner, data_batch, 'val_dataloader')

    def before_test_iter(
        self, runner: Runner, batch_idx: int, data_batch: dict | None = None
    ) -> None:
        """Look at a batch of testing, see :meth:`before_train_iter`."""
        self._check(runner, data_batch, 'test_dataloader')

    @staticmethod
    def _check(runner: Runner, batch: Any, loader: str) -> None:
        inputs = batch.get('inputs') if isinstance(batch, Mapping) else None
        if not isinstance(inputs, list | tuple) or len(inputs) < 2:
            return
        # Test-time augmentation stacks a list of images for each augmentation.
        groups = inputs if isinstance(inputs[0], list | tuple) else [inputs]
        for group in groups:
            sizes = [tuple(image.shape[-2:]) for image in group]
            if len(set(sizes)) == 1:
                continue
            training = loader == 'train_dataloader'
            size = _padded_size(runner.model, training)
            if size is None:
                continue
            stacked = {
                tuple(max(side, least) for side, least in zip(image, size, strict=True))
                for image in sizes
            }
            if len(stacked) > 1:
                other = next(index for index, image in enumerate(sizes) if image != sizes[0])
                names = [_name_of(batch, index) for index in (0, other)]
                (high, wide), (tall, broad) = sizes[0], sizes[other]
                remedy = (
                    'crop the images (RandomCrop) to data_preprocessor.size'
                    if training
                    else f'set {loader}.batch_size=1'
                )
                raise InputError(
                    f'{names[0]} is {high}x{wide} and {names[1]} {tall}x{broad} in one batch of {loader}, and the '
                    f'data_preprocessor stacks images of one size: {remedy}, or resize them with keep_ratio=False.'
                )


def _padded_size(model: nn.Module, training: bool) -> tuple[int, int] | None:
    """Size that mmseg's data preprocessor pads to at least; None where it pads to the largest, or is another."""
    inner: Any = model.module if is_model_wrapper(model) else model
    preprocessor: Any = getattr(getattr(inner, 'module', inner), 'data_preprocessor', None)
    if type(preprocessor).__name__ != 'SegDataPreProcessor':
        return None
    if not training:
        return 0, 0
    size = preprocessor.size
    return None if size is None else (size[-2], size[-1])


def _name_of(batch: Mapping, index: int) -> str:
    samples = batch.get('data_samples')
    sample = samples[index] if samples is not None and index < len(samples) else None
    return str(getattr(sample, 'img_path', None) or f'image {index}')
