# Copyright (c) The mmpointrend authors.
"""Pickles run on stand-ins: every honest one passes, and what takes memory or time is refused."""

import io
import pickle
from collections import Counter, OrderedDict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpointrend.checkpoints.array_pickle import load_array_pickle
from mmpointrend.checkpoints.faults import DamageError, DangerError
from mmpointrend.checkpoints.pickle_scan import PickleScan
from mmpointrend.checkpoints.stand_ins import BoundedFile
from mmpointrend.errors import CheckpointError

KEYS = st.one_of(st.integers(), st.text(), st.binary(), st.tuples(st.integers(), st.text()))
VALUES = st.recursive(
    st.one_of(KEYS, st.none(), st.booleans(), st.floats(), st.binary(min_size=300, max_size=900)),
    lambda inner: st.one_of(
        st.lists(inner),
        st.lists(inner).map(tuple),
        st.dictionaries(KEYS, inner),
        st.dictionaries(KEYS, inner).map(OrderedDict),
        st.frozensets(KEYS),
        st.sets(KEYS),
    ),
    max_leaves=20,
)


@given(VALUES, st.integers(0, pickle.HIGHEST_PROTOCOL))
@settings(max_examples=60, deadline=None)
def test_every_honest_pickle_passes_up_to_its_end(value, protocol):
    stored = pickle.dumps(value, protocol)
    source = io.BytesIO(stored + b'what follows')
    PickleScan(source, len(stored) + 12).run()
    assert source.tell() == len(stored)


def test_shared_and_recursive_containers_pass():
    shared = {'a': [1, 2]}
    shared['self'] = shared
    stored = pickle.dumps([shared] * 5000 + [Counter(a=1)])
    PickleScan(io.BytesIO(stored), len(stored)).run()


TUPLE_OF_TWINS = b'\x80\x02)' + b'2\x86' * 60
REFUSED = {
    # BININT1 1, LONG_BINPUT 2**27: an array of so many places in C.
    'memo': (b'\x80\x02K\x01r\x00\x00\x00\x08.', DamageError, 'number 134,217,728'),
    'bytes': (b'\x80\x04\x8e' + (2**40).to_bytes(8, 'little') + b'x.', DamageError, 'expected'),
    'bytearray': (b'\x80\x05\x96' + (2**40).to_bytes(8, 'little') + b'x.', DamageError, 'expected'),
    'frame': (b'\x80\x04\x95' + (2**40).to_bytes(8, 'little') + b'N.', DamageError, 'more bytes'),
    'nested tuples': (b'\x80\x02)' + b'\x85' * 1000 + b'.', DamageError, 'nests tuples'),
    'nested lists': (
        b'\x80\x02' + b']' * 1000 + b'a' * 999 + b'.',
        DamageError,
        'nests containers',
    ),
    # 2**60 elements to hash, of 60 pairs of the same.
    'key of twins': (b'\x80\x02}' + TUPLE_OF_TWINS[2:] + b'Ns.', DamageError, 'nests tuples'),
    'many keys': (
        b'\x80\x02})' + b'2\x86' * 20 + b'q\x000' + b'h\x00Ns' * 60 + b'.',
        DamageError,
        'keys are tuples',
    ),
    'class changed': (
        b'\x80\x02ccollections\nOrderedDict\n}X\x01\x00\x00\x00aNsb.',
        DangerError,
        r'changes collections\.OrderedDict',
    ),
    'call of a result': (b'\x80\x02])R.', DangerError, 'made itself'),
    'empty stack': (b'\x80\x020.', DamageError, 'mark'),
    'nothing remembered': (b'\x80\x02h\x05.', DamageError, 'recalls number 5'),
    'key without value': (b'\x80\x02}(K\x01u.', DamageError, 'key without a value'),
}


@pytest.mark.parametrize('name', REFUSED)
def test_is_refused(name, tmp_path):
    stored, error, message = REFUSED[name]
    try:
        with pytest.raises(error, match=message):
            PickleScan(io.BytesIO(stored), len(stored)).run()
    except ValueError as damage:
        # pickletools' own sentence.
        assert message in str(damage)
    (tmp_path / 'a.pkl').write_bytes(stored)
    with pytest.raises(CheckpointError, match=r'a\.pkl (is damaged|holds objects)'):
        load_array_pickle(tmp_path / 'a.pkl')


def test_a_file_is_not_asked_for_more_than_it_has(tmp_path):
    (tmp_path / 'a').write_bytes(b'abc' * 3000)
    with (tmp_path / 'a').open('rb') as file:
        source = BoundedFile(file, 9000)
        assert source.read(2) == b'ab' and source.tell() == 2
        # 2**62 bytes would not fit into any memory.
        assert len(source.read(2**62)) == 8998
