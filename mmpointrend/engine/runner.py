# Copyright (c) The mmpointrend authors.
"""mmengine's runner with checks: bad input and bad checkpoints get a sentence, a damaged last
checkpoint is passed over.

The tools of this package use it; ``runner_type = 'mmpointrend.CheckedRunner'`` in a config makes
mmdet's and mmseg's own tools use it too.
"""

from typing import Any

import torch
from mmengine.evaluator import Evaluator
from mmengine.logging import MMLogger
from mmengine.runner import BaseLoop, Runner
from torch import distributed, nn
from torch.utils.data import DataLoader

from mmpointrend.data_files import without_pickles
from mmpointrend.engine.checks import (
    BatchSizeHook,
    LabelRange,
    check_checkpoint_classes,
    check_class_counts,
    check_dataset,
    check_label_order,
    check_loader_config,
    check_mask_augmentations,
    check_metrics,
    check_model,
    check_model_config,
    check_same_classes,
    check_single_images,
    check_test_settings,
    check_train_settings,
    checked_config,
    name_files_on_loading,
    naming_the_dataset,
    share_test_cfg,
    watch_labels,
    without_idle_workers,
)
from mmpointrend.engine.hooks import FiniteLossHook, LabelRangeHook
from mmpointrend.engine.resuming_runner import ResumingRunner
from mmpointrend.engine.saving import complain_once, naming_the_disk
from mmpointrend.engine.sparse_results import check_mask_consumers, use_run_lengths
from mmpointrend.errors import ConfigError
from mmpointrend.registry import RUNNERS

__all__ = ['CheckedRunner']


