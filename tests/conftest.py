# Copyright (c) The mmpointrend authors.
"""Fixtures that more than one folder of tests uses."""

import os
from pathlib import Path

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
