# Copyright (c) The mmpointrend authors.
"""Exact resume: random numbers that depend on the iteration alone."""

import logging
import random
from functools import partial
from typing import Any

import numpy as np
import torch
from mmengine.dataset import worker_init_fn
from mmengine.dist import get_rank, get_world_size
from mmengine.hooks import CheckpointHook, Hook
from mmengine.logging import print_log
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mmpointrend.engine.training_state import lost_state
from mmpointrend.errors import CheckpointError, ConfigError
from mmpointrend.registry import HOOKS

__all__ = ['IterationSeedHook']

_WITHOUT = 'leave the hook out (default_hooks.iteration_seed=None where tools/train.py adds it)'
# Key of a checkpoint's meta information: what the order of the data depends on, besides the seed.
_DRAWING = 'drawing'
# Streams of random numbers that must not repeat each other.
_ITERATION, _EPOCH, _WORKERS = range(3)


def _derived_seed(*entropy: int) -> int:
    """A 32-bit seed in which any change of any number changes every bit with probability one
    half."""
    return int(np.random.SeedSequence(entropy).generate_state(1)[0])


def _drawing(runner: Runner) -> dict[str, int]:
    """What the order of the data depends on, besides the seed."""
    loader = runner.train_dataloader
    batch_size = loader.batch_size or getattr(loader.batch_sampler, 'batch_size', 0)
    return dict(
        processes=get_world_size(),
        images=len(loader.dataset) if hasattr(loader.dataset, '__len__') else 0,
        batch_size=batch_size,
        workers=loader.num_workers,
    )


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

    A checkpoint without the state of the optimizer, of the schedules or of averaged weights is
    refused, for mmengine starts these anew without a word. Another number of processes, images,
    workers or images a batch is only said: the run draws other data from there on.
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
                f'IterationSeedHook cannot make a resumed run equal with {advice}, or {_WITHOUT}.'
            )
        self._announce_lost_state(runner)

    @staticmethod
    def _announce_lost_state(runner: Runner) -> None:
        """Say before training that its checkpoints will not do, of which the last one need not."""
        for hook in runner.hooks:
            if not isinstance(hook, CheckpointHook):
                continue
            end = runner.max_epochs if hook.by_epoch else runner.max_iters
            whole = hook.save_optimizer and (
                hook.save_param_scheduler or not runner.param_schedulers
            )
            if 0 < hook.interval < end and not whole:
                print_log(
                    'The checkpoints of this run cannot be resumed exactly: set '
                    'default_hooks.checkpoint.save_optimizer=True and save_param_scheduler=True.',
                    'current',
                    logging.WARNING,
                )

    def before_save_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Note what the order of the data depends on.

        Args:
            runner: The runner.
            checkpoint: What is saved, to be added to.
        """
        checkpoint['meta'][_DRAWING] = _drawing(runner)

    def after_load_checkpoint(self, runner: Runner, checkpoint: dict[str, Any]) -> None:
        """Refuse to resume from what holds less than a run's state, say what draws other data.

        Args:
            runner: The runner.
            checkpoint: Content of the checkpoint.

        Raises:
            CheckpointError: It lacks the state of the optimizer, the schedules, or the like.
        """
        meta = checkpoint.get('meta')
        # Weights alone are no business of this hook.
        if not runner._resume or not isinstance(meta, dict) or 'message_hub' not in checkpoint:
            return
        lost = lost_state(runner, checkpoint)
        if lost:
            raise CheckpointError(
                f'the checkpoint {runner._load_from or ""} holds {" and ".join(lost)}, so that '
                'IterationSeedHook cannot make a resumed run equal: resume from another '
                f'checkpoint, start from its weights with load_from, or {_WITHOUT}.'
            )
        saved, now = meta.get(_DRAWING), _drawing(runner)
        if isinstance(saved, dict):
            changed = [
                f'{name} {saved[name]} -> {value}'
                for name, value in now.items()
                if saved.get(name, value) != value
            ]
            if changed:
                print_log(
                    'The resumed run draws other data than one that had not been stopped: '
                    f'{", ".join(changed)}.',
                    'current',
                    logging.WARNING,
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
