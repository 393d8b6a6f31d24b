# Copyright (c) The mmpointrend authors.
"""LVIS's own AP, by faster-coco-eval."""

from collections.abc import Sequence
from typing import Any

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation.coco_boundary_metric import CocoBoundaryMetric
from mmpointrend.evaluation.cocofy import FEDERATED, check_lvis
from mmpointrend.evaluation.federated import evaluate_federated
from mmpointrend.registry import METRICS

_METRICS = ('bbox', 'segm', 'boundary')


@METRICS.register_module()
class LVISMetric(CocoBoundaryMetric):
    """AP by LVIS's federated rules, with the keys of mmdet's ``LVISMetric``.

    mmdet's needs the ``lvis`` package, whose release 0.5.3 does not run with numpy 2, and numbers
    categories by the file; here faster-coco-eval evaluates, and labels follow the classes by name.

    Figures in [0, 1], not rounded, -1 where there is no ground truth: ``lvis/segm_AP``, ``AP50``,
    ``AP75``, ``APs``, ``APm``, ``APl`` and, of rare, common and frequent categories, ``APr``,
    ``APc``, ``APf``; ``metric_items`` may name ``AR@300``, ``ARs@300``, ``ARm@300``, ``ARl@300`` as
    well. Sizes are those of the masks; mmdet's are those of the boxes for masks too.

    Args:
        ann_file: LVIS annotations, v0.5 or v1.
        metric: One or several of ``bbox``, ``segm`` and ``boundary``.
        metric_items: Some of the figures; the nine AP where None.
        **kwargs: ``CocoBoundaryMetric``'s, without ``backend``.

    Raises:
        ConfigError: If there is no such ``metric`` or one of ``metric_items``.
        InputError: If the annotations are not LVIS's.
    """

    default_prefix = 'lvis'
    evaluate_records = staticmethod(evaluate_federated)
    stats = {
        'AP': 0, 'AP50': 1, 'AP75': 2, 'APs': 3, 'APm': 4, 'APl': 5, 'APr': 14, 'APc': 15, 'APf': 16,
        'AR@300': 6, 'ARs@300': 9, 'ARm@300': 10, 'ARl@300': 11,
    }  # fmt: skip
    default_items = tuple(stats)[:9]

    def __init__(
        self,
        ann_file: str,
        *,
        metric: str | Sequence[str] = ('bbox', 'segm'),
        **kwargs: Any,
    ) -> None:
        unknown = {metric} if isinstance(metric, str) else set(metric)
        unknown -= set(_METRICS)
        if unknown:
            raise ConfigError(f'metric of LVIS must be some of {_METRICS}, but got {unknown}.')
        if ann_file is None:
            raise ConfigError('ann_file of LVIS is missing: set it to an annotation file of LVIS.')
        super().__init__(ann_file, metric=metric, backend='faster-coco-eval', **kwargs)
        try:
            check_lvis(
                self._coco_api.dataset, dict(images=('id', *FEDERATED), categories=('frequency',))
            )
        except InputError as error:
            raise InputError(f'the annotations {ann_file} of LVIS: {error}') from error
