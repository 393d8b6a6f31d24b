# Copyright (c) The mmpointrend authors.
"""A tiny run of each task, trained once for all tests of this folder."""

from dataclasses import dataclass
from pathlib import Path

import pytest
from tiny_runs import run_tool, write_config, write_data


@dataclass
class TinyRun:
    """Files of a finished run."""

    task: str
    data: Path
    config: Path
    checkpoint: Path


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of a disc and a box, as label maps and COCO polygons; not to be altered."""
    return write_data(tmp_path_factory.mktemp('tiny') / 'data')


def _train(task: str, length: int, last: str, data: Path, folder: Path) -> TinyRun:
    config = write_config(task, folder, data, length=length, interval=length)
    run_tool('train', config)
    return TinyRun(task, data, config, folder / 'run' / last)


@pytest.fixture(scope='session')
def semantic_run(tiny_data, tmp_path_factory) -> TinyRun:
    """Semantic segmentation, two iterations."""
    return _train('semantic', 2, 'iter_2.pth', tiny_data, tmp_path_factory.mktemp('semantic'))


@pytest.fixture(scope='session')
def instance_run(tiny_data, tmp_path_factory) -> TinyRun:
    """Instance segmentation, one epoch."""
    return _train('instance', 1, 'epoch_1.pth', tiny_data, tmp_path_factory.mktemp('instance'))


@pytest.fixture(params=['semantic', 'instance'])
def run(request) -> TinyRun:
    """Either run."""
    return request.getfixturevalue(f'{request.param}_run')
