# Copyright (c) The mmpointrend authors.
"""Checkpoints in a run: which one to resume, and what of one fits the model.

Reading them is the business of :mod:`mmpointrend.checkpoints`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from mmengine.model import BaseTTAModel, is_model_wrapper
from torch import nn

from mmpointrend.checkpoints.loading import (
    allow_mmengine_checkpoints,
    check_integrity,
    load_from_local,
)
from mmpointrend.engine.resuming import find_resumable
from mmpointrend.errors import CheckpointError

__all__ = [
    'LoadReport',
    'allow_mmengine_checkpoints',
    'check_fit',
    'check_integrity',
    'find_resumable',
    'load_from_local',
    'watch_loading',
]

# Less of a checkpoint than this fits into a model by chance of equal names only.
_LEAST_SHARE = 0.1


@dataclass
class LoadReport:
    """What became of a checkpoint's tensors when they were loaded into a model.

    Attributes:
        missing: Names of the model's tensors that the checkpoint did not fill.
        unexpected: Names in the checkpoint that the model has no place for.
        reshaped: Names in both, with shapes that differ; they are not loaded.
        total: Number of tensors of the model (``num_batches_tracked`` uncounted).
        offered: Number of tensors in the checkpoint, likewise.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    total: int = 0
    offered: int = 0

    @property
    def filled(self) -> int:
        """Number of the model's tensors that the checkpoint filled."""
        return self.total - len(self.missing) - len(self.reshaped)

    def __str__(self) -> str:
        """Counts and the first few names, for a message."""
        parts = [f'{self.filled} of the {self.total} tensors of the model are filled']
        for label, names in (
            ('missing', self.missing),
            ('of another shape', self.reshaped),
            ('unused', self.unexpected),
        ):
            if names:
                more = ', ...' if len(names) > 3 else ''
                parts.append(f'{len(names)} {label} ({", ".join(names[:3])}{more})')
        return ', '.join(parts)


@contextmanager
def watch_loading(model: nn.Module) -> Iterator[LoadReport]:
    """Report what a ``load_checkpoint`` inside the context fills, migrated names included.

    Args:
        model: The runner's model, wrapped (DDP, test-time augmentation) or not.

    Yields:
        A report that is complete when the context ends.
    """
    inner: Any = model
    while is_model_wrapper(inner) or isinstance(inner, BaseTTAModel):
        inner = inner.module
    report = LoadReport()

    def read_keys(_: nn.Module, keys: Any) -> None:
        report.missing = _counted(keys.missing_keys)
        report.unexpected = _counted(keys.unexpected_keys)

    shapes = {name: value.shape for name, value in inner.state_dict().items()}
    report.total = len(_counted(shapes))
    hooks = [inner.register_load_state_dict_post_hook(read_keys)]
    hooks.append(inner.register_load_state_dict_pre_hook(_shape_reader(shapes, report)))
    try:
        yield report
    finally:
        for hook in hooks:
            hook.remove()


def check_fit(filename: str, report: LoadReport, purpose: str | None) -> bool:
    """Judge whether a checkpoint is one of the model.

    Args:
        filename: Where the checkpoint is from, for the message.
        report: What became of its tensors.
        purpose: What all of the model's tensors are needed for, such as 'test'; None if the rest may start
            untrained.

    Returns:
        Whether the checkpoint fills the whole model.

    Raises:
        CheckpointError: It is of another model, or lacks tensors that the purpose needs.
    """
    fitting = report.offered - len(report.unexpected) - len(report.reshaped)
    if fitting < _LEAST_SHARE * max(report.offered, 1) or report.filled == 0:
        raise CheckpointError(
            f'the checkpoint {filename} is of another model: {report}; give the config that it '
            'was trained with (weights of a backbone alone go to model.backbone.init_cfg='
            "dict(type='Pretrained', checkpoint=...))."
        )
    fits = not report.missing and not report.reshaped
    if not fits and purpose is not None:
        raise CheckpointError(
            f'the checkpoint {filename} does not fit the model to {purpose}: {report}; give '
            'the config that it was trained with.'
        )
    return fits


def _shape_reader(shapes: dict[str, torch.Size], report: LoadReport) -> Callable[..., None]:
    def read_shapes(_: nn.Module, state_dict: dict[str, Any], *unused: Any) -> None:
        report.offered = len(_counted(state_dict))
        report.reshaped = [
            name
            for name in _counted(shapes)
            if name in state_dict and not _fits(state_dict[name], shapes[name])
        ]

    return read_shapes


def _fits(value: Any, shape: torch.Size) -> bool:
    # A sparse tensor cannot be copied into a parameter, whatever its shape.
    return getattr(value, 'shape', None) == shape and value.layout == torch.strided


def _counted(names: Any) -> list[str]:
    return [name for name in names if not name.endswith('num_batches_tracked')]
