# Copyright (c) The mmpointrend authors.
"""Predictions of a model for images, folders, videos and whatever yields images."""

import glob
import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any, TypeAlias, overload

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmengine.config import ConfigDict
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import BaseModel
from mmengine.registry import MODELS, DefaultScope
from mmseg.structures import SegDataSample

from mmpointrend.engine.checks import leaves
from mmpointrend.engine.config_files import task_of
from mmpointrend.engine.launch import tta_of
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.images import Picture, Video, find_inputs, is_video, open_image

__all__ = ['Sample', 'predict', 'predict_pictures']

Path: TypeAlias = str | os.PathLike[str]
Sample: TypeAlias = DetDataSample | SegDataSample
"""mmdet's of instances, mmseg's of label maps."""


@overload
def predict(
    model: BaseModel,
    inputs: np.ndarray,
    *,
    batch_size: int = ...,
    score_thr: float | None = ...,
    adaptive: bool | None = ...,
    tta: bool = ...,
) -> Sample: ...
@overload
def predict(
    model: BaseModel,
    inputs: Sequence[Path | np.ndarray],
    *,
    batch_size: int = ...,
    score_thr: float | None = ...,
    adaptive: bool | None = ...,
    tta: bool = ...,
) -> list[Sample]: ...
@overload
def predict(
    model: BaseModel,
    inputs: Any,
    *,
    batch_size: int = ...,
    score_thr: float | None = ...,
    adaptive: bool | None = ...,
    tta: bool = ...,
) -> Any: ...
def predict(
    model: BaseModel,
    inputs: Any,
    *,
    batch_size: int = 1,
    score_thr: float | None = None,
    adaptive: bool | None = None,
    tta: bool = False,
) -> Sample | list[Sample] | Iterator[Sample]:
    """Predict masks.

    Args:
        model: What :func:`~mmpointrend.apis.load_model` or mmdet's and mmseg's ``init_*`` return.
        inputs: Path of an image, or an array (H, W, 3) in BGR, uint8: the answer is one sample. A list of these,
            a folder or a pattern such as ``'day1/*.jpg'``: a list of samples. A video, or an iterator of paths and
            arrays: a generator of samples, which reads no further than it is asked.
        batch_size: Images at once, >= 1; neighbours of one size, so that it changes no answer by more than rounding.
        score_thr: Instances whose score is not above it are left out; None keeps the config's.
        adaptive: Whether PointRend renders instances at the resolution that they have in the image; None keeps the
            config's.
        tta: Whether to average over flips and scales; label maps alone.

    Returns:
        Samples: ``pred_instances`` with ``bboxes`` (n, 4) in pixels, ``scores``, ``labels`` and bool ``masks``
        (n, H, W); or ``pred_sem_seg`` (1, H, W). H x W is the size of the image, on the device of the model.

    Raises:
        InputError: An input is missing, damaged or of another kind.
        ConfigError: The model cannot do what is asked of it.
    """
    options = dict(batch_size=batch_size, score_thr=score_thr, adaptive=adaptive, tta=tta)
    if isinstance(inputs, np.ndarray):
        return next(_samples(model, [inputs], options))
    if isinstance(inputs, str | os.PathLike):
        path = os.fspath(inputs)
        if is_video(path):
            return _samples(model, Video(path), options)
        if os.path.isdir(path) or (not os.path.exists(path) and glob.has_magic(path)):
            return list(_samples(model, find_inputs(path), options))
        return next(_samples(model, [path], options))
    if isinstance(inputs, list | tuple):
        return list(_samples(model, inputs, options))
    if isinstance(inputs, Iterable):
        return _samples(model, inputs, options)
    raise InputError(
        f'a {type(inputs).__name__} is not an image: give a path, an array (H, W, 3) in BGR, a list or an '
        'iterator of these.'
    )


def predict_pictures(
    model: BaseModel,
    pictures: Iterable[Picture],
    *,
    batch_size: int = 1,
    score_thr: float | None = None,
    adaptive: bool | None = None,
    tta: bool = False,
) -> Iterator[tuple[Picture, Sample]]:
    """Predict masks of images that were read, one batch at a time.

    Args:
        model: As in :func:`predict`.
        pictures: The images; no more are read than a batch.
        batch_size: As in :func:`predict`.
        score_thr: As in :func:`predict`.
        adaptive: As in :func:`predict`.
        tta: As in :func:`predict`.

    Returns:
        Each image and its sample, in the order given.

    Raises:
        ConfigError: The model cannot do what is asked of it; no image is read then.
    """
    _check(model, batch_size=batch_size, score_thr=score_thr, adaptive=adaptive, tta=tta)
    scope = model.cfg.default_scope
    runner, steps = model, _test_pipeline(model.cfg)
    if tta:
        tta_model, steps = tta_of(model.cfg, 'tta')
        with DefaultScope.overwrite_default_scope(scope):
            runner = MODELS.build({**tta_model, 'module': model})
        runner.eval()
    with DefaultScope.overwrite_default_scope(scope):
        pipeline = Compose(_of_arrays(steps, scope))
    batches = _batches(pictures, pipeline, scope, batch_size)
    return _answers(model, runner, batches, score_thr, adaptive)


def _samples(model: BaseModel, inputs: Iterable[Any], options: dict[str, Any]) -> Iterator[Sample]:
    answers = predict_pictures(model, map(_picture, inputs), **options)
    return (sample for _, sample in answers)


