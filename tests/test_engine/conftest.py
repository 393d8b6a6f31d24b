# Copyright (c) The mmpointrend authors.
"""One tiny dataset for all tests of this folder."""

import shutil
from pathlib import Path

import pytest
from tiny_runs import write_data


@pytest.fixture(scope='session')
def tiny_data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six images of a disc and a box, as label maps and COCO polygons; not to be altered."""
    return write_data(tmp_path_factory.mktemp('tiny') / 'data')


@pytest.fixture
def data(tiny_data, tmp_path) -> Path:
    """A copy of the tiny dataset that may be altered."""
    return Path(shutil.copytree(tiny_data, tmp_path / 'data'))
