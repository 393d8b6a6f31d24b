# Copyright (c) The mmpointrend authors.
"""Pickles: arrays of every protocol and of Python 2 come back, and nothing else gets in."""

import os
import pickle
import struct
from collections import Counter, OrderedDict

import numpy as np
import pytest

from mmpointrend.checkpoints.array_pickle import load_array_pickle
from mmpointrend.errors import CheckpointError

CONTENT = {
    'model': OrderedDict(
        weight=np.arange(6, dtype=np.float32).reshape(2, 3),
        count=np.int64(7),
        none=np.empty((0, 4)),
    ),
    '__author__': 'Détectron',
    'versions': [1, 2.5, None, True],
}


@pytest.mark.parametrize('numpy_core', ['numpy._core', 'numpy.core'])
@pytest.mark.parametrize('protocol', range(pickle.HIGHEST_PROTOCOL + 1))
def test_arrays_come_back(protocol, numpy_core, tmp_path):
    stored = pickle.dumps(CONTENT, protocol)
    if protocol < 4:
        # Where names are not preceded by their length, they can be those of numpy 1.
        stored = stored.replace(b'numpy._core', numpy_core.encode())
    (tmp_path / 'model.pkl').write_bytes(stored)
    content = load_array_pickle(tmp_path / 'model.pkl')
    model, expected = content.pop('model'), CONTENT['model']
    assert content == {key: value for key, value in CONTENT.items() if key != 'model'}
    for name, value in expected.items():
        assert model[name].dtype == value.dtype
        np.testing.assert_array_equal(model[name], value)


def test_python_2(tmp_path):
    # What Python 2 writes: byte strings (U) as keys, type codes and the array's data.
    stored = (
        b'\x80\x02}U\x01wcnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85U\x01b\x87R'
        b'(K\x01K\x02\x85cnumpy\ndtype\nU\x02f4K\x00K\x01\x87R(K\x03U\x01<NNNJ\xff\xff\xff\xff'
        b'J\xff\xff\xff\xffK\x00tb\x89U\x08' + struct.pack('<2f', 1.5, -300) + b'tbs.'
    )
    (tmp_path / 'model.pkl').write_bytes(stored)
    content = load_array_pickle(tmp_path / 'model.pkl')
    assert content['w'].dtype == np.float32 and content['w'].tolist() == [1.5, -300]


class Crafted:
    """Pickled, it is a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


@pytest.mark.parametrize(
    ('content', 'name'),
    [
        (Crafted(os.system, 'touch ran'), 'posix.system'),
        (Crafted(eval, '1'), 'builtins.eval'),
        (Crafted(getattr, 'text', 'upper'), 'builtins.getattr'),
        (Crafted(np.load, 'other.npy'), 'numpy.load'),
        (Counter(a=1), 'collections.Counter'),
    ],
)
def test_anything_else_is_refused(content, name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps({'model': content}))
    with pytest.raises(
        CheckpointError, match=rf'model\.pkl holds objects.*\({name} is not allowed'
    ):
        load_array_pickle(tmp_path / 'model.pkl')
    assert not (tmp_path / 'ran').exists()


class CraftedType:
    """Pickled, it is a type of numbers whose state says that there are objects in it."""

    def __reduce__(self):
        fields = {'a': (np.dtype('f8'), 1000)}
        return np.dtype, ('f8', False, True), (3, '|', None, ('a',), fields, 8, 1, 0x3F)


@pytest.mark.parametrize(
    'content',
    [
        # numpy makes pointers of these bytes: whoever looks at the array jumps there.
        Crafted(np.ndarray, (1,), np.dtype('O'), b'\x41' * 8),
        Crafted(np.ndarray, (1,), 'O', b'\x41' * 8),
        Crafted(np.empty(0).__reduce__()[0], dict, (0,), b'b'),
        Crafted(np.float64(0).__reduce__()[0], 'f8', b'\0' * 8),
        np.array([Crafted(os.system, 'touch ran')], dtype=object),
        np.zeros(1, dtype=[('a', 'f8')]),
        CraftedType(),
    ],
    ids=['ndarray', 'code', 'reconstruct', 'scalar', 'objects', 'fields', 'state'],
)
def test_types_of_objects_are_refused(content, tmp_path):
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps({'model': content}))
    with pytest.raises(CheckpointError, match=r'model\.pkl holds objects that could run code'):
        load_array_pickle(tmp_path / 'model.pkl')


def test_pickled_anew_they_are_plain_arrays(tmp_path):
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps({'w': np.arange(3)}))
    array = load_array_pickle(tmp_path / 'model.pkl')['w']
    again = pickle.loads(pickle.dumps(array))
    assert type(again) is np.ndarray and again.tolist() == [0, 1, 2]


def test_other_codecs_are_refused(tmp_path):
    stored = b'\x80\x02c_codecs\nencode\nX\x01\x00\x00\x00aX\x05\x00\x00\x00rot13\x86R.'
    (tmp_path / 'model.pkl').write_bytes(stored)
    with pytest.raises(CheckpointError, match="codec 'rot13' is not allowed"):
        load_array_pickle(tmp_path / 'model.pkl')


@pytest.mark.parametrize('kept', [0, 1, 40, -1])
def test_damaged(kept, tmp_path):
    (tmp_path / 'model.pkl').write_bytes(pickle.dumps(CONTENT)[:kept])
    with pytest.raises(CheckpointError, match=r'model\.pkl is damaged'):
        load_array_pickle(tmp_path / 'model.pkl')


def test_missing(tmp_path):
    with pytest.raises(CheckpointError, match='does not exist'):
        load_array_pickle(tmp_path / 'model.pkl')


@pytest.mark.parametrize('shape', [(2**40,), (7,), (2, 2**33)])
def test_a_shape_of_other_bytes_is_refused_before_memory_is_taken(shape, tmp_path):
    array = np.arange(6, dtype=np.float32)
    rebuild, arguments, (version, _, dtype, order, content) = array.__reduce__()

    class Crafted:
        def __reduce__(self):
            return rebuild, arguments, (version, shape, dtype, order, content)

    (tmp_path / 'model.pkl').write_bytes(pickle.dumps(Crafted(), 2))
    with pytest.raises(CheckpointError, match=r'an array of shape .* has 24 bytes'):
        load_array_pickle(tmp_path / 'model.pkl')
