# Copyright (c) The mmpointrend authors.
"""The steps of a dataset's pipeline, those inside other steps among them."""

from collections.abc import Iterator
from typing import Any

__all__ = ['all_steps', 'follows_unknown_step', 'last_unknown', 'step_lists']

# What steps of these packages do to label maps is known: none gives labels another number.
_KNOWN = frozenset(['mmcv', 'mmdet', 'mmengine', 'mmpointrend', 'mmseg'])


def step_lists(holder: Any) -> Iterator[list[Any]]:
    """Lists of steps of a dataset, or of a step that holds others (test-time augmentation, random choice).

    Args:
        holder: A dataset or a step.

    Yields:
        Each list itself, inner ones first; what it holds may be replaced.
    """
    parts = [getattr(holder, name, None) for name in ('pipeline', 'transforms', 'subroutines')]
    for part in parts:
        # A Compose has its steps in `transforms`, and some steps hold a list of such.
        for compose in part if isinstance(part, list) else [part]:
            steps = getattr(compose, 'transforms', None)
            if isinstance(steps, list):
                for step in steps:
                    yield from step_lists(step)
                yield steps


def all_steps(dataset: Any) -> Iterator[Any]:
    """Steps of a dataset's pipeline.

    Args:
        dataset: A built dataset that is no wrapper of others.

    Yields:
        Each step.
    """
    for steps in step_lists(dataset):
        yield from steps


def last_unknown(steps: list[Any]) -> int:
    """Find the last step of a list that is not of a package whose steps are known.

    Args:
        steps: Steps of a pipeline.

    Returns:
        Its index, -1 if there is none.
    """
    unknown = [i for i, s in enumerate(steps) if type(s).__module__.split('.')[0] not in _KNOWN]
    return unknown[-1] if unknown else -1


def follows_unknown_step(dataset: Any) -> bool:
    """Whether a dataset's pipeline has a step that is not of a package whose steps are known.

    Args:
        dataset: A built dataset that is no wrapper of others.
    """
    return any(last_unknown(steps) >= 0 for steps in step_lists(dataset))
