# Copyright (c) The mmpointrend authors.
"""What is wrong with the input, in one sentence each: datasets, files, classes.

``dataset``: annotation files and folders, when a dataset is built. ``coco`` and ``annotations``:
what of a COCO file is used, and under which labels. ``files``: images, label maps and masks, when they
are read (what is looked at is in ``images``, ``label_maps`` and ``masks``). ``classes``: the classes of
model, data and checkpoint against one another. ``metrics``: metrics that would err.
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
from mmpointrend.engine.checks.metrics import check_label_order, check_metrics

__all__ = [
    'CheckedAnnotations',
    'LabelRange',
    'NamedLoading',
    'build_dataset',
    'check_checkpoint_classes',
    'check_class_counts',
    'check_dataset',
    'check_label_order',
    'check_metrics',
    'check_same_classes',
    'checked_config',
    'leaves',
    'name_files_on_loading',
    'naming_the_dataset',
    'watch_labels',
]
