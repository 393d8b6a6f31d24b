# Copyright (c) The mmpointrend authors.
"""The state of training in a checkpoint: what it has to hold, what it lacks, and what it overrides.

mmengine's ``Runner.resume`` restores what it finds and is silent about the rest.
"""

import inspect
import logging
import math
from collections.abc import Mapping
from numbers import Real
from typing import Any

import torch
from mmengine.hooks import EMAHook
from mmengine.logging import print_log
from mmengine.optim import AmpOptimWrapper, _ParamScheduler
from mmengine.runner import EpochBasedTrainLoop, IterBasedTrainLoop, Runner

from mmpointrend.errors import CheckpointError

__all__ = [
    'STATE_ERRORS',
    'check_resumed',
    'check_training_state',
    'first_not_finite',
    'lost_state',
    'reason_of',
    'say_settings',
    'settings',
]

# Names of what training changes; other buffers may be infinite by design.
_LEARNED = ('weight', 'bias', 'running_mean', 'running_var')
# What torch's and mmengine's ``load_state_dict`` raise on the state of something else.
STATE_ERRORS = (
    AssertionError,
    AttributeError,
    LookupError,
    OverflowError,
    RuntimeError,
    TypeError,
    ValueError,
)


def first_not_finite(state_dict: Any) -> str | None:
    """First learned tensor with NaN or Inf.

    Args:
        state_dict: Tensors by name; anything else in it, or in its place, is passed over.

    Returns:
        Its name, or None where all weights, biases and running statistics are finite.
    """
    if not isinstance(state_dict, Mapping):
        return None
    for name, value in state_dict.items():
        if (
            isinstance(value, torch.Tensor)
            and (value.is_floating_point() or value.is_complex())
            and str(name).rpartition('.')[-1] in _LEARNED
            and not _is_finite(value)
        ):
            return str(name)
    return None


def _is_finite(value: torch.Tensor) -> bool:
    try:
        values = value if value.layout == torch.strided else value.to_sparse().coalesce().values()
        # Numbers of 8 bits know no isfinite.
        return bool((values.float() if values.itemsize < 2 else values).isfinite().all())
    except (NotImplementedError, RuntimeError):
        return True


def check_training_state(filename: str, checkpoint: dict[str, Any]) -> None:
    """Refuse to resume what mmengine cannot.

    Args:
        filename: Path or address of the checkpoint.
        checkpoint: Its content.

    Raises:
        CheckpointError: It holds weights alone, or numbers that are none.
    """
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    if meta is None or hub is None or (isinstance(meta, dict) and not {'epoch', 'iter'} <= {*meta}):
        raise CheckpointError(
            f'the checkpoint {filename} holds weights but no state of training and cannot be '
            f'resumed; start from it with --cfg-options load_from={filename} instead.'
        )
    if not isinstance(meta, dict) or not isinstance(hub, dict):
        raise CheckpointError(
            f'the checkpoint {filename} is damaged (its meta and message_hub have to be dicts); '
            'copy it anew or use an earlier one.'
        )
    for key in ('epoch', 'iter'):
        value = meta[key]
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise CheckpointError(
                f'the checkpoint {filename} is damaged (its meta.{key} is {str(value)[:40]!r}, and '
                'no count); copy it anew or use an earlier one.'
            )


def lost_state(runner: Runner, checkpoint: dict[str, Any]) -> list[str]:
    """What a run needs to go on as it was, and its checkpoint does not hold.

    Args:
        runner: The runner, its optimizer and schedules built.
        checkpoint: Content of the checkpoint, before mmengine restores it.

    Returns:
        A phrase for each part, with the mend where there is one; none where the run is over and no
        step is left to take.
    """
    if _is_over(runner, checkpoint.get('meta')):
        return []
    lost = []
    optimizer = checkpoint.get('optimizer')
    if optimizer is None:
        lost.append('no optimizer (default_hooks.checkpoint.save_optimizer=True saves it)')
    elif (
        isinstance(runner.optim_wrapper, AmpOptimWrapper)
        and isinstance(optimizer, dict)
        and 'loss_scaler' not in optimizer
    ):
        lost.append('no loss scale of mixed precision')
    schedules = runner.param_schedulers
    if schedules:
        saved = checkpoint.get('param_schedulers')
        if saved is None:
            lost.append(
                'no param_scheduler (default_hooks.checkpoint.save_param_scheduler=True saves it)'
            )
        elif isinstance(saved, list) and len(saved) != len(schedules):
            lost.append(f'the state of {len(saved)} schedules for the {len(schedules)} of this run')
    averaged, averages = 'ema_state_dict' in checkpoint, _averages(runner)
    if averages and not averaged:
        lost.append('no averaged weights, which EMAHook saves')
    elif averaged and not averages:
        lost.append('the averaged weights of EMAHook, which this run lacks, for its weights')
    return lost


def _is_over(runner: Runner, meta: Any) -> bool:
    loop = runner.train_loop
    unit, end = (
        ('epoch', loop.max_epochs)
        if isinstance(loop, EpochBasedTrainLoop)
        else ('iter', getattr(loop, 'max_iters', math.inf))
    )
    done = meta.get(unit) if isinstance(meta, dict) else None
    return isinstance(done, int) and done >= end


