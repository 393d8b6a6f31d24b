# Copyright (c) The mmpointrend authors.
"""Fixtures that more than one folder of tests uses."""

import functools
import os
from collections.abc import Iterator
from pathlib import Path

import mmengine.config.utils
import pytest

REPO = Path(__file__).resolve().parents[1]


@pytest.fixture(scope='session')
def repo() -> Path:
    """Root of the repository."""
    return REPO


@pytest.fixture(scope='session')
def shared_dir() -> Path:
    """Folder with real data, weights and other people's results; skips where it is missing.

    The environment variable ``MMPOINTREND_SHARED`` names it; ``../shared`` beside the repository
    otherwise.
    """
    path = Path(os.environ.get('MMPOINTREND_SHARED', REPO.parent / 'shared')).resolve()
    if not path.is_dir():
        pytest.skip(f'the shared data folder is not at {path} (set MMPOINTREND_SHARED)')
    return path


@pytest.fixture(scope='session', autouse=True)
def metafiles_read_once() -> Iterator[None]:
    """For each ``::`` in a config mmengine reads all metafiles of that package anew, which takes 0.2 s."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mmengine.config.utils, 'load', functools.cache(mmengine.config.utils.load))
        yield
