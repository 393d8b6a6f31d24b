# Copyright (c) The mmpointrend authors.
"""What is wrong with the input, in one sentence each: datasets, files, classes.

``dataset``: annotation files and folders, when a dataset is built. ``files``: images, label maps and
masks, when they are read (what is looked at is in ``images``, ``label_maps`` and ``masks``).
``classes``: the model's classes against the data's. ``metrics``: metrics that would err.
"""

from mmpointrend.engine.checks.classes import check_class_counts
from mmpointrend.engine.checks.dataset import check_dataset, leaves, naming_the_dataset
from mmpointrend.engine.checks.files import NamedLoading, name_files_on_loading
from mmpointrend.engine.checks.label_maps import LabelRange, watch_labels
from mmpointrend.engine.checks.metrics import check_label_order, check_metrics

__all__ = [
    'LabelRange',
    'NamedLoading',
    'check_class_counts',
    'check_dataset',
    'check_label_order',
    'check_metrics',
    'leaves',
    'name_files_on_loading',
    'naming_the_dataset',
    'watch_labels',
]
