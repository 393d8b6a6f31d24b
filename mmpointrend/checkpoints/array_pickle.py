# Copyright (c) The mmpointrend authors.
"""Pickles of numpy arrays, opened without letting them run anything.

A pickle names functions to call. Unrestricted, a crafted file calls whatever it likes; here the few that rebuild a
numpy array are all there is, and not numpy's own: those know types of objects, and make arrays of pointers that the
file chooses. That also takes files of Python 2, which detectron2's zoo has.
"""

import math
import pickle
import re
from collections import OrderedDict
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mmpointrend.checkpoints.faults import DamageError, ForeignError, naming_the_file
from mmpointrend.checkpoints.kinds import HEAD, check_regular, describe
from mmpointrend.checkpoints.pickle_scan import PickleScan
from mmpointrend.checkpoints.stand_ins import BoundedFile

__all__ = ['ARRAY_PARTS', 'NumberType', 'PickledArray', 'first_unknown', 'load_array_pickle']


class NumberType:
    """Stands for ``numpy.dtype`` in a pickle: a type of numbers in one of the two byte orders.

    A real one takes any state that the file gives it, and one that says "objects" makes pointers of the file's bytes.

    Args:
        code: numpy's code of the type, such as ``f4``.
        align: Not used, as for all types without fields.
        copy: Not used.

    Raises:
        UnpicklingError: The type is none of numbers.
    """

    def __init__(self, code: str, align: Any = False, copy: Any = False) -> None:
        if not isinstance(code, str) or not re.fullmatch(r'[biuf][1248]', code):
            raise pickle.UnpicklingError(f'the array type {code!r} is not allowed')
        self.dtype = np.dtype(code)

    def __setstate__(self, state: tuple) -> None:
        _, byte_order, *fields = state
        if any(field is not None for field in fields[:3]):
            raise pickle.UnpicklingError('an array type with fields is not allowed')
        self.dtype = self.dtype.newbyteorder(byte_order)


class PickledArray(np.ndarray):
    """Stands for ``numpy.ndarray`` in a pickle: what the file says of its type passes :class:`NumberType`.

    An array like any other; pickled anew it is a plain one.

    Raises:
        UnpicklingError: It is made with arguments, which real arrays in pickles never are.
    """

    def __new__(cls, *args: Any) -> 'PickledArray':
        """Makes an empty array, which ``__setstate__`` fills."""
        if args:
            raise pickle.UnpicklingError('an array made by a call is not allowed')
        return super().__new__(cls, (0,), np.uint8)

    def __setstate__(self, state: tuple) -> None:
        version, shape, number_type, fortran_order, content = state
        dtype = _dtype_of(number_type)
        # numpy takes the memory of the shape before it looks at the content.
        if math.prod(shape) * dtype.itemsize != len(content):
            raise DamageError(f'an array of shape {shape} has {len(content)} bytes')
        super().__setstate__((version, shape, dtype, fortran_order, content))

    def __reduce_ex__(self, protocol: Any) -> Any:
        return self.view(np.ndarray).__reduce_ex__(protocol)


def _dtype_of(number_type: Any) -> np.dtype:
    if not isinstance(number_type, NumberType):
        raise pickle.UnpicklingError(f'the array type {number_type!r} is not allowed')
    return number_type.dtype


def _reconstruct(kind: Any, shape: Any, code: Any) -> PickledArray:
    if kind is not PickledArray:
        raise pickle.UnpicklingError(f'an array of kind {kind!r} is not allowed')
    return PickledArray()


def _scalar(number_type: Any, content: bytes | str) -> np.generic:
    stored = content.encode('latin1') if isinstance(content, str) else content
    (number,) = np.frombuffer(stored, _dtype_of(number_type))
    return number


def _from_buffer(content: Any, number_type: Any, *order: Any) -> np.ndarray:
    return _NUMPY_FROM_BUFFER(content, _dtype_of(number_type), *order)


def _encode_latin1(text: str, encoding: str) -> bytes:
    """The one use of ``codecs.encode`` in pickles of arrays: bytes, in protocols that have none."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'the codec {encoding!r} is not allowed')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """The one use of ``bytes`` in them: an array without elements."""
    return b''


_NUMPY_FROM_BUFFER: Any = np.empty(1).__reduce_ex__(5)[0]

ARRAY_PARTS: dict[tuple[str, str], Callable[..., Any]] = {
    ('numpy', 'ndarray'): PickledArray,
    ('numpy', 'dtype'): NumberType,
}
"""What stands for numpy's parts of a pickled array, by module and name, under the module names of numpy 1 and 2."""
for _core in ('numpy.core', 'numpy._core'):
    ARRAY_PARTS[f'{_core}.multiarray', '_reconstruct'] = _reconstruct
    ARRAY_PARTS[f'{_core}.multiarray', 'scalar'] = _scalar
    ARRAY_PARTS[f'{_core}.numeric', '_frombuffer'] = _from_buffer


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays and nothing else."""

    ALLOWED: Mapping[tuple[str, str], Callable[..., Any]] = {
        **ARRAY_PARTS,
        ('collections', 'OrderedDict'): OrderedDict,
        ('_codecs', 'encode'): _encode_latin1,
        ('__builtin__', 'bytes'): _no_bytes,
    }

    def find_class(self, module: str, name: str) -> Any:
        """The allowed object of that name.

        Raises:
            UnpicklingError: It is not allowed.
        """
        try:
            return self.ALLOWED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f'{module}.{name} is not allowed') from None


def load_array_pickle(filename: str | Path) -> Any:
    """Open a pickle of containers, numbers, strings and numpy arrays.

    Args:
        filename: Path of the file.

    Returns:
        What it holds.

    Raises:
        CheckpointError: The file is missing, damaged, or holds anything else.
    """
    with naming_the_file(str(filename)):
        path = Path(filename).expanduser()
        size = check_regular(path)
        with path.open('rb') as file:
            kind = describe(file.read(HEAD), plain_text=False)
            if kind is not None:
                raise ForeignError(kind)
            file.seek(0)
            PickleScan(BoundedFile(file, size), size).run()
            file.seek(0)
            # Python 2's strings are bytes: latin1 keeps every one of them.
            return _ArrayUnpickler(file, encoding='latin1').load()


def first_unknown(path: Path) -> str | None:
    """Name of a function or class in a pickle that is not part of numpy's arrays.

    Args:
        path: The file.

    Returns:
        Module and name of the first one, None if there is none.

    Raises:
        DamageError: It is not a whole pickle.
        DangerError: It changes functions or classes.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        scan = PickleScan(BoundedFile(file, size), size)
        scan.run()
    known = {
        f'{module}.{name}'.replace('__builtin__.', 'builtins.')
        for module, name in _ArrayUnpickler.ALLOWED
    }
    return next((name for name in scan.names if name not in known), None)
