# Copyright (c) The mmpointrend authors.
"""What is wrong with an installation, or with a config and its data, all at once.

Training refuses what cannot work at the first fault; the same checks run here one by one, so that one
call shows all that are independent.
"""

import io
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from torch import nn
from torch.utils.data import DataLoader

from mmpointrend.analysis import count_mask_branch
from mmpointrend.data_files import without_pickles
from mmpointrend.engine.checkpoint import load_from_local
from mmpointrend.engine.checks import (
    LabelRange,
    check_checkpoint_classes,
    check_class_counts,
    check_label_order,
    check_loader_config,
    check_metrics,
    check_model,
    check_model_config,
    check_same_classes,
    check_single_images,
    check_test_settings,
    check_train_settings,
    leaves,
    naming_the_dataset,
    watch_labels,
)
from mmpointrend.engine.checks.settings import single_pixel_norms
from mmpointrend.engine.config_files import read_config, task_of
from mmpointrend.engine.detectron2 import build_empty
from mmpointrend.engine.runner import CheckedRunner
from mmpointrend.errors import PointRendError, sentence_of
from mmpointrend.installation import Finding, print_findings, print_installation
from mmpointrend.models import PointRendHead, PointRendRoIHead

__all__ = ['examine_config', 'run_doctor']

_LOADERS = ('train_dataloader', 'val_dataloader', 'test_dataloader')
# Read through the whole pipeline, evenly spread over a dataset.
_SAMPLES = 8
# Missing files that are named.
_NAMED = 3
# Numbers that an optimizer keeps for each that is trained.
_KEPT = {'SGD': 0, 'Adam': 2, 'AdamW': 2, 'NAdam': 2, 'RAdam': 2, 'Adamax': 2}
_GIB = 2**30


def run_doctor(config: str | None = None) -> int:
    """Print what is wrong with the installation, or with a config and its data, and how to fix it.

    Args:
        config: Name or path of a config; None looks at the installation.

    Returns:
        Exit status: 1 if something failed.
    """
    if config is None:
        return print_installation()
    return print_findings(examine_config(config))


def examine_config(config: str) -> Iterator[Finding]:
    """Hold a config against its data.

    Args:
        config: Its name or path.

    Yields:
        What was found, as it is found: model, weights, then each data loader with its evaluator, and the memory of
        a training step.
    """
    examination = _Examination()
    with examination.of(f'the config {config}'):
        examination.read(config)
    yield from examination.taken()
    if examination.cfg is None:
        return
    with DefaultScope.overwrite_default_scope(examination.cfg.default_scope):
        for step in examination.steps():
            step()
            yield from examination.taken()


