# Copyright (c) The mmpointrend authors.
"""mmengine's runner with checks of what it loads and resumes, the optimizer among it."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from mmengine.device import get_device
from mmengine.hooks import CheckpointHook
from mmengine.logging import print_log
from mmengine.runner import BaseLoop, Runner

from mmpointrend.engine.checkpoint import LoadReport, check_fit, watch_loading
from mmpointrend.engine.resuming import find_resumable
from mmpointrend.engine.saving import clear_link
from mmpointrend.engine.training_state import (
    STATE_ERRORS,
    check_resumed,
    check_training_state,
    first_not_finite,
    lost_state,
    reason_of,
    say_settings,
    settings,
)
from mmpointrend.errors import CheckpointError, ConfigError, PointRendError
from mmpointrend.rules import naming

__all__ = ['ResumingRunner']


class ResumingRunner(Runner):
    """``mmengine.runner.Runner`` that refuses checkpoints of other models and optimizers that cannot
    be built, and says what a resumed checkpoint lacks."""

    _load_from: str | None
    # Of a resume in progress: whether all that was saved is asked for, and has been read so far.
    _is_whole = True
    _loaded_weights = False

    def dump_config(self) -> None:
        """Write the config into ``work_dir``, through no link."""
        if self.cfg.filename is not None:
            clear_link(Path(self.work_dir) / Path(self.cfg.filename).name)
        super().dump_config()

    def build_optim_wrapper(self, optim_wrapper: Any) -> Any:
        """Build the optimizer with its wrapper.

        Args:
            optim_wrapper: Config or wrapper.

        Returns:
            The wrapper.

        Raises:
            ConfigError: It cannot be built, such as mixed precision without a GPU.
        """
        kind = optim_wrapper.get('type') if isinstance(optim_wrapper, Mapping) else None
        if str(kind).split('.')[-1] == 'AmpOptimWrapper' and get_device() == 'cpu':
            raise ConfigError(
                f'optim_wrapper.type is {kind}, mixed precision, which needs a GPU, and none is '
                "visible: set optim_wrapper=dict(type='OptimWrapper') without dtype and loss_scale."
            )
        with naming('optim_wrapper'):
            try:
                return super().build_optim_wrapper(optim_wrapper)
            except TypeError as error:
                # What mmengine says of the class of an optimizer that it has not found.
                if 'None is not a callable' not in str(error):
                    raise
                name = optim_wrapper['optimizer']['type']
                raise KeyError(f'{name} is not in the registry of optimizers') from error

    def build_param_scheduler(self, scheduler: Any) -> Any:
        """Build the schedules of the optimizer's settings.

        Args:
            scheduler: Config of a schedule, a list of them, or schedules.

        Returns:
            The schedules, as mmengine's runner gives them.

        Raises:
            ConfigError: One of them cannot be built.
        """
        with naming('param_scheduler'):
            return super().build_param_scheduler(scheduler)

    def load_or_resume(self) -> None:
        """Load or resume; automatic resuming takes the newest usable checkpoint of the run.

        Raises:
            CheckpointError: The checkpoint cannot be used, or none of the run's can.
        """
        if self._resume and self._load_from is None and not self._has_loaded:
            places = [hook.out_dir for hook in self.hooks if isinstance(hook, CheckpointHook)]
            out_dir = next((str(place) for place in places if place is not None), None)
            self._load_from = find_resumable(self.work_dir, self.logger.warning, out_dir)
            if self._load_from is None:
                self.logger.info(f'No checkpoint in {self.work_dir}: training starts anew.')
                return
        super().load_or_resume()

    def resume(
        self,
        filename: str,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        map_location: str | Callable[..., Any] = 'default',
    ) -> None:
        """Resume training from a checkpoint.

        What the checkpoint lacks of the run's state is said, and so are settings of the optimizer
        and the schedules that it brings along and the config has otherwise.

        Args:
            filename: Path or address of the checkpoint.
            resume_optimizer: Whether to restore the optimizer.
            resume_param_scheduler: Whether to restore the schedules.
            map_location: As in ``torch.load``; 'default' is the device of the run.

        Raises:
            CheckpointError: It is damaged, of another model, or holds no state of training.
        """
        self._resume, self._load_from = True, filename
        self._is_whole = resume_optimizer and resume_param_scheduler
        configured = settings(self)
        self._loaded_weights = False
        try:
            super().resume(filename, resume_optimizer, resume_param_scheduler, map_location)
        except PointRendError:
            raise
        except STATE_ERRORS as error:
            if not self._loaded_weights:
                raise
            raise CheckpointError(
                f'the state of training in {filename} does not fit this run ({reason_of(error)}): '
                'give the config that it was trained with, or start from its weights with '
                f'--cfg-options load_from={filename}.'
            ) from error
        check_resumed(self, filename)
        say_settings(configured, settings(self))

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | Callable[..., Any] = 'cpu',
        strict: bool = False,
        revise_keys: list[tuple[str, str]] | None = None,
    ) -> dict[str, Any]:
        """Load a checkpoint that is one of this model.

        Args:
            filename: Path or address of the checkpoint.
            map_location: As in ``torch.load``.
            strict: Whether mmengine refuses any difference.
            revise_keys: Patterns and replacements for the names; None strips ``module.``.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: It is damaged, or fills too little of the model.
        """
        with watch_loading(self.model) as report:
            checkpoint = super().load_checkpoint(
                filename, map_location, strict, revise_keys or [(r'^module\.', '')]
            )
        self._judge(filename, report)
        spoilt = first_not_finite(checkpoint.get('state_dict', checkpoint))
        if spoilt is not None:
            self._complain_of(filename, spoilt)
        if self._resume:
            check_training_state(filename, checkpoint)
            # mmengine would run it as a config, for a number of GPUs that only mmcv 1 wrote there.
            checkpoint['meta'].pop('config', None)
            lost = lost_state(self, checkpoint) if self._is_whole else []
            if lost:
                print_log(
                    f'The checkpoint {filename} holds {" and ".join(lost)}: that starts anew.',
                    'current',
                    logging.WARNING,
                )
        self._loaded_weights = True
        return checkpoint

    def _complain_of(self, filename: str, spoilt: str) -> None:
        if self._resume:
            raise CheckpointError(
                f'the checkpoint {filename} holds NaN or Inf in {spoilt}; use an earlier one.'
            )
        print_log(
            f'The checkpoint {filename} holds NaN or Inf in {spoilt}.', 'current', logging.WARNING
        )

    def _judge(self, filename: str, report: LoadReport) -> None:
        """Refuse or report what does not fit."""
        starts_training = not self._resume and isinstance(self._train_loop, BaseLoop)
        purpose = None if starts_training else 'resume' if self._resume else 'test'
        if check_fit(filename, report, purpose):
            return
        print_log(f'Of {filename} {report}; the rest starts untrained.', 'current', logging.WARNING)
