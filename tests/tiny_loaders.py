# Copyright (c) The mmpointrend authors.
"""Training loaders of tiny runs, to be altered."""

import copy
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

from mmengine.config import Config
from mmengine.registry import init_default_scope
from tiny_runs import write_config

from mmpointrend.engine import CheckedRunner


@cache
def _parsed(task: str) -> Config:
    """Reading a config takes longer than most tests."""
    with TemporaryDirectory() as folder:
        return Config.fromfile(write_config(task, Path(folder), Path(), length=2, workers=0))


def loader_config(task: str, data: Path, tmp_path: Path, **change: object) -> dict:
    """Config of the training loader of a tiny run."""
    cfg = _parsed(task)
    init_default_scope(cfg.default_scope)
    loader = copy.deepcopy(cfg.train_dataloader)
    loader.dataset.update({'data_root': str(data), **change})
    return loader


def build(task: str, data: Path, tmp_path: Path, **change: object):
    """The loader."""
    return CheckedRunner.build_dataloader(loader_config(task, data, tmp_path, **change), seed=0)