class _Examination:
    """The examination of one config; what its steps find is taken from it after each."""

    cfg: Config | None = None
    model: nn.Module | None = None

    def __init__(self) -> None:
        self._found: list[Finding] = []
        # Two loaders mostly share their files.
        self._told: set[Finding] = set()
        self._loaders: dict[str, DataLoader] = {}
        # Height and width of an image that reaches the model; of a test image if there is one.
        self._shape = (512, 512)

    def taken(self) -> Iterator[Finding]:
        """What was found since it was asked last, without what was found before."""
        for finding in self._found:
            if finding not in self._told:
                self._told.add(finding)
                yield finding
        self._found.clear()

    @contextmanager
    def of(self, part: str) -> Iterator[None]:
        """Turn an error, and the warnings before it, into findings about a part."""
        # pycocotools tells stdout that it makes an index, each time.
        logger = MMLogger.get_current_instance()
        handlers, logger.handlers = logger.handlers, [_Collector(self._found)]
        try:
            with redirect_stdout(io.StringIO()):
                yield
        except PointRendError as error:
            self._add('FAILED', sentence_of(error))
        except Exception as error:
            reason = str(error).strip().partition('\n')[0]
            self._add('FAILED', f'{part}: {type(error).__name__}: {reason}')
        finally:
            logger.handlers = handlers

    def read(self, config: str) -> None:
        """Read the config; it is kept if it can be used."""
        self.cfg = read_config(config)
        self._add('ok', f'{config}: {task_of(self.cfg)} segmentation')

    def steps(self) -> Iterator[Any]:
        """What is looked at, in order."""
        yield self._build_model
        yield self._look_for_weights
        for name in self._different(_LOADERS):
            yield lambda name=name: self._look_at_loader(name)
        yield self._compare_loaders
        yield self._look_at_rendering
        for name in self._different(('val_evaluator', 'test_evaluator')):
            yield lambda name=name: self._look_at_evaluator(name)
        yield self._measure_step

    def _has(self, key: str) -> bool:
        return bool(self._settings.get(key))

    def _different(self, names: Sequence[str]) -> list[str]:
        """Those that the config has, without one that is set to what another is set to."""
        found: list[str] = []
        for name in names:
            if self._has(name) and all(
                self._settings[name] != self._settings[other] for other in found
            ):
                found.append(name)
        return found

    @property
    def _settings(self) -> Config:
        assert self.cfg is not None
        return self.cfg

    def _add(self, kind: Any, text: str) -> None:
        self._found.append(Finding(kind, text))

    def _build_model(self) -> None:
        config = self._settings.model
        model = None
        with self.of('the model'):
            check_model_config(config)
            with without_pickles(config):
                model = MODELS.build(config)
            check_model(model)
            self.model = model
        # A model whose levels do not fit has settings all the same.
        if model is None:
            return
        if self._has('train_cfg'):
            with self.of('train_cfg'):
                check_train_settings(model)
        if self._has('test_cfg') or self._has('val_cfg'):
            with self.of('test_cfg'):
                check_test_settings(model)
        if self.model is not None:
            count = sum(parameter.numel() for parameter in model.parameters())
            self._add('ok', f'{type(model).__name__} of {count / 1e6:.1f} million parameters')

    def _look_at_rendering(self) -> None:
        """Say how masks are rendered, and whether that saves anything."""
        head = getattr(self.model, 'roi_head', None) or getattr(self.model, 'decode_head', None)
        if not isinstance(head, PointRendRoIHead | PointRendHead) or not self._has('test_cfg'):
            return
        if getattr(head, 'adaptive_resolution', False):
            self._add('ok', 'masks are rendered at the resolution of the output')
            return
        with self.of('rendering'):
            branch = count_mask_branch(build_empty(self._settings), self._shape)
            if not branch.steps:
                return
            last = branch.steps[-1]
            pixels = last.height * last.width
            self._add(
                'ok',
                f'maps of {last.height} x {last.width} are rendered in {len(branch.steps)} steps, by '
                f'{branch.points() / pixels:.0%} as many points as they have pixels',
            )
            if last.points >= pixels:
                self._add(
                    'warning',
                    f'subdivision_num_points covers all {pixels} pixels of the last map, which is then predicted '
                    'pixel by pixel: lower it to a quarter or less',
                )

    def _look_for_weights(self) -> None:
        """Ask whether the files of weights are there, and the classes of ``load_from``."""
        for where, path in _weights(self._settings):
            if '://' in path:
                self._add('note', f'{where} is downloaded: {path}')
            elif not Path(path).is_file():
                self._add(
                    'FAILED',
                    f'{where} is {path}, which does not exist: set it to a checkpoint, or to None',
                )

    def _look_at_loader(self, name: str) -> None:
        config = self._settings[name]
        loader: Any = None
        with self.of(name):
            check_loader_config(config, name)
            loader = CheckedRunner.build_dataloader(config, seed=0)
        if loader is None:
            return
        self._loaders[name] = loader
        self._add('ok', f'{name}: {len(loader.dataset)} images, batches of {_batch_size(loader)}')
        if self.model is not None:
            with self.of(name):
                check_class_counts(self.model, loader.dataset, name)
            if name == 'train_dataloader':
                with self.of(name):
                    check_single_images(self.model, loader)
        self._look_for_files(name, loader)
        self._read_samples(name, loader)

    def _look_for_files(self, name: str, loader: DataLoader) -> None:
        """Count images and label maps that are not there."""
        missing: list[str] = []
        with self.of(name):
            for leaf in leaves(loader.dataset):
                for index in range(len(leaf)):
                    info = leaf.get_data_info(index)
                    paths = [info.get('img_path'), info.get('seg_map_path')]
                    missing += [
                        path
                        for path in paths
                        if path and '://' not in path and not os.path.exists(path)
                    ]
        if missing:
            named = ', '.join(missing[:_NAMED])
            self._add(
                'FAILED',
                f'{name}: {len(missing)} {"file does" if len(missing) == 1 else "files do"} not exist, such as '
                f'{named}: set data_root and data_prefix, or take them out of the annotations',
            )

    def _read_samples(self, name: str, loader: DataLoader) -> None:
        """Read some samples; labels that the head does not know are found on the way."""
        labels = None if self.model is None else LabelRange.of_model(self.model)
        if labels is not None:
            with self.of(name):
                watch_labels(loader.dataset, labels, name)
        count = len(loader.dataset)  # type: ignore[arg-type]
        shapes = set()
        for index in np.linspace(0, count - 1, min(_SAMPLES, count)).astype(int).tolist():
            with self.of(f'{name}, image {index}'):
                inputs = loader.dataset[index]['inputs']
                # Test-time augmentation makes several of each.
                for image in inputs if isinstance(inputs, list) else [inputs]:
                    shapes.add(tuple(image.shape[-2:]))
        if shapes:
            self._shape = max(shapes)
            least, most = (f'{shape[0]} x {shape[1]}' for shape in (min(shapes), max(shapes)))
            sizes = least if least == most else f'{least} to {most}'
            self._add('ok', f'{name}: images of {sizes} (height x width) reach the model')

    def _compare_loaders(self) -> None:
        for one, other in pairwise(self._loaders):
            with self.of(other):
                check_same_classes(
                    self._loaders[other].dataset, self._loaders[one].dataset, other, one
                )
        name = next(iter(self._loaders), None)
        path = self._settings.get('load_from')
        if name is None or not isinstance(path, str) or not Path(path).is_file():
            return
        with self.of('load_from'):
            checkpoint = load_from_local(path, map_location='cpu')
            check_checkpoint_classes(
                checkpoint,
                self._loaders[name].dataset,
                path,
                name,
                trains_anew=name == 'train_dataloader' and not self._settings.get('resume'),
            )

    def _look_at_evaluator(self, name: str) -> None:
        config = self._settings[name]
        configs = config if isinstance(config, list) else [config]
        with self.of(name):
            metrics = dict(datasets=configs)
            with naming_the_dataset(metrics), without_pickles(metrics):
                built = Evaluator(config).metrics
                check_metrics(built, configs)
            loader = self._loaders.get(name.replace('evaluator', 'dataloader'))
            if loader is not None:
                check_label_order(built, loader.dataset)
            names = ', '.join(type(metric).__name__ for metric in built)
            self._add('ok', f'{name}: {names}')

    def _measure_step(self) -> None:
        """Estimate the memory of a training step from what one image leaves for the backward pass."""
        loader = self._loaders.get('train_dataloader')
        if self.model is None or loader is None or not self._has('train_cfg'):
            return
        with self.of('a training step'):
            self._estimate(self.model, loader)

    def _estimate(self, model: nn.Module, loader: DataLoader) -> None:
        # Of processes there is one here.
        model = revert_sync_batchnorm(model).train()
        copies = 2 if single_pixel_norms(model) else 1
        sample = loader.dataset[0]
        batch = loader.collate_fn([sample] * copies)
        kept = _bytes_for_backward(model, batch) / copies
        trained = sum(p.numel() * p.element_size() for p in model.parameters() if p.requires_grad)
        fixed = sum(t.numel() * t.element_size() for t in model.state_dict().values()) + trained
        optimizer = (self._settings.get('optim_wrapper') or {}).get('optimizer') or {}
        name = str(optimizer.get('type'))
        times = _KEPT.get(name, 0) or (1 if optimizer.get('momentum') else 0)
        size = _batch_size(loader)
        total = fixed + times * trained + kept * size
        shape = ' x '.join(map(str, sample['inputs'].shape[-2:]))
        self._add(
            'ok',
            f'a training step needs at least {_amount(total)}: {size} times {_amount(kept)} for an image of {shape} in '
            f'32 bits, {_amount(fixed + times * trained)} for weights, gradients and {name}; what single operations '
            'take for themselves, and CUDA, come on top',
        )
        where, room = _memory()
        if total > room:
            self._add(
                'warning',
                f'a training step needs {_amount(total)}, and {where} has {_amount(room)}: lower '
                'train_dataloader.batch_size (and the learning rate with it) or the size of the images',
            )


