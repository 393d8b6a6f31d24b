# Copyright (c) The mmpointrend authors.
"""What is wrong with the input, in one sentence each: datasets, files, classes.

``dataset``: annotation files and folders, when a dataset is built. ``files``: images and label maps, when they are
read. ``classes``: the model's classes against the data's. ``settings``: what a whole model is asked to do. ``loaders``:
data loaders, their batches and augmentations.
"""

from mmpointrend.engine.checks.classes import check_class_counts
from mmpointrend.engine.checks.dataset import check_dataset, leaves, naming_the_dataset
from mmpointrend.engine.checks.files import NamedLoading, name_files_on_loading
from mmpointrend.engine.checks.loaders import (
    BatchSizeHook,
    check_loader_config,
    check_mask_augmentations,
    check_single_images,
    without_idle_workers,
)
from mmpointrend.engine.checks.settings import (
    check_model,
    check_model_config,
    check_test_settings,
    check_train_settings,
)

__all__ = [
    'BatchSizeHook',
    'NamedLoading',
    'check_class_counts',
    'check_dataset',
    'check_loader_config',
    'check_mask_augmentations',
    'check_model',
    'check_model_config',
    'check_single_images',
    'check_test_settings',
    'check_train_settings',
    'leaves',
    'name_files_on_loading',
    'naming_the_dataset',
    'without_idle_workers',
]
