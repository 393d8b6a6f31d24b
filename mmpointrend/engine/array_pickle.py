# Copyright (c) The mmpointrend authors.
"""Pickles of numpy arrays; they live in :mod:`mmpointrend.checkpoints.array_pickle`."""

from mmpointrend.checkpoints.array_pickle import ARRAY_PARTS, load_array_pickle

__all__ = ['ARRAY_PARTS', 'load_array_pickle']