class _Collector(logging.Handler):
    """Takes warnings down as findings."""

    def __init__(self, found: list[Finding]) -> None:
        super().__init__(logging.WARNING)
        self._found = found

    def emit(self, record: logging.LogRecord) -> None:
        """Take a warning down.

        Args:
            record: It.
        """
        message = record.getMessage()
        # mmengine's word on metrics whose figures have no prefix, as mmseg's.
        if not message.startswith('The prefix is not set'):
            self._found.append(Finding('warning', message))


def _weights(cfg: Config) -> Iterator[tuple[str, str]]:
    """Key and path of every checkpoint that a config names."""
    path = cfg.get('load_from')
    if isinstance(path, str):
        yield 'load_from', path
    stack: list[tuple[str, Any]] = [('model', cfg.model)]
    while stack:
        where, node = stack.pop()
        if isinstance(node, Mapping):
            if node.get('type') == 'Pretrained' and isinstance(node.get('checkpoint'), str):
                yield f'{where}.checkpoint', node['checkpoint']
            stack += [(f'{where}.{key}', value) for key, value in node.items()]
        elif isinstance(node, list | tuple):
            stack += [(f'{where}[{index}]', value) for index, value in enumerate(node)]


def _bytes_for_backward(model: Any, batch: Any) -> int:
    """Bytes that the losses of a batch keep for the backward pass, the model's own tensors left out."""
    own = {tensor.untyped_storage().data_ptr() for tensor in model.state_dict().values()}
    kept: dict[int, int] = {}

    def note(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        # The graph holds what is kept, so that no address occurs twice.
        if storage.data_ptr() not in own:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    data = model.data_preprocessor(batch, True)
    with torch.autograd.graph.saved_tensors_hooks(note, lambda tensor: tensor):
        losses = model(**data, mode='loss')
        total, _ = model.parse_losses(losses)
    del total, losses
    return sum(kept.values())


def _batch_size(loader: DataLoader) -> int:
    size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', None)
    return size or 1


def _amount(size: float) -> str:
    return f'{size / _GIB:.1f} GiB' if size >= _GIB else f'{size * 1024 / _GIB:.0f} MiB'


def _memory() -> tuple[str, int]:
    """The memory that training would use, and its bytes."""
    if torch.cuda.is_available():
        return 'the GPU', torch.cuda.get_device_properties(0).total_memory
    return 'this machine', os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES')
