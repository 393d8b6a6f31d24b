# Copyright (c) The mmpointrend authors.
"""What is wrong with the input, in one sentence each: datasets, files, classes.

``dataset``: annotation files and folders, when a dataset is built. ``coco`` and ``annotations``:
what of a COCO file is used, and under which labels. ``files``: images, label maps and masks, when they
are read (what is looked at is in ``images``, ``label_maps`` and ``masks``). ``classes``: the classes of
model, data and checkpoint against one another. ``metrics``: metrics that would err. ``settings``:
what a whole model is asked to do. ``loaders``: data loaders, their batches and augmentations.
"""

from mmpointrend.engine.checks.classes import (
    check_checkpoint_classes,
    check_class_counts,
    check_same_classes,
)
from mmpointrend.engine.checks.coco import CheckedAnnotations, checked_config
from mmpointrend.engine.checks.dataset import (
    build_dataset,
    check_dataset,
    leaves,
    naming_the_dataset,
)
from mmpointrend.engine.checks.files import NamedLoading, name_files_on_loading
from mmpointrend.engine.checks.label_maps import LabelRange, watch_labels
from mmpointrend.engine.checks.loaders import (
    BatchSizeHook,
    check_loader_config,
    check_mask_augmentations,
    check_single_images,
    without_idle_workers,
)
from mmpointrend.engine.checks.metrics import check_label_order, check_metrics
from mmpointrend.engine.checks.settings import (
    check_model,
    check_model_config,
    check_test_settings,
    check_train_settings,
    share_test_cfg,
)

__all__ = [
    'BatchSizeHook',
    'CheckedAnnotations',
    'LabelRange',
    'NamedLoading',
    'build_dataset',
    'check_checkpoint_classes',
    'check_class_counts',
    'check_dataset',
    'check_label_order',
    'check_loader_config',
    'check_mask_augmentations',
    'check_metrics',
    'check_model',
    'check_model_config',
    'check_same_classes',
    'check_single_images',
    'check_test_settings',
    'check_train_settings',
    'checked_config',
    'leaves',
    'name_files_on_loading',
    'naming_the_dataset',
    'share_test_cfg',
    'watch_labels',
    'without_idle_workers',
]
