# Copyright (c) The mmpointrend authors.
"""Metrics of mmdet that would give wrong figures, or none after all images are tested."""

import sys
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from mmpointrend.engine.checks.names import some_names
from mmpointrend.errors import ConfigError

__all__ = ['check_label_order', 'check_metrics']

_NAMING_FIGURES = frozenset(['mmdet', 'mmpointrend', 'mmseg'])


def check_metrics(metrics: Sequence[Any], configs: Sequence[Any]) -> None:
    """Let mmdet's ``CocoMetric`` find annotations of id 0; refuse its ``LVISMetric`` where the
    ``lvis`` package cannot run, and figures of one name, which mmengine refuses after the last image.

    Args:
        metrics: Built metrics; CocoMetrics' annotations are numbered anew, other kinds pass.
        configs: What they were built from, for the names of files.

    Raises:
        InputError: The annotations of a CocoMetric cannot be evaluated.
        ConfigError: ``lvis`` uses what this numpy does not have, or two metrics name figures alike.
    """
    _refuse_same_names(metrics)
    for metric in metrics:
        api = getattr(metric, '_lvis_api', None)
        if api is not None:
            # The package is no requirement of ours; whoever has a metric of it has imported it.
            lvis = sys.modules[type(api).__module__.partition('.')[0]]
            names = lvis.LVISEval.accumulate.__code__.co_names
            if 'float' in names and not hasattr(np, 'float'):
                raise ConfigError(
                    f'{type(metric).__name__} needs the package lvis, which does not run with numpy '
                    f"{np.__version__}: set type='mmpointrend.LVISMetric', which takes its place."
                )
    for index, metric in _of_mmdet(metrics):
        from mmpointrend.evaluation.coco_truth import renumber

        renumber(
            metric._coco_api,
            _file_of(configs, index),
            boxes=not {'segm'}.issuperset(metric.metrics),
        )


def _refuse_same_names(metrics: Sequence[Any]) -> None:
    first: dict[tuple[Any, str], int] = {}
    for place, metric in enumerate(metrics):
        # Their figures are named after what `metrics` lists; those of other packages may not be.
        is_known = type(metric).compute_metrics.__module__.split('.')[0] in _NAMING_FIGURES
        names = getattr(metric, 'metrics', None)
        if not is_known or not isinstance(names, list) or getattr(metric, 'format_only', False):
            continue
        for name in names:
            other = first.setdefault((metric.prefix, name), place)
            if other != place:
                kinds = f'{type(metrics[other]).__name__} and {type(metric).__name__}'
                raise ConfigError(
                    f'the metrics {kinds} of one evaluator would both give the figures of '
                    f"{name!r} under the prefix {metric.prefix!r}: set prefix='...' to another one "
                    'in one of them, or take the name out of its list.'
                )


def check_label_order(metrics: Sequence[Any], dataset: Any) -> None:
    """Let the labels of mmdet's ``CocoMetric`` follow the classes by name, as the datasets do that
    ``CheckedRunner`` builds; mmdet numbers categories in the order of the file.

    Args:
        metrics: Built metrics; ours go by names anyway, other kinds pass.
        dataset: The dataset that is tested; one without classes passes.

    Raises:
        ConfigError: A class is not among the categories, or the figures of the classes would go
            by other names.
    """
    found = getattr(dataset, 'metainfo', None) or {}
    # mmdet's ConcatDataset has a list if its parts differ.
    classes = (found[0] if isinstance(found, list) else found).get('classes')
    if not classes:
        return
    for metric in metrics:
        if hasattr(metric, 'dataset_goes_by_names'):
            metric.dataset_goes_by_names = True
    for _, metric in _of_mmdet(metrics):
        from mmpointrend.evaluation.coco_truth import category_ids

        source = 'of ' + type(metric).__name__
        ids = category_ids(classes, metric._coco_api.dataset['categories'], source, tell=False)
        # pycocotools sorts the categories, and mmdet's table does not.
        if metric.classwise and ids != sorted(ids):
            raise ConfigError(
                f'{type(metric).__name__} with classwise=True would print the figures of the '
                f'classes {some_names(classes)} by the names of others, since their ids in its '
                "ann_file are in another order: set type='mmpointrend.CocoBoundaryMetric'."
            )
        metric.cat_ids = ids


def _of_mmdet(metrics: Sequence[Any]) -> Iterator[tuple[int, Any]]:
    """Those that evaluate a COCO file with mmdet's own code, and their places."""
    for index, metric in enumerate(metrics):
        if getattr(metric, '_coco_api', None) is None:
            continue
        # Whoever has one has imported them; without a metric of mmdet's it need not be installed.
        from mmdet.datasets.api_wrappers import COCO
        from mmdet.evaluation import CocoMetric

        from mmpointrend.evaluation import CocoBoundaryMetric

        # Panoptic annotations are others, and ours go by names themselves.
        if (
            isinstance(metric, CocoMetric)
            and not isinstance(metric, CocoBoundaryMetric)
            and type(metric._coco_api) is COCO
        ):
            yield index, metric


def _file_of(configs: Sequence[Any], index: int) -> str:
    config = configs[index] if index < len(configs) else None
    return str(config.get('ann_file')) if isinstance(config, dict) else 'of the metric'