def _answers(
    model: BaseModel,
    runner: BaseModel,
    batches: Iterable[list[tuple[Picture, dict[str, Any]]]],
    score_thr: float | None,
    adaptive: bool | None,
) -> Iterator[tuple[Picture, Sample]]:
    for batch in batches:
        data = pseudo_collate([item for _, item in batch])
        with (
            torch.no_grad(),
            DefaultScope.overwrite_default_scope(model.cfg.default_scope),
            _settings(model, score_thr, adaptive),
        ):
            samples = runner.test_step(data)
        for (picture, _), sample in zip(batch, samples, strict=True):
            sample.set_metainfo({'img_path': picture.name or None})
            if score_thr is not None and 'pred_instances' in sample:
                sample.pred_instances = sample.pred_instances[
                    sample.pred_instances.scores > score_thr
                ]
            yield picture, sample


def _picture(item: Any) -> Picture:
    if isinstance(item, Picture):
        return item
    if isinstance(item, np.ndarray):
        if item.ndim != 3 or item.shape[2] != 3 or item.dtype != np.uint8 or item.size == 0:
            raise InputError(
                f'an array of {item.dtype} with shape {item.shape} is not an image: give uint8 with shape '
                '(H, W, 3), in BGR.'
            )
        return Picture('', item)
    if isinstance(item, str | os.PathLike):
        if is_video(item):
            raise InputError(f'{os.fspath(item)} is a video: give it on its own, not in a list.')
        return open_image(item)
    raise InputError(f'a {type(item).__name__} is not an image: give a path or an array.')


def _check(
    model: BaseModel, *, batch_size: int, score_thr: float | None, adaptive: bool | None, tta: bool
) -> None:
    """Refuse what the model cannot do, before any image is read."""
    if getattr(model, 'cfg', None) is None:
        raise ConfigError('the model has no config: load it by mmpointrend.apis.load_model.')
    task = task_of(model.cfg)
    if isinstance(batch_size, bool) or not isinstance(batch_size, int) or batch_size < 1:
        raise ConfigError(f'batch_size is {batch_size!r}: give a whole number from 1 on.')
    if score_thr is not None and task == 'semantic':
        raise ConfigError(
            'score_thr chooses instances; a label map has a class at every pixel: leave it out.'
        )
    if score_thr is not None and not 0 <= score_thr <= 1:
        raise ConfigError(f'score_thr is {score_thr!r}: scores are between 0 and 1.')
    if adaptive is not None and not hasattr(
        getattr(model, 'roi_head', None), 'adaptive_resolution'
    ):
        raise ConfigError(
            'adaptive is a way of rendering instances with a PointRend RoI head, which this model does not '
            'have: leave it out.'
        )
    if tta:
        tta_of(model.cfg, 'tta')


@contextmanager
def _settings(model: BaseModel, score_thr: float | None, adaptive: bool | None) -> Iterator[None]:
    """Let the RoI head work with other settings for a while."""
    head: Any = getattr(model, 'roi_head', None)
    with ExitStack() as undo:
        if score_thr is not None and 'score_thr' in (getattr(head, 'test_cfg', None) or {}):
            undo.callback(head.test_cfg.__setitem__, 'score_thr', head.test_cfg['score_thr'])
            head.test_cfg['score_thr'] = score_thr
        if adaptive is not None:
            undo.callback(setattr, head, 'adaptive_resolution', head.adaptive_resolution)
            head.adaptive_resolution = adaptive
        yield


def _batches(
    pictures: Iterable[Picture], pipeline: Compose, scope: str, size: int
) -> Iterator[list[tuple[Picture, dict[str, Any]]]]:
    """Neighbours whose inputs have one size: padding would change what a network answers."""
    batch: list[tuple[Picture, dict[str, Any]]] = []
    for number, picture in enumerate(pictures):
        with DefaultScope.overwrite_default_scope(scope):
            item = pipeline(dict(img=picture.image, img_id=number))
        if batch and _shapes(item) != _shapes(batch[0][1]):
            yield batch
            batch = []
        batch.append((picture, item))
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch


def _shapes(item: dict[str, Any]) -> list[torch.Size]:
    inputs = item['inputs']
    return [part.shape for part in (inputs if isinstance(inputs, list) else [inputs])]


def _test_pipeline(cfg: ConfigDict) -> list[dict[str, Any]]:
    if cfg.get('test_dataloader') is None:
        raise ConfigError('the config has no test_dataloader, whose pipeline prepares images.')
    dataset, *_ = leaves(cfg.test_dataloader.dataset)
    return dataset.pipeline


def _of_arrays(steps: Sequence[Any], scope: str) -> list[Any]:
    """The pipeline for images that are read, without annotations."""
    made, loads = _without_files(steps, scope)
    if loads != 1:
        raise ConfigError(
            'the test pipeline has to read images by one LoadImageFromFile; correct '
            'test_dataloader.dataset.pipeline.'
        )
    return made


def _without_files(steps: Sequence[Any], scope: str) -> tuple[list[Any], int]:
    made: list[Any] = []
    loads = 0
    for step in steps:
        kind = step['type']
        name = (kind if isinstance(kind, str) else kind.__name__).rpartition('.')[2]
        if name == 'LoadImageFromFile':
            loads += 1
            step = dict(
                type=f'{scope}.LoadImageFromNDArray', to_float32=step.get('to_float32', False)
            )
        elif name.startswith('Load') and 'Annotation' in name:
            continue
        elif name == 'TestTimeAug':
            branches = [_without_files(branch, scope)[0] for branch in step['transforms']]
            step = {**step, 'transforms': [branch for branch in branches if branch]}
        made.append(step)
    return made, loads
