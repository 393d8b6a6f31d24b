# Copyright (c) The mmpointrend authors.
"""Running: safe checkpoints, exact resume, and a runner that says in a sentence what is wrong with
its input."""

from mmpointrend.engine.checkpoint import allow_mmengine_checkpoints
from mmpointrend.engine.hooks import FiniteLossHook, IterationSeedHook, SafeCheckpointHook
from mmpointrend.engine.runner import CheckedRunner

__all__ = [
    'CheckedRunner',
    'FiniteLossHook',
    'IterationSeedHook',
    'SafeCheckpointHook',
    'allow_mmengine_checkpoints',
]
