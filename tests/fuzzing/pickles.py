# Copyright (c) The mmpointrend authors.
"""Pickles and archives of arrays: detectron2's models."""

import random
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzzing.cases import Case, materialise
from fuzzing.containers import mutate_pickle, mutate_zip, zip_bomb
from fuzzing.format import Format, special_cases
from fuzzing.mutation import mutate_bytes

__all__ = ['PICKLES']

_TOKENS = (
    b"'descr': ",
    b"'<f4'",
    b"'|O'",
    b"'shape': (",
    b'99999999999,',
    b'True',
    b'\x93NUMPY',
    b'\x03\x00',
)


def _mutate(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    if case.kind.endswith('.npz'):
        if rng.random() < 0.7:
            return Case(case.kind, mutate_zip(rng, case.content, lambda name: _changed_array))
        return Case(
            case.kind, mutate_bytes(rng, case.content, _TOKENS, [rng.choice(others).content])
        )
    pickles = [rng.choice(others).content for _ in range(2)]
    return Case(case.kind, mutate_pickle(rng, case.content, pickles))


def _changed_array(rng: random.Random, content: bytes) -> bytes:
    return mutate_bytes(rng, content, _TOKENS)


def _open(folder: Path) -> Callable[[Case], object]:
    from mmpointrend.engine.array_pickle import load_array_pickle
    from mmpointrend.engine.detectron2 import load_weights

    def run(case: Case) -> object:
        path = str(materialise(case, folder / case.kind))
        if case.kind.startswith('arrays'):
            return type(load_array_pickle(path)).__name__
        return f'{min(len(load_weights(path)), 9)} tensors'

    return run


def _once() -> list[Case]:
    header = (
        f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({1100 << 20},), }}".ljust(117) + '\n'
    )
    bomb = zip_bomb('w.npy', 1100, b'\x93NUMPY\x01\x00\x76\x00' + header.encode())
    return [*special_cases('arrays.pkl', 'model.npz'), Case('model.npz', bomb)]


PICKLES = Format('pickles', 400_000, _open, _mutate, _once)
"""Read by the restricted unpickler, and by the reader of detectron2's models."""