@RUNNERS.register_module()
class CheckedRunner(ResumingRunner):
    """``mmengine.runner.Runner`` that refuses what cannot work, in one sentence, and runs
    distributed on CPUs too.

    - A dataset that cannot be read, holds no image, or has another class count than the heads:
      refused when it is built. A missing or damaged image or label map is named when it is read.
    - COCO datasets are built with :class:`~mmpointrend.engine.checks.CheckedAnnotations`:
      annotations that are not used are counted, and labels follow ``metainfo['classes']``. The
      same classes in another order, in another loader or in the checkpoint, are refused.
    - A checkpoint that is damaged or of another model is refused. Partly matching ones are refused
      for test and resume and reported for ``load_from``.
    - ``resume`` without a path passes over damaged checkpoints to the newest whole one. What a
      checkpoint lacks of a run's state is said.
    - Losses that are NaN or Inf stop training, before a checkpoint of use is replaced.
    - A disk that is full, read-only or forbidden gets a sentence.
    - Where there is no GPU, launcher ``pytorch`` uses gloo and leaves the model on the CPU;
      mmengine assumes CUDA.
    """

    _train_dataloader: DataLoader | dict[str, Any] | None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        work_dir = kwargs.get('work_dir') or next(iter(args[1:]), None)
        with naming_the_disk(f'a file in the work_dir {work_dir}'):
            super().__init__(*args, **kwargs)

    def build_logger(self, *args: Any, **kwargs: Any) -> MMLogger:
        """Build the logger, which says once that its file cannot be written.

        Args:
            *args: As in mmengine's runner.
            **kwargs: As in mmengine's runner.

        Returns:
            The logger.
        """
        logger = super().build_logger(*args, **kwargs)
        complain_once(logger)
        return logger

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
            InputError: A file of class weights is a pickle.
        """
        if isinstance(model, dict):
            check_model_config(model)
        with without_pickles(model if isinstance(model, dict) else {}):
            built = super().build_model(model)
        check_model(built)
        check_mask_consumers(built)
        share_test_cfg(built)
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
            InputError: The dataset cannot be read, reads a pickle, is empty, holds no annotation
                that can be used, or its classes are not those of its annotation file.
        """
        if isinstance(dataloader, DataLoader):
            return dataloader
        dataset = dataloader['dataset']
        config = dataset if isinstance(dataset, dict) else {}
        with naming_the_dataset(config), without_pickles(config):
            dataloader = {**without_idle_workers(dataloader), 'dataset': checked_config(dataset)}
            loader = Runner.build_dataloader(dataloader, seed, diff_rank_seed)
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
            ConfigError: The classes disagree in number or order, or a setting would fail later.
        """
        check_train_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._train_dataloader, 'train_dataloader')
            self._watch_labels()
            self._watch_batches()
            if not any(isinstance(hook, FiniteLossHook) for hook in self.hooks):
                self.register_hook(FiniteLossHook())
        built = self._checked('train_dataloader', super().build_train_loop(loop))
        check_single_images(self.model, built.dataloader)
        return built

    def _watch_batches(self) -> None:
        if not any(isinstance(hook, BatchSizeHook) for hook in self.hooks):
            self.register_hook(BatchSizeHook())

    def _watch_labels(self) -> None:
        labels = LabelRange.of_model(self.model)
        if labels is None:
            return
        self.register_hook(LabelRangeHook(labels.num_classes, *labels.ignored))
        # An iteration loop starts the workers when it is built: by then the dataset has to know the labels.
        if isinstance(self._train_dataloader, dict):
            self._train_dataloader = self.build_dataloader(
                self._train_dataloader,
                seed=self.seed,
                diff_rank_seed=self._randomness_cfg.get('diff_rank_seed', False),
            )
        if self._train_dataloader is not None:
            watch_labels(self._train_dataloader.dataset, labels, 'train_dataloader')

    def _watch_labels_of(self, loop: BaseLoop, name: str) -> None:
        labels = LabelRange.of_model(self.model)
        if labels is not None:
            metrics = getattr(getattr(loop, 'evaluator', None), 'metrics', ())
            void = [getattr(metric, 'ignore_index', None) for metric in metrics]
            labels = labels.ignoring(label for label in void if isinstance(label, int))
            watch_labels(loop.dataloader.dataset, labels, name)

    def build_evaluator(self, evaluator: Any) -> Evaluator:
        """Build the metrics; a missing or damaged annotation file is named, annotation ids may
        start at 0.

        Args:
            evaluator: Config of a metric, a list of them, or an evaluator.

        Returns:
            The evaluator.

        Raises:
            InputError: An annotation file cannot be read or evaluated.
            ConfigError: A metric cannot run here.
        """
        metrics = evaluator if isinstance(evaluator, list) else [evaluator]
        configs = [metric for metric in metrics if isinstance(metric, dict)]
        config = dict(datasets=configs)
        with naming_the_dataset(config), without_pickles(config):
            built = super().build_evaluator(evaluator)
            check_metrics(built.metrics, metrics)
        return built

    def build_val_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the validation loop and compare its classes with the model's.

        Args:
            loop: Config or loop.

        Returns:
            The loop.

        Raises:
            ConfigError: The classes disagree in number or order, or a setting would fail later.
        """
        check_test_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._val_dataloader, 'val_dataloader')
            self._watch_batches()
        return self._checked('val_dataloader', super().build_val_loop(loop), evaluates=True)

    def build_test_loop(self, loop: BaseLoop | dict[str, Any]) -> BaseLoop:
        """Build the test loop and compare its classes with the model's.

        Args:
            loop: Config or loop.

        Returns:
            The loop.

        Raises:
            ConfigError: The classes disagree in number or order, or a setting would fail later.
        """
        check_test_settings(self.model)
        if not isinstance(loop, BaseLoop):
            check_loader_config(self._test_dataloader, 'test_dataloader')
            self._watch_batches()
        return self._checked('test_dataloader', super().build_test_loop(loop), evaluates=True)

    def _checked(self, name: str, loop: BaseLoop, evaluates: bool = False) -> BaseLoop:
        dataset = loop.dataloader.dataset
        check_class_counts(self.model, dataset, name)
        if isinstance(self._train_loop, BaseLoop):
            train_dataset = self._train_loop.dataloader.dataset
            check_same_classes(dataset, train_dataset, name, 'train_dataloader')
        if hasattr(loop, 'evaluator'):
            check_label_order(loop.evaluator.metrics, dataset)
        if evaluates:
            self._watch_labels_of(loop, name)
        return loop

    def train(self) -> nn.Module:
        """Train; a full disk, or a batch too small for a batch normalisation, gets a sentence.

        Returns:
            The model.

        Raises:
            OutputError: Something cannot be written.
            ConfigError: A batch normalisation got one value a channel.
        """
        try:
            with naming_the_disk(self._some_file):
                return super().train()
        except ValueError as error:
            if 'Expected more than 1 value per channel' not in str(error):
                raise
            raise ConfigError(
                'a batch normalisation got one value a channel, which it cannot be trained on '
                f'({error}): set train_dataloader.batch_size to 2 or more with drop_last=True, or '
                "the norm_cfg of the head that has it to dict(type='GN', num_groups=...)."
            ) from error

    def val(self) -> dict[str, float]:
        """Validate; a disk that is full or refuses gets a sentence.

        Returns:
            The evaluator's figures by name.

        Raises:
            OutputError: Something cannot be written.
        """
        with naming_the_disk(self._some_file):
            return super().val()

    def test(self) -> dict[str, float]:
        """Test; a disk that is full or refuses gets a sentence.

        Returns:
            The evaluator's figures by name.

        Raises:
            OutputError: Something cannot be written.
        """
        use_run_lengths(self)
        with naming_the_disk(self._some_file):
            return super().test()

    @property
    def _some_file(self) -> str:
        return f'a file of the run in {self.work_dir}'

    def load_checkpoint(self, filename: str, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Load a checkpoint of this model and of these classes.

        Args:
            filename: Path or address of the checkpoint.
            *args: As in :meth:`ResumingRunner.load_checkpoint`.
            **kwargs: As in :meth:`ResumingRunner.load_checkpoint`.

        Returns:
            The checkpoint.

        Raises:
            CheckpointError: It is damaged, fills too little of the model, or was trained on the
                same classes in another order.
        """
        checkpoint = super().load_checkpoint(filename, *args, **kwargs)
        for name in ('train', 'test', 'val'):
            loop = getattr(self, f'_{name}_loop')
            if isinstance(loop, BaseLoop):
                check_checkpoint_classes(
                    checkpoint,
                    loop.dataloader.dataset,
                    filename,
                    f'{name}_dataloader',
                    trains_anew=name == 'train' and not self._resume,
                )
                break
        return checkpoint