def _averages(runner: Runner) -> bool:
    return any(isinstance(hook, EMAHook) for hook in runner.hooks)


def reason_of(error: Exception) -> str:
    """First line of an error's message, or its type.

    Args:
        error: The error.

    Returns:
        The text, without a full stop.
    """
    lines = str(error).strip().splitlines()
    return lines[0].rstrip('.') if lines else type(error).__name__


def check_resumed(runner: Runner, filename: str) -> None:
    """Refuse a resumed run that would fail at its first step, or has none to take.

    Args:
        runner: The runner, resumed.
        filename: Path or address of the checkpoint.

    Raises:
        CheckpointError: The optimizer's state is another one's, or training is past its end.
    """
    loop = runner.train_loop
    if isinstance(loop, EpochBasedTrainLoop):
        _check_end(filename, loop.epoch, loop.max_epochs, 'epochs')
    elif isinstance(loop, IterBasedTrainLoop):
        _check_end(filename, loop.iter, loop.max_iters, 'iters')
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    if isinstance(optimizer, torch.optim.Optimizer):
        reason = _foreign_state(optimizer)
        if reason:
            raise CheckpointError(
                f'the checkpoint {filename} holds the state of another optimizer ({reason}): give '
                'the optim_wrapper that it was trained with, or start from its weights with '
                f'--cfg-options load_from={filename}.'
            )


def _check_end(filename: str, done: int, end: int, unit: str) -> None:
    if done > end:
        raise CheckpointError(
            f'the checkpoint {filename} has {done} {unit} behind it, more than '
            f'train_cfg.max_{unit}={end}: raise that to train on.'
        )


def _foreign_state(optimizer: torch.optim.Optimizer) -> str:
    """Why an optimizer's restored state is not its own; empty where it may be."""
    kind = type(optimizer).__name__
    for group in optimizer.param_groups:
        missing = [name for name in optimizer.defaults if name not in group]
        if missing:
            return f'without {missing[0]} of {kind}'
        for name, default in optimizer.defaults.items():
            value = group[name]
            if type(default) is float and not _is_number(value):
                return f'{name} is {value!r:.40}'
    for parameter, state in optimizer.state.items():
        for name in ('momentum_buffer', 'exp_avg', 'exp_avg_sq'):
            value = state.get(name)
            if value is not None and value.shape != parameter.shape:
                shapes = tuple(value.shape), tuple(parameter.shape)
                return f'{name} of shape {shapes[0]} for a parameter of {shapes[1]}'
    return ''


def _is_number(value: Any) -> bool:
    if isinstance(value, torch.Tensor):
        return value.numel() == 1
    # Whole numbers may be longer than any float.
    is_real = isinstance(value, Real) and not isinstance(value, bool)
    return is_real and bool(abs(value) <= 1e300)


def settings(runner: Runner) -> dict[str, Any]:
    """Settings of optimizer and schedules that a checkpoint overrides.

    Args:
        runner: The runner, its optimizer and schedules built.

    Returns:
        Values by name; empty where there are several optimizers.
    """
    found = {}
    scheduled = set()
    schedules = runner.param_schedulers if isinstance(runner.param_schedulers, list) else []
    for index, schedule in enumerate(schedules):
        if not isinstance(schedule, _ParamScheduler):
            continue
        scheduled.add(schedule.param_name)
        arguments = {
            name
            for base in type(schedule).__mro__
            if '__init__' in vars(base) and base is not object
            for name in inspect.signature(vars(base)['__init__']).parameters
        }
        for name in sorted(arguments - {'last_step', 'optimizer', 'param_name', 'verbose'}):
            if hasattr(schedule, name):
                found[f'param_scheduler[{index}].{name}'] = getattr(schedule, name)
    optimizer = getattr(runner.optim_wrapper, 'optimizer', None)
    if isinstance(optimizer, torch.optim.Optimizer):
        for index, group in enumerate(optimizer.param_groups):
            for name in ('lr', 'weight_decay', 'momentum', 'betas'):
                value = group.get(f'initial_{name}', None if name in scheduled else group.get(name))
                if value is not None:
                    found[f'optimizer.{name} of group {index}'] = value
    return found


def say_settings(configured: dict[str, Any], resumed: dict[str, Any]) -> None:
    """Say which settings come from the checkpoint and not from the config.

    Args:
        configured: :func:`settings` before resuming.
        resumed: The same afterwards.
    """
    other = [
        f'{name} {resumed[name]} (config: {value})'
        for name, value in configured.items()
        if name in resumed and not _equal(value, resumed[name])
    ]
    if other:
        more = ', ...' if len(other) > 3 else ''
        print_log(
            f'The resumed run keeps {len(other)} settings of its checkpoint, and not those of the '
            f'config: {", ".join(other[:3])}{more}; load_from instead of resume takes the '
            "config's.",
            'current',
            logging.WARNING,
        )


def _equal(one: Any, other: Any) -> bool:
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return list(one) == list(other)
    try:
        return bool(one == other)
    except (RuntimeError, ValueError):
        return False
