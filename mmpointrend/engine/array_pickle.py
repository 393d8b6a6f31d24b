# Copyright (c) The mmpointrend authors.
"""Pickles of numpy arrays, opened without letting them run anything.

A pickle names functions to call. Unrestricted, a crafted file calls whatever it likes; here the few that rebuild a
numpy array are all there is. That also takes files of Python 2, which detectron2's zoo has.
"""

import pickle
from collections import OrderedDict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from mmpointrend.errors import CheckpointError

__all__ = ['load_array_pickle']


def _encode_latin1(text: str, encoding: str) -> bytes:
    """The one use of ``codecs.encode`` in pickles of arrays: bytes, in protocols that have none."""
    if encoding != 'latin1':
        raise pickle.UnpicklingError(f'the codec {encoding!r} is not allowed')
    return text.encode('latin1')


def _no_bytes() -> bytes:
    """The one use of ``bytes`` in them: an array without elements."""
    return b''


def _allowed() -> dict[tuple[str, str], Callable[..., Any]]:
    """By module and name, under the module names of numpy 1 and 2."""
    reconstruct: Any = np.empty(0).__reduce__()[0]
    scalar: Any = np.float64(0).__reduce__()[0]
    from_buffer: Any = np.empty(1).__reduce_ex__(5)[0]
    allowed: dict[tuple[str, str], Callable[..., Any]] = {
        ('numpy', 'ndarray'): np.ndarray,
        ('numpy', 'dtype'): np.dtype,
        ('collections', 'OrderedDict'): OrderedDict,
        ('_codecs', 'encode'): _encode_latin1,
        ('__builtin__', 'bytes'): _no_bytes,
    }
    for core in ('numpy.core', 'numpy._core'):
        allowed[f'{core}.multiarray', '_reconstruct'] = reconstruct
        allowed[f'{core}.multiarray', 'scalar'] = scalar
        allowed[f'{core}.numeric', '_frombuffer'] = from_buffer
    return allowed


class _ArrayUnpickler(pickle.Unpickler):
    """Knows numpy's arrays and nothing else."""

    _ALLOWED = _allowed()

    def find_class(self, module: str, name: str) -> Any:
        """The allowed object of that name.

        Raises:
            UnpicklingError: It is not allowed.
        """
        try:
            return self._ALLOWED[module, name]
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
    try:
        with Path(filename).open('rb') as file:
            # Python 2's strings are bytes: latin1 keeps every one of them.
            return _ArrayUnpickler(file, encoding='latin1').load()
    except FileNotFoundError as error:
        raise CheckpointError(f'{filename} does not exist.') from error
    except pickle.UnpicklingError as error:
        if 'not allowed' in str(error):
            raise CheckpointError(
                f'{filename} holds objects that could run code and was refused ({error}); use a file of numpy arrays '
                'alone.'
            ) from error
        raise CheckpointError(f'{filename} is damaged ({error}); copy it anew.') from error
    except Exception as error:
        # Whatever the bytes of a damaged pickle lead to: any of a dozen exceptions.
        raise CheckpointError(
            f'{filename} is damaged or no pickle ({type(error).__name__}: {error}); copy it anew.'
        ) from error
