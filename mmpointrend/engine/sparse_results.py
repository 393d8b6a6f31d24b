# Copyright (c) The mmpointrend authors.
"""Whether a test's masks may stay run lengths from the renderer to the metric."""

from typing import Any

from mmdet.evaluation.metrics import CocoMetric, DumpDetResults
from mmengine.hooks import Hook
from mmengine.logging import print_log
from mmengine.model import is_model_wrapper
from mmengine.runner import Runner

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.point_refinement import PointRefinement

__all__ = ['check_mask_consumers', 'use_run_lengths']

# Metrics that take run lengths as they are, or encode masks to them one by one.
_TAKING = (CocoMetric, DumpDetResults)


def check_mask_consumers(model: Any) -> None:
    """Refuse run lengths where the model itself needs whole masks.

    Args:
        model: The model.

    Raises:
        ConfigError: It merges masks to a panoptic map, and ``test_cfg.rcnn.mask_output`` is not 'dense'.
    """
    test_cfg = getattr(getattr(model, 'roi_head', None), 'test_cfg', None) or {}
    output = test_cfg.get('mask_output', 'dense')
    if output != 'dense' and getattr(model, 'panoptic_fusion_head', None) is not None:
        raise ConfigError(
            f"test_cfg.rcnn.mask_output is '{output}', but panoptic_fusion_head lays whole masks over each other: set "
            "it to 'dense', or leave it out"
        )


def use_run_lengths(runner: Runner) -> bool:
    """Let a test's masks be run lengths if nothing in it needs whole ones, and the config does not say what they are.

    Args:
        runner: The runner, about to test.

    Returns:
        Whether they are.
    """
    model: Any = runner.model.module if is_model_wrapper(runner.model) else runner.model
    head = getattr(model, 'roi_head', None)
    if not isinstance(head, PointRefinement) or 'mask_output' in (head.test_cfg or {}):
        return False
    if head.test_cfg.mask_thr_binary < 0 or hasattr(model, 'panoptic_fusion_head'):
        return False
    evaluator = getattr(runner.test_loop, 'evaluator', None)
    takes = evaluator is not None and all(isinstance(one, _TAKING) for one in evaluator.metrics)
    if not takes or any(map(_may_read_masks, runner.hooks)):
        return False
    head.test_cfg.mask_output = 'rle'
    print_log(
        'Masks stay run lengths from the renderer to the metrics, none of which needs whole ones; '
        "test_cfg.rcnn.mask_output='dense' makes them bitmaps.",
        'current',
    )
    return True


def _may_read_masks(hook: Hook) -> bool:
    """Whether a hook draws predictions, or is a user's own that sees them."""
    kind = type(hook)
    if kind.__module__.partition('.')[0] in ('mmengine', 'mmdet', 'mmpointrend'):
        return bool(getattr(hook, 'draw', False))
    return (kind.after_test_iter, kind._after_iter) != (Hook.after_test_iter, Hook._after_iter)
