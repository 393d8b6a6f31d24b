# Copyright (c) The mmpointrend authors.
"""mmengine's runner with checks: bad input and bad checkpoints get a sentence, a damaged last
checkpoint is passed over.

The tools of this package use it; ``runner_type = 'mmpointrend.CheckedRunner'`` in a config makes
mmdet's and mmseg's own tools use it too.
"""

import logging
from collections.abc import Callable
from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import BaseLoop, Runner
from torch import distributed, nn
from torch.utils.data import DataLoader

from mmpointrend.engine.checkpoint import LoadReport, find_resumable, watch_loading
from mmpointrend.engine.checks import (
    BatchSizeHook,
    check_class_counts,
    check_dataset,
    check_loader_config,
    check_mask_augmentations,
    check_model,
    check_model_config,
    check_single_images,
    check_test_settings,
    check_train_settings,
    name_files_on_loading,
    naming_the_dataset,
    without_idle_workers,
)
from mmpointrend.engine.hooks import LabelRangeHook
from mmpointrend.errors import CheckpointError, ConfigError
from mmpointrend.registry import RUNNERS

__all__ = ['CheckedRunner']

# Less of a checkpoint than this fits into a model by chance of equal names only.
_LEAST_SHARE = 0.1


@RUNNERS.register_module()
class CheckedRunner(Runner):
    """``mmengine.runner.Runner`` that refuses what cannot work, in one sentence, and runs
    distributed on CPUs too.

    - A dataset that cannot be read, holds no image, or has another class count than the heads:
      refused when it is built. A missing or damaged image or label map is named when it is read.
    - A checkpoint that is damaged or of another model is refused. Partly matching ones are refused
      for test and resume and reported for ``load_from``.
    - ``resume`` without a path passes over damaged checkpoints to the newest whole one.
    - Where there is no GPU, launcher ``pytorch`` uses gloo and leaves the model on the CPU;
      mmengine assumes CUDA.
    """

    _load_from: str | None

    def setup_env(self, env_cfg: dict[str, Any]) -> None:
        """Set up processes; join a gloo group first where mmengine would insist on CUDA.

        Args:
            env_cfg: ``env_cfg`` of the config.

        Raises:
            ConfigError: A launcher other than ``pytorch`` without a GPU.
        """
        if self.distributed and not torch.cuda.is_available() and not distributed.is_initialized():
            if self.launcher != 'pytorch':
                raise ConfigError(
                    f'launcher {self.launcher} needs a GPU; on CPUs use tools/dist_train.sh '
                    '(launcher pytorch).'
                )
            distributed.init_process_group('gloo')
        super().setup_env(env_cfg)

    def wrap_model(self, model_wrapper_cfg: dict[str, Any] | None, model: nn.Module) -> nn.Module:
        """Wrap the model for distributed training, on CPUs without device ids.

        Args:
            model_wrapper_cfg: ``model_wrapper_cfg`` of the config.
            model: The model.

        Returns:
            The model, wrapped where the run is distributed.
        """
        if self.distributed and not torch.cuda.is_available():
            defaults = dict(
                type='MMDistributedDataParallel',
                broadcast_buffers=False,
                find_unused_parameters=self.cfg.get('find_unused_parameters', False),
            )
            model_wrapper_cfg = {**defaults, **(model_wrapper_cfg or {}), 'device_ids': None}
        return super().wrap_model(model_wrapper_cfg, model)

    def build_model(self, model: nn.Module | dict[str, Any]) -> nn.Module:
        """Build the model; settings that would fail later are refused now.

        Args:
            model: Config or model.

        Returns:
            The model.

        Raises:
            ConfigError: Its parts do not fit each other, or it cannot be tested as ``test_cfg`` says.
        """
        if isinstance(model, dict):
            check_model_config(model)
        built = super().build_model(model)
        check_model(built)
        return built

    @staticmethod
    def build_dataloader(
        dataloader: DataLoader | dict[str, Any],
        seed: int | None = None,
        diff_rank_seed: bool = False,
    ) -> DataLoader:
        """Build a data loader whose dataset has images and names its bad files.

        Args:
            dataloader: Config, or a loader that is taken as it is.
            seed: Seed of sampler and workers.
            diff_rank_seed: Whether ranks draw their own seeds.

        Returns:
            The data loader.

        Raises:
            InputError: The dataset cannot be read or is empty.
        """
        if isinstance(dataloader, DataLoader):
            return dataloader
        dataset = dataloader['dataset']
        with naming_the_dataset(dataset if isinstance(dataset, dict) else {}):
            loader = Runner.build_dataloader(without_idle_workers(dataloader), seed, diff_rank_seed)
        check_dataset(loader.dataset)
        check_mask_augmentations(loader.dataset)
        name_files_on_loading(loader.dataset)
        return loader

    def build_train_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the training loop and compare its classes with the model's.

        Args:
            loop: Config or loop.

        Returns:
            The loop.

        Raises:
            ConfigError: The class counts disagree, or a setting would fail later.
        """
        check_train_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._train_dataloader, 'train_dataloader')
            self._watch_labels()
            self._watch_batches()
        built = self._checked('train_dataloader', super().build_train_loop(loop))
        check_single_images(self.model, built.dataloader)
        return built

    def _watch_batches(self) -> None:
        if not any(isinstance(hook, BatchSizeHook) for hook in self.hooks):
            self.register_hook(BatchSizeHook())

    def _watch_labels(self) -> None:
        model = self.model.module if is_model_wrapper(self.model) else self.model
        head = getattr(model, 'decode_head', None)
        # With one output channel mmseg's heads still say num_classes=2, for the labels 0 and 1.
        classes, ignored = (getattr(head, name, None) for name in ('num_classes', 'ignore_index'))
        if classes is not None and ignored is not None:
            self.register_hook(LabelRangeHook(classes, ignored))

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """Build the metrics; a missing or damaged annotation file is named.

        Args:
            evaluator: Config of a metric, a list of them, or an evaluator.

        Returns:
            The evaluator.

        Raises:
            InputError: An annotation file cannot be read.
        """
        metrics = evaluator if isinstance(evaluator, list) else [evaluator]
        configs = [metric for metric in metrics if isinstance(metric, dict)]
        with naming_the_dataset(dict(datasets=configs)):
            return super().build_evaluator(evaluator)

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the validation loop and compare its classes with the model's.

        Args:
            loop: Config or loop.

        Returns:
            The loop.

        Raises:
            ConfigError: The class counts disagree, or a setting would fail later.
        """
        check_test_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._val_dataloader, 'val_dataloader')
            self._watch_batches()
        return self._checked('val_dataloader', super().build_val_loop(loop))

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the test loop and compare its classes with the model's.

        Args:
            loop: Config or loop.

        Returns:
            The loop.

        Raises:
            ConfigError: The class counts disagree, or a setting would fail later.
        """
        check_test_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._test_dataloader, 'test_dataloader')
            self._watch_batches()
        return self._checked('test_dataloader', super().build_test_loop(loop))

    def _checked(self, name: str, loop: BaseLoop) -> BaseLoop:
        check_class_counts(self.model, loop.dataloader.dataset, name)
        return loop

    def train(self) -> nn.Module:
        """Train; a batch that is too small for a batch normalisation gets a sentence.

        Returns:
            The model.

        Raises:
            ConfigError: Such a batch came up.
        """
        try:
            return super().train()
        except ValueError as error:
            if 'Expected more than 1 value per channel' not in str(error):
                raise
            raise ConfigError(
                'a batch normalisation got one value a channel, which it cannot be trained on '
                f'({error}): set train_dataloader.batch_size to 2 or more with drop_last=True, or '
                "the norm_cfg of the head that has it to dict(type='GN', num_groups=...)."
            ) from error

    def load_or_resume(self) -> None:
        """Load or resume; automatic resuming takes the newest whole checkpoint of the work folder.

        Raises:
            CheckpointError: The checkpoint cannot be used, or every one in the work folder is
                damaged.
        """
        if self._resume and self._load_from is None and not self._has_loaded:
            self._load_from = find_resumable(self.work_dir, self.logger.warning)
            if self._load_from is None:
                self.logger.info(f'No checkpoint in {self.work_dir}: training starts anew.')
                return
        super().load_or_resume()

    def resume(self, filename: str, *args: Any, **kwargs: Any) -> None:
        """Resume training from a checkpoint.

        Args:
            filename: Path or address of the checkpoint.
            *args: As in mmengine's runner.
            **kwargs: As in mmengine's runner.

        Raises:
            CheckpointError: It is damaged, of another model, or holds no state of training.
        """
        self._resume = True
        try:
            super().resume(filename, *args, **kwargs)
        except KeyError as error:
            if error.args[0] not in ('meta', 'epoch', 'iter', 'message_hub'):
                raise
            raise CheckpointError(
                f'the checkpoint {filename} holds weights but no state of training and cannot be '
                f'resumed; start from it with --cfg-options load_from={filename} instead.'
            ) from error

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
        return checkpoint

    def _judge(self, filename: str, report: LoadReport) -> None:
        """Refuse or report what does not fit."""
        fitting = report.offered - len(report.unexpected) - len(report.reshaped)
        if fitting < _LEAST_SHARE * max(report.offered, 1) or report.filled == 0:
            raise CheckpointError(
                f'the checkpoint {filename} is of another model: {report}; give the config that it '
                'was trained with (weights of a backbone alone go to model.backbone.init_cfg='
                "dict(type='Pretrained', checkpoint=...))."
            )
        if not report.missing and not report.reshaped:
            return
        if self._resume or not isinstance(self._train_loop, BaseLoop):
            purpose = 'resume' if self._resume else 'test'
            raise CheckpointError(
                f'the checkpoint {filename} does not fit the model to {purpose}: {report}; give '
                'the config that it was trained with.'
            )
        print_log(f'Of {filename} {report}; the rest starts untrained.', 'current', logging.WARNING)
