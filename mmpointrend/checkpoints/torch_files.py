# Copyright (c) The mmpointrend authors.
"""Files of ``torch.save``: both formats, compared with themselves before torch reads them.

torch checks neither the sums of a zip archive nor that what its pickle announces is there.
"""

import io
import struct
import zipfile
from collections import Counter
from pathlib import Path
from typing import BinaryIO

from mmpointrend.checkpoints.faults import DamageError, ForeignError
from mmpointrend.checkpoints.pickle_scan import PickleScan
from mmpointrend.checkpoints.stand_ins import BoundedFile, Built
from mmpointrend.checkpoints.tensor_scan import TensorScan

__all__ = ['ZIP_START', 'check_archive', 'check_end', 'check_legacy', 'is_legacy']

ZIP_START = b'PK\x03\x04'
# Behind the pickle's protocol LONG1 of ten bytes: torch's magic number.
_LEGACY_NUMBER = b'\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19.'
_PROTOCOL = 1001

_END = struct.Struct('<4s4H2LH')
_END_MARK = b'PK\x05\x06'
_LOCATOR = struct.Struct('<4sLQL')
_LOCATOR_MARK = b'PK\x06\x07'
_LARGE_END = struct.Struct('<4sQ2H2L4Q')
_LARGE_END_MARK = b'PK\x06\x06'
_LONGEST_COMMENT = 65535
# Of the list of members; a thousand tensors take about 0.1 MB.
_LONGEST_LIST = 64 * 2**20


def check_end(file: BinaryIO, size: int) -> None:
    """Check that the list of members of a zip archive is where every reader finds it.

    Readers of zip archives differ in where they look; an archive made for two of them to see two
    contents has to be told from an honest one.

    Args:
        file: The archive.
        size: Its length in bytes.

    Raises:
        DamageError: The list is missing, is not followed by the archive's end, or is huge.
    """
    start = max(size - _LONGEST_COMMENT - _END.size, 0)
    file.seek(start)
    tail = file.read(size - start)
    place = tail.rfind(_END_MARK)
    if place < 0 or len(tail) - place < _END.size:
        raise DamageError('the end of the archive is missing')
    *_, length, offset, comment = _END.unpack_from(tail, place)
    end = start + place
    if end + _END.size + comment != size:
        raise DamageError('something follows the end of the archive')
    if end >= _LOCATOR.size:
        file.seek(end - _LOCATOR.size)
        mark, _, large_end, _ = _LOCATOR.unpack(file.read(_LOCATOR.size))
        if mark == _LOCATOR_MARK:
            end -= _LOCATOR.size + _LARGE_END.size
            file.seek(max(end, 0))
            mark, *_, length, offset = _LARGE_END.unpack(file.read(_LARGE_END.size))
            if mark != _LARGE_END_MARK or large_end != end:
                raise DamageError('the end of the archive is not where it says')
    if offset + length != end or length > _LONGEST_LIST:
        raise DamageError('the list of members is not where the archive says')


def check_archive(path: Path) -> None:
    """Compare a zip archive of ``torch.save`` with its sums, and its pickle with its members.

    Args:
        path: The file.

    Raises:
        DamageError: Something does not match.
        DangerError: The pickle changes functions or classes.
        ForeignError: It is another kind of archive.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        check_end(file, size)
        with zipfile.ZipFile(file) as archive:
            members = archive.infolist()
            _check_members(members, size)
            folder = members[0].filename.partition('/')[0]
            _check_kind({member.filename for member in members}, folder)
            _check_stored(members)
            broken = archive.testzip()
            if broken is not None:
                raise DamageError(f'{broken} does not match its checksum')
            content = archive.read(f'{folder}/data.pkl')
    start = f'{folder}/data/'
    records = {
        member.filename.removeprefix(start): member.file_size
        for member in members
        if member.filename.startswith(start)
    }
    TensorScan(io.BytesIO(content), size, records).run()


def _check_members(members: list[zipfile.ZipInfo], size: int) -> None:
    if not members:
        raise DamageError('it is an archive without members')
    if any(member.filename != member.orig_filename for member in members):
        raise DamageError('the name of a member goes on behind its end')
    # torch's reader does not distinguish capitals.
    (name, count), *_ = Counter(member.filename.lower() for member in members).most_common(1)
    if count > 1:
        raise DamageError(f'it has {count} members of the name {name}')
    if sum(member.compress_size for member in members) > size:
        raise DamageError('its members are longer than the file')


def _check_kind(names: set[str], folder: str) -> None:
    if f'{folder}/constants.pkl' in names:
        raise ForeignError(
            'is a TorchScript archive, which holds a program; save the state_dict() of the model'
        )
    if f'{folder}/data.pkl' not in names:
        some = ', '.join(sorted(names)[:3])
        raise ForeignError(
            f'is a zip archive without a model ({some}); unpack it and give a file in it'
        )


def _check_stored(members: list[zipfile.ZipInfo]) -> None:
    for member in members:
        if member.compress_type != zipfile.ZIP_STORED or member.compress_size != member.file_size:
            raise DamageError(f'{member.filename} is compressed, which torch.save never does')
        if member.flag_bits & 1:
            raise DamageError(f'{member.filename} is encrypted')


def is_legacy(head: bytes) -> bool:
    """Tell a file of the format before torch 1.6 by its content.

    Args:
        head: The first bytes of the file.

    Returns:
        Whether it starts with torch's number, pickled.
    """
    return head[:1] == b'\x80' and head[2:].startswith(_LEGACY_NUMBER)


def check_legacy(path: Path) -> None:
    """Compare a file of the format before torch 1.6 with itself: pickles, and contents behind.

    Args:
        path: The file, for which :func:`is_legacy` holds.

    Raises:
        DamageError: A pickle is broken, or the contents are shorter than it announces.
        DangerError: A pickle changes functions or classes.
    """
    size = path.stat().st_size
    with path.open('rb') as file:
        source = BoundedFile(file, size)
        PickleScan(source, size).run()
        if PickleScan(source, size).run() != _PROTOCOL:
            raise DamageError('it is of an unknown version')
        PickleScan(source, size).run()
        model = TensorScan(source, size)
        model.run()
        keys = PickleScan(source, size).run()
        if not isinstance(keys, Built) or keys.kind != 'list':
            raise DamageError('the list of its tensors is missing')
        # Each content is preceded by its length in eight bytes.
        needed = sum(8 + stored.nbytes for stored in model.storages.values())
        if needed > size - source.tell():
            raise DamageError(f'it ends {needed - size + source.tell()} bytes too early')
