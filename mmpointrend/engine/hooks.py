# Copyright (c) The mmpointrend authors.
"""The hooks of this package for any run; each of the larger ones has a module of its own."""

from typing import Any

from mmengine.hooks import Hook
from mmengine.runner import Runner

from mmpointrend.engine.checks import LabelRange
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
