# Copyright (c) The mmpointrend authors.
"""Hooks that make a run safe to stop: exact resume, and saving that never loses the checkpoint
before."""

import os
import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank, master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook, Hook
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mmpointrend.engine.checks import LabelRange
from mmpointrend.errors import ConfigError, InputError
from mmpointrend.registry import HOOKS

__all__ = ['AtomicLocalBackend', 'IterationSeedHook', 'LabelRangeHook', 'SafeCheckpointHook']

# Streams of random numbers that must not repeat each other.
_ITERATION, _EPOCH, _WORKERS = range(3)


def _derived_seed(*entropy: int) -> int:
    """A 32-bit seed in which any change of any number changes every bit with probability one
    half."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _seed_everything(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


@HOOKS.register_module()
class IterationSeedHook(Hook):
    """Draw the random numbers of each iteration from (seed, iteration, rank), so that a resumed run
    is the same run.

    mmengine saves no state of the random number generators: a resumed run samples other points and
    other augmentations than the one that ran through. This hook seeds ``random``, numpy and torch
    anew before every iteration and epoch. On one machine with deterministic operations (CPU) the
    weights are then equal bit for bit, for

    - iteration loops with ``num_workers >= 1``: the workers draw their augmentations undisturbed,
      and mmengine replays the data of the iterations that are skipped;
    - epoch loops without ``persistent_workers``, saved by epoch: the workers start anew with each
      epoch. Their seed changes with the epoch too; mmengine alone lets them repeat the first
      epoch's augmentations in every epoch.
    """

    priority = 'VERY_HIGH'

    def before_train(self, runner: Runner) -> None:
        """Refuse what cannot be resumed exactly.

        Args:
            runner: The runner, its checkpoint loaded.

        Raises:
            ConfigError: The data loader, the checkpoint hook or the seed stand in the way.
        """
        loop, loader = runner.train_loop, runner.train_dataloader
        advice = None
        if isinstance(loop, IterBasedTrainLoop) and loader.num_workers == 0:
            advice = (
                'train_dataloader.num_workers=0 in an iteration loop: set num_workers=1 or more'
            )
        elif isinstance(loop, EpochBasedTrainLoop):
            if loader.persistent_workers:
                advice = (
                    'train_dataloader.persistent_workers=True in an epoch loop: set '
                    'persistent_workers=False'
                )
            elif any(
                isinstance(hook, CheckpointHook) and not hook.by_epoch for hook in runner.hooks
            ):
                advice = (
                    'default_hooks.checkpoint.by_epoch=False in an epoch loop: set by_epoch=True'
                )
        if advice is None and runner.iter > 0:
            advice = self._seed_advice(runner)
        if advice is not None:
            raise ConfigError(
                f'IterationSeedHook cannot make a resumed run equal with {advice}, or take the '
                'hook out.'
            )

    @staticmethod
    def _seed_advice(runner: Runner) -> str | None:
        """What to do where the sampler was built with another seed than the checkpoint's."""
        loader = runner.train_dataloader
        sampler = getattr(loader.batch_sampler, 'sampler', loader.sampler)
        drawn = getattr(sampler, 'seed', runner.seed)
        if drawn == runner.seed or runner.cfg.get('randomness', {}).get('diff_rank_seed'):
            return None
        return (
            f'data drawn by seed {drawn} where the checkpoint has {runner.seed}: set '
            f'randomness=dict(seed={runner.seed})'
        )

    def before_train_epoch(self, runner: Runner) -> None:
        """Seed the main process, and in epoch loops the workers, from the epoch.

        Args:
            runner: The runner.
        """
        rank = get_rank()
        _seed_everything(_derived_seed(runner.seed, runner.epoch, rank, _EPOCH))
        if isinstance(runner.train_loop, EpochBasedTrainLoop):
            loader = runner.train_dataloader
            initialise = loader.worker_init_fn
            # A function of the user's own is left alone.
            if isinstance(initialise, partial) and initialise.func is worker_init_fn:
                seed = _derived_seed(runner.seed, runner.epoch, 0, _WORKERS) >> 1
                loader.worker_init_fn = partial(initialise, seed=seed)

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Seed the main process from the iteration.

        Args:
            runner: The runner.
            batch_idx: Index of the batch; unused, an epoch starts it anew.
            data_batch: The batch; unused.
        """
        _seed_everything(_derived_seed(runner.seed, runner.iter, get_rank(), _ITERATION))


class LabelRangeHook(Hook):
    """Refuse label maps with labels that the head has no class for, before the loss fails on them.

    The cross entropy says ``Target 11 is out of bounds`` on a CPU and takes the whole process down on
    a GPU. Whole maps are looked at when they are read (``LabelMapCheck``); this hook looks at what
    arrives from loaders and augmentations of your own, at each file once.

    Args:
        num_classes: Number of classes K of the head; labels are 0 to K - 1.
        ignore_index: The label that the loss leaves out.
    """

    priority = 'VERY_HIGH'

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.labels = LabelRange(num_classes, frozenset([ignore_index]))
        self._seen: set[str] = set()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the label maps of a batch.

        Args:
            runner: The runner; unused.
            batch_idx: Index of the batch; unused.
            data_batch: Dict whose ``data_samples`` carry ``gt_sem_seg`` (1, H, W).

        Raises:
            InputError: A label is out of range; the message names file, label and the fix.
        """
        for sample in (data_batch or {}).get('data_samples', ()):
            path = sample.get('seg_map_path', '')
            if 'gt_sem_seg' not in sample or path in self._seen:
                continue
            self._seen.add(path)
            complaint = self.labels.complaint(path, sample.gt_sem_seg.data.cpu().numpy())
            if complaint is not None:
                raise InputError(complaint)


