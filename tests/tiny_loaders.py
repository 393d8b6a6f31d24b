# Copyright (c) The mmpointrend authors.
"""Training loaders of tiny runs, to be altered."""

from pathlib import Path

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner


def loader_config(task: str, data: Path, tmp_path: Path, **change: object) -> dict:
    """Config of the training loader of a tiny run."""
    cfg = Config.fromfile(write_config(task, tmp_path, data, length=2, workers=0))
    init_default_scope(cfg.default_scope)
    cfg.train_dataloader.dataset.update(change)
    return cfg.train_dataloader


def build(task: str, data: Path, tmp_path: Path, **change: object):
    """The loader."""
    return CheckedRunner.build_dataloader(loader_config(task, data, tmp_path, **change), seed=0)
