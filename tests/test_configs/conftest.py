# Copyright (c) The mmpointrend authors.
"""The reference configs, each read once."""

import functools
from pathlib import Path

import pytest
from mmengine.config import Config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


@functools.cache
def _read(name: str) -> Config:
    (path,) = CONFIGS.glob(f'[!_]*/{name}.py')
    return Config.fromfile(path)


@pytest.fixture(scope='session')
def read():
    """Function from a config's name to the config; not to be altered."""
    return _read
