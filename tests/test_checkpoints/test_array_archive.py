# Copyright (c) The mmpointrend authors.
"""Archives of numpy arrays: what they unpack to stays in proportion to the file."""

import io
import zipfile

import numpy as np
import pytest

from mmpointrend.checkpoints.array_archive import load_array_archive
from mmpointrend.errors import CheckpointError


@pytest.mark.parametrize('save', [np.savez, np.savez_compressed])
def test_arrays_come_back(save, tmp_path):
    arrays = dict(
        a=np.arange(6.0).reshape(2, 3), b=np.float32(2), c=np.empty((0, 4)), d=np.array(['x'])
    )
    save(tmp_path / 'a.npz', **arrays)
    loaded = load_array_archive(tmp_path / 'a.npz')
    assert list(loaded) == list(arrays)
    for name, array in arrays.items():
        assert loaded[name].dtype == array.dtype
        np.testing.assert_array_equal(loaded[name], array)


def test_zeros_that_unpack_to_far_more(tmp_path):
    np.savez_compressed(tmp_path / 'a.npz', a=np.zeros(10 * 2**20))
    with pytest.raises(
        CheckpointError, match=r'a\.npz is no archive of arrays \(it unpacks to 83,886,'
    ):
        load_array_archive(tmp_path / 'a.npz')


def test_shape_without_content(tmp_path):
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        header, dict(descr='<f8', fortran_order=False, shape=(10**12,))
    )
    with zipfile.ZipFile(tmp_path / 'a.npz', 'w') as archive:
        archive.writestr('a.npy', header.getvalue() + bytes(80))
    with pytest.raises(
        CheckpointError, match=r'a\.npy has the shape \(1000000000000,\) and 208 bytes'
    ):
        load_array_archive(tmp_path / 'a.npz')


def test_objects_and_other_files(tmp_path):
    np.savez(tmp_path / 'a.npz', a=np.array([{}], dtype=object))
    with pytest.raises(
        CheckpointError, match=r'is no archive of arrays .*Object arrays cannot be loaded'
    ):
        load_array_archive(tmp_path / 'a.npz')
    (tmp_path / 'a.npz').write_bytes(b'<!doctype html><html></html>')
    with pytest.raises(CheckpointError, match='is no archive of arrays: it is a web page'):
        load_array_archive(tmp_path / 'a.npz')
    with pytest.raises(CheckpointError, match='does not exist'):
        load_array_archive(tmp_path / 'none.npz')
