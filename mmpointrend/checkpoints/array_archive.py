# Copyright (c) The mmpointrend authors.
"""Archives of ``numpy.savez``, opened only if what they unpack to is in proportion to the file."""

import math
import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as array_format

from mmpointrend.checkpoints.faults import DamageError, ForeignError, naming_the_file
from mmpointrend.checkpoints.kinds import HEAD, check_regular, describe
from mmpointrend.checkpoints.torch_files import check_end

__all__ = ['load_array_archive']

# savez_compressed makes weights a little shorter, and zeros a thousand times.
_MOST_GROWTH = 20
_LEAST_ROOM = 64 * 2**20


def load_array_archive(filename: str | Path) -> dict[str, np.ndarray]:
    """Open an archive of numpy arrays.

    Args:
        filename: Path of the file, ``~`` allowed.

    Returns:
        The arrays by name.

    Raises:
        CheckpointError: The file is missing, damaged, not an archive of arrays, or unpacks to far more than
            its length.
    """
    with naming_the_file(str(filename)):
        path = Path(filename).expanduser()
        try:
            size = check_regular(path)
            with path.open('rb') as file:
                kind = describe(file.read(HEAD), plain_text=False)
                if kind is not None:
                    raise ForeignError(f'is no archive of arrays: it {kind}')
                check_end(file, size)
                with zipfile.ZipFile(file) as archive:
                    _check_sizes(archive, size)
            with np.load(path, allow_pickle=False) as arrays:
                return dict(arrays)
        except OSError as error:
            if error.errno is not None:
                raise
            raise _no_archive(error) from error
        except (MemoryError, ForeignError):
            raise
        except Exception as error:
            # Whatever the bytes of a damaged archive lead to: any of half a dozen exceptions.
            raise _no_archive(error) from error


def _no_archive(error: Exception) -> ForeignError:
    reason = str(error).partition('\n')[0] or type(error).__name__
    return ForeignError(f'is no archive of arrays ({reason}); copy it anew')


def _check_sizes(archive: zipfile.ZipFile, size: int) -> None:
    """Compare what the members unpack to with the file, and each array's shape with its member."""
    members = archive.infolist()
    if sum(member.compress_size for member in members) > size:
        raise DamageError('its members are longer than the file')
    room = max(_MOST_GROWTH * size, _LEAST_ROOM)
    total = sum(member.file_size for member in members)
    if total > room:
        raise DamageError(f'it unpacks to {total:,} bytes')
    for member in members:
        with archive.open(member) as file:
            version = array_format.read_magic(file)
            if version == (1, 0):
                shape, _, dtype = array_format.read_array_header_1_0(file)
            else:
                shape, _, dtype = array_format.read_array_header_2_0(file)
            if math.prod(shape) * dtype.itemsize > member.file_size:
                raise DamageError(
                    f'{member.filename} has the shape {shape} and {member.file_size} bytes'
                )
