# Copyright (c) The mmpointrend authors.
"""The hooks of this package for any run; each of the larger ones has a module of its own."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpointrend.engine.finite_loss import FiniteLossHook
from mmpointrend.engine.saving import AtomicLocalBackend, SafeCheckpointHook
from mmpointrend.engine.seeding import IterationSeedHook
from mmpointrend.errors import InputError

__all__ = [
    'AtomicLocalBackend',
    'FiniteLossHook',
    'IterationSeedHook',
    'LabelRangeHook',
    'SafeCheckpointHook',
]


class LabelRangeHook(Hook):
    """Refuse label maps with labels that the head has no class for, before the loss fails on them.

    The cross entropy says ``Target 11 is out of bounds`` on a CPU and takes the whole process down on
    a GPU. Each file is looked at once, when training first meets it.

    Args:
        num_classes: Number of classes K of the head; labels are 0 to K - 1.
        ignore_index: The label that the loss leaves out.
    """

    priority = 'VERY_HIGH'

    def __init__(self, num_classes: int, ignore_index: int) -> None:
        self.num_classes, self.ignore_index = num_classes, ignore_index
        self._seen: set[str] = set()

    def before_train_iter(self, runner: Runner, batch_idx: int, data_batch: Any = None) -> None:
        """Look at the label maps of a batch.

        Args:
            runner: The runner; unused.
            batch_idx: Index of the batch; unused.
            data_batch: Dict whose ``data_samples`` carry ``gt_sem_seg`` (1, H, W).

        Raises:
            InputError: A label is out of range; the message names file, label and the mend.
        """
        for sample in (data_batch or {}).get('data_samples', ()):
            path = sample.get('seg_map_path', '')
            if 'gt_sem_seg' not in sample or path in self._seen:
                continue
            self._seen.add(path)
            labels = sample.gt_sem_seg.data
            wrong = labels[(labels >= self.num_classes) & (labels != self.ignore_index)]
            if wrong.numel():
                raise InputError(
                    f'the label map {path} holds label {int(wrong[0])}, but the head has '
                    f'{self.num_classes} classes (labels 0 to {self.num_classes - 1}) and leaves out '
                    f'{self.ignore_index}: map the label in the pipeline, or set num_classes.'
                )
