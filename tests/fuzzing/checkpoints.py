# Copyright (c) The mmpointrend authors.
"""Checkpoints: archives, the format before torch 1.6, safetensors, and whatever else has their suffix."""

import json
import random
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

from fuzzing.cases import Case, materialise
from fuzzing.containers import Change, mutate_pickle, mutate_zip, zip_bomb, zip_members
from fuzzing.format import Format, special_cases
from fuzzing.mutation import mutate_bytes, mutate_object

__all__ = ['CHECKPOINTS']

_TOKENS = (
    b'PK\x03\x04',
    b'PK\x01\x02',
    b'PK\x05\x06',
    b'PK\x06\x06',
    b'data.pkl',
    b'version',
    b'byteorder',
    b'big',
    b'.data/',
)
_TENSOR_TOKENS = (
    'F32',
    'F64',
    'I64',
    'BOOL',
    'BF16',
    'F8_E4M3',
    '__metadata__',
    'shape',
    'data_offsets',
    [2**40, 2**40],
    [0, 0],
)


def _change_of(others: Sequence[Case]) -> Callable[[str], Change]:
    def pickled(rng: random.Random, content: bytes) -> bytes:
        members = zip_members(rng.choice(others).content)
        return mutate_pickle(
            rng, content, [data for name, data in members if name.endswith('data.pkl')]
        )

    return lambda name: pickled if name.endswith('.pkl') else mutate_bytes


def _mutate(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    content = case.content
    if zip_members(content) and rng.random() < 0.75:
        content = mutate_zip(rng, content, _change_of(others))
    elif case.kind.endswith('safetensors') and rng.random() < 0.8:
        content = _mutate_safetensors(rng, content)
    elif content.startswith(b'\x80\x02') and rng.random() < 0.7:
        content = mutate_pickle(rng, content)
    else:
        content = mutate_bytes(rng, content, _TOKENS, [rng.choice(others).content])
    return Case(case.kind, content)


def _mutate_safetensors(rng: random.Random, content: bytes) -> bytes:
    length = int.from_bytes(content[:8], 'little')
    try:
        header = json.loads(content[8 : 8 + length])
        text = json.dumps(mutate_object(rng, header, _TENSOR_TOKENS)).encode()
    except (ValueError, RecursionError):
        return mutate_bytes(rng, content)
    return struct.pack('<Q', len(text)) + text + content[8 + length :]


def _open(folder: Path) -> Callable[[Case], object]:
    from mmpointrend.engine.checkpoint import load_from_local

    def run(case: Case) -> object:
        checkpoint = load_from_local(str(materialise(case, folder / case.kind)), map_location='cpu')
        return type(checkpoint).__name__

    return run


def _once() -> list[Case]:
    kind = 'checkpoint.pth'
    bombs = [
        Case(kind, zip_bomb('archive/data.pkl', 1100)),
        Case(kind, zip_bomb('archive/data/0', 1100)),
    ]
    return special_cases(kind) + bombs


CHECKPOINTS = Format('checkpoints', 150_000, _open, _mutate, _once)
"""Read by the loader of local checkpoints."""