class AtomicLocalBackend(LocalBackend):
    """Local files that are whole or not there: written beside their place, then moved onto it.

    mmengine's own backend writes in place; killed half way it leaves half a file, under the name of
    a good one.
    """

    _SUFFIX = '.part'

    def __init__(self) -> None:
        self._postponed: dict[Path, int] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; whoever opens the path meanwhile sees the old content.

        Args:
            obj: Content.
            filepath: Path of the file; its folder is made where missing.

        Raises:
            OSError: The disk is full or refuses; the old content stays.
        """
        path = Path(filepath)
        path.parent.mkdir(parents=True, exist_ok=True)
        part = path.with_name(f'.{path.name}{self._SUFFIX}')
        try:
            with part.open('wb') as file:
                file.write(obj)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        """Delete a file, inside :meth:`removing_afterwards` only when its context has ended well.

        Args:
            filepath: Path of the file.
        """
        if self._postponed is None:
            super().remove(filepath)
        else:
            path = Path(filepath)
            self._postponed[path] = path.stat().st_ino

    @contextmanager
    def removing_afterwards(self) -> Iterator[None]:
        """Keep what is removed inside the context until it ends, for good if it ends by an
        error."""
        postponed: dict[Path, int] = {}
        self._postponed = postponed
        try:
            yield
        finally:
            self._postponed = None
        for path, inode in postponed.items():
            # A new file may have taken the old one's name.
            if path.is_file() and path.stat().st_ino == inode:
                path.unlink()

    def sweep(self, folder: str | Path) -> None:
        """Delete the parts that killed runs have left.

        Args:
            folder: Folder of the files.
        """
        for part in Path(folder).glob(f'.*{self._SUFFIX}'):
            part.unlink(missing_ok=True)


_BACKEND = 'mmpointrend.atomic'
register_backend(_BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, of which a kill at any moment leaves at least one whole
    checkpoint.

    It takes the same arguments. Two things differ, for checkpoints on a local disk: a checkpoint
    appears under its name only when it is complete, and the one that it replaces
    (``max_keep_ckpts``, ``save_best``) goes only after that. mmengine deletes first and then writes
    in place.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        elsewhere = kwargs.get('backend_args') or kwargs.get('file_client_args')
        if not elsewhere and '://' not in str(kwargs.get('out_dir')):
            kwargs['backend_args'] = dict(backend=_BACKEND)
        super().__init__(*args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Find the folder of the checkpoints and clear it of parts.

        Args:
            runner: The runner.
        """
        super().before_train(runner)
        self._sweep()

    @master_only
    def _sweep(self) -> None:
        if isinstance(self.file_backend, AtomicLocalBackend):
            self.file_backend.sweep(self.out_dir)

    @contextmanager
    def _keeping_the_old(self) -> Iterator[None]:
        if isinstance(self.file_backend, AtomicLocalBackend):
            with self.file_backend.removing_afterwards():
                yield
        else:
            yield

    def _save_checkpoint(self, runner: Runner) -> None:
        with self._keeping_the_old():
            super()._save_checkpoint(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        with self._keeping_the_old():
            super()._save_best_checkpoint(runner, metrics)
