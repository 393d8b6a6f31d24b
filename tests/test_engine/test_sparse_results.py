# Copyright (c) The mmpointrend authors.
"""Tests whose masks stay run lengths, and those that need whole ones."""

from types import SimpleNamespace

import pytest
from mmdet.engine.hooks import DetVisualizationHook
from mmdet.evaluation.metrics import CocoMetric, DumpDetResults
from mmengine.hooks import Hook, IterTimerHook
from tiny_heads import build_roi_head, change

from mmpointrend.engine.sparse_results import check_mask_consumers, use_run_lengths
from mmpointrend.errors import ConfigError
from mmpointrend.evaluation import CityscapesMetric, CocoBoundaryMetric


class OwnHook(Hook):
    """A user's, which sees predictions."""

    def after_test_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        """Look at them."""


class OwnOtherHook(Hook):
    """A user's, which does not."""

    def before_test(self, runner):
        """Do something."""


def made(kind, **attributes):
    """An object of a class without its constructor."""
    instance = kind.__new__(kind)
    vars(instance).update(attributes)
    return instance


def runner(metrics=(CocoMetric,), hooks=(), config=None, **model):
    head = build_roi_head(config or change('test_cfg.scale_factor', 2))
    return SimpleNamespace(
        model=SimpleNamespace(roi_head=head, **model),
        test_loop=SimpleNamespace(
            evaluator=SimpleNamespace(metrics=[made(metric) for metric in metrics])
        ),
        hooks=list(hooks),
    )


DRAWS, DOES_NOT = (made(DetVisualizationHook, draw=draw) for draw in (True, False))


@pytest.mark.parametrize(
    ('arguments', 'sparse'),
    [
        ({}, True),
        ({'metrics': (CocoBoundaryMetric, DumpDetResults)}, True),
        ({'metrics': (CocoMetric, CityscapesMetric)}, False),
        ({'hooks': [IterTimerHook(), DOES_NOT, OwnOtherHook()]}, True),
        ({'hooks': [DRAWS]}, False),
        ({'hooks': [OwnHook()]}, False),
        ({'config': change('test_cfg.mask_output', 'dense')}, False),
        ({'config': change('test_cfg.mask_thr_binary', -1)}, False),
        ({'panoptic_fusion_head': object()}, False),
    ],
)
def test_masks_stay_run_lengths_if_nothing_needs_whole_ones(arguments, sparse):
    made_runner = runner(**arguments)
    assert use_run_lengths(made_runner) is sparse
    output = made_runner.model.roi_head.test_cfg.get('mask_output', 'dense')
    assert output == ('rle' if sparse else 'dense')


def test_other_models_are_left_alone():
    assert not use_run_lengths(SimpleNamespace(model=SimpleNamespace(), hooks=[]))


def test_a_panoptic_map_needs_whole_masks():
    head = build_roi_head(change('test_cfg.mask_output', 'rle'))
    check_mask_consumers(SimpleNamespace(roi_head=head))
    with pytest.raises(ConfigError, match="mask_output is 'rle', but panoptic_fusion_head"):
        check_mask_consumers(SimpleNamespace(roi_head=head, panoptic_fusion_head=object()))
