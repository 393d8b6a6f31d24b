# Copyright (c) The mmpointrend authors.
"""Training that stops where its losses are no numbers any more, before good checkpoints are lost."""

import logging
import math
import os
from typing import Any

from mmengine.hooks import Hook, RuntimeInfoHook
from mmengine.logging import print_log
from mmengine.runner import Runner
from torch import nn

from mmpointrend.errors import DivergenceError
from mmpointrend.registry import HOOKS

__all__ = ['FiniteLossHook', 'refuse_spoilt_weights', 'spoilt_parameter']

# The loss scale of mixed precision starts at 2^16 and is halved at every step that it leaves out.
_PATIENCE = 30


def spoilt_parameter(model: nn.Module) -> str | None:
    """First trained parameter with NaN or Inf.

    Args:
        model: The model, wrapped or not.

    Returns:
        Its name, or None where all are finite.
    """
    for name, parameter in model.named_parameters():
        if parameter.requires_grad and not parameter.isfinite().all():
            return name
    return None


def refuse_spoilt_weights(runner: Runner) -> None:
    """Refuse to save weights that nothing can be done with.

    All ranks hold the same weights, so that all refuse, also where one of them alone met the loss
    that spoilt them.

    Args:
        runner: The runner, about to save.

    Raises:
        DivergenceError: A trained parameter holds NaN or Inf.
    """
    name = spoilt_parameter(runner.model)
    if name is not None:
        raise DivergenceError(
            f'the weights hold NaN or Inf in iteration {runner.iter + 1} (first in {name}) and are '
            f'not saved; {_way_back(runner)}.'
        )


def _way_back(runner: Runner) -> str:
    last = runner.message_hub.runtime_info.get('last_ckpt')
    clip = 'optim_wrapper.clip_grad=dict(max_norm=35)'
    # A resumed run takes the learning rate from its checkpoint, whatever the config says.
    if isinstance(last, str) and ('://' in last or os.path.isfile(last)):
        return (
            f'the last checkpoint is {last}: go on from it with --resume and {clip}, or start from '
            'it with load_from and a lower optim_wrapper.optimizer.lr'
        )
    return (
        f'there is no checkpoint yet: train anew with {clip}, or with a lower '
        'optim_wrapper.optimizer.lr'
    )


@HOOKS.register_module()
class FiniteLossHook(Hook):
    """Stop when a loss that is NaN or Inf has spoilt the weights, and say which, when and with what
    images.

    mmdet's ``CheckInvalidLossHook`` looks every 50 iterations and fails an assertion without a
    name. Where the weights are still finite, because the step was left out (a dynamic loss scale
    does so), it is said once, and training goes on unless that happens 30 times in succession.

    It runs before the hooks that log and save. The losses are read where mmengine's
    ``RuntimeInfoHook`` has put them as numbers, which costs no further synchronisation of a GPU.
    """

    priority = 'HIGH'

    def __init__(self) -> None:
        self._in_succession = 0
        self._said = False

    def after_train_iter(
        self,
        runner: Runner,
        batch_idx: int,
        data_batch: Any = None,
        outputs: dict[str, Any] | None = None,
    ) -> None:
        """Look at the losses of an iteration.

        Args:
            runner: The runner.
            batch_idx: Index of the batch; unused.
            data_batch: The batch, whose images are named.
            outputs: Losses by name.

        Raises:
            DivergenceError: The weights are spoilt, or no step has been taken for long.
        """
        losses = _losses(runner, outputs)
        if all(map(math.isfinite, losses.values())):
            self._in_succession = 0
            return
        self._in_succession += 1
        shown = ', '.join(f'{name} {value:.4g}' for name, value in losses.items())
        what = (
            f'the loss is NaN or Inf in iteration {runner.iter + 1} ({shown}{_images(data_batch)})'
        )
        spoilt = spoilt_parameter(runner.model)
        if spoilt is not None:
            raise DivergenceError(
                f'{what} and has spoilt the weights (first {spoilt}); {_way_back(runner)}.'
            )
        if self._in_succession >= _PATIENCE:
            raise DivergenceError(
                f'{what}, as in the {_PATIENCE - 1} iterations before, so that nothing is learnt; '
                f'{_way_back(runner)}.'
            )
        if not self._said:
            self._said = True
            print_log(
                f'{what[0].upper()}{what[1:]}; the weights are finite, the step was left out.',
                'current',
                logging.WARNING,
            )


def _losses(runner: Runner, outputs: Any) -> dict[str, float]:
    """Losses of an iteration as numbers."""
    if not isinstance(outputs, dict):
        return {}
    told = any(isinstance(hook, RuntimeInfoHook) for hook in runner.hooks)
    history = runner.message_hub.log_scalars if told else {}
    losses = {}
    for name, value in outputs.items():
        if 'loss' in name:
            read = history.get(f'train/{name}')
            losses[name] = float(value) if read is None else float(read.current())
    return losses


def _images(data_batch: Any) -> str:
    """Files of a batch, for a message."""
    samples = data_batch.get('data_samples', ()) if isinstance(data_batch, dict) else ()
    paths = [sample.get('img_path') for sample in samples if hasattr(sample, 'get')]
    named = [str(path) for path in paths if path]
    if not named:
        return ''
    return f'; images {", ".join(named[:3])}{", ..." if len(named) > 3 else ""}'
