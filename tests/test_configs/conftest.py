# Copyright (c) The mmpointrend authors.
"""The reference configs, each read once."""

import functools

import pytest
from mmengine.config import Config
from resolved_configs import CONFIGS


@functools.cache
def _read(name: str) -> Config:
    (path,) = CONFIGS.glob(f'[!_]*/{name}.py')
    return Config.fromfile(path)


@pytest.fixture(scope='session')
def read():
    """Function from a config's name to the config; not to be altered."""
    return _read
