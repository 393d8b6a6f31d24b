# Copyright (c) The mmpointrend authors.
"""Changes inside of containers whose checksums would give away any other: zip archives, PNG images, pickles."""

import functools
import io
import pickletools
import random
import struct
import zipfile
import zlib
from collections.abc import Callable, Sequence

from fuzzing.cases import LARGEST
from fuzzing.mutation import INTERESTING, mutate_bytes, some

__all__ = ['mutate_pickle', 'mutate_png', 'mutate_zip', 'pickle_parts', 'zip_bomb', 'zip_members']

Change = Callable[[random.Random, bytes], bytes]


@functools.lru_cache(4096)
def zip_members(content: bytes) -> tuple[tuple[str, bytes], ...]:
    """Names and contents of an archive.

    Args:
        content: The archive.

    Returns:
        Its members, none where it is no whole archive.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            if sum(item.file_size for item in archive.infolist()) > LARGEST:
                return ()
            return tuple((item.filename, archive.read(item)) for item in archive.infolist())
    except Exception:
        # Whatever a changed archive leads to.
        return ()


def mutate_zip(rng: random.Random, content: bytes, change_of: Callable[[str], Change]) -> bytes:
    """Change members of an archive; its checksums fit again.

    Args:
        rng: Source of chance.
        content: The archive.
        change_of: For the name of a member, how its content is changed.

    Returns:
        Another archive, or the same where it was none.
    """
    members = [list(member) for member in zip_members(content)]
    if not members:
        return content
    compression = zipfile.ZIP_STORED if rng.random() < 0.97 else zipfile.ZIP_DEFLATED
    for _ in range(some(rng, 3)):
        member = rng.choice(members)
        choice = rng.random()
        if choice < 0.8:
            member[1] = change_of(member[0])(rng, member[1])
        elif choice < 0.85 and len(members) > 1:
            members.remove(member)
        elif choice < 0.9:
            members.append([member[0], rng.choice(members)[1]])
        elif choice < 0.95:
            member[0] = mutate_bytes(rng, member[0].encode()).decode('latin1')[:100] or 'x'
        else:
            member[1] = rng.choice(members)[1]
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w', compression) as archive:
        for name, data in members:
            archive.writestr(_info(name, compression), data)
    return target.getvalue()


@functools.cache
def zip_bomb(name: str, mebibytes: int, head: bytes = b'') -> bytes:
    """An archive of one member that is a thousand times as large as the archive.

    Args:
        name: The member's.
        mebibytes: Its size, besides the head.
        head: What it begins with; zeros follow.

    Returns:
        The archive.
    """
    block, packer = bytes(1 << 20), zlib.compressobj(9, zlib.DEFLATED, -15)
    stream = packer.compress(head) + packer.flush(zlib.Z_FULL_FLUSH)
    # After a full flush the same bytes unpack to the same zeros, again and again.
    again = packer.compress(block) + packer.flush(zlib.Z_FULL_FLUSH)
    checksum = zlib.crc32(head)
    for _ in range(mebibytes):
        checksum = zlib.crc32(block, checksum)
    target = io.BytesIO()
    with zipfile.ZipFile(target, 'w') as archive:
        archive.writestr(
            _info(name, zipfile.ZIP_STORED), stream + again * mebibytes + packer.flush()
        )
    packed = bytearray(target.getvalue())
    # Stored above; now both headers say that it is deflated, and to what it unpacks.
    for header, method in ((0, 8), (packed.rindex(b'PK\x01\x02'), 10)):
        struct.pack_into('<H', packed, header + method, zipfile.ZIP_DEFLATED)
        struct.pack_into('<I', packed, header + method + 6, checksum)
        struct.pack_into('<I', packed, header + method + 14, len(head) + len(block) * mebibytes)
    return bytes(packed)


def _info(name: str, compression: int) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name)
    info.compress_type = compression
    return info


@functools.lru_cache(4096)
def pickle_parts(content: bytes) -> tuple[bytes, ...]:
    """A pickle's operations, each with its argument.

    Args:
        content: The pickle.

    Returns:
        The operations that can be told apart; what follows the last of them is one more part.
    """
    starts = []
    try:
        for _, _, position in pickletools.genops(content):
            starts.append(position)
            if len(starts) > 3000:
                break
    except Exception:
        # Whatever a changed pickle leads to; what was told apart till then counts.
        pass
    ends = [*starts[1:], len(content)] if starts else []
    return tuple(content[start:end] for start, end in zip(starts, ends, strict=True))


def _strings(*texts: str) -> list[bytes]:
    return [b'X' + struct.pack('<I', len(text)) + text.encode() for text in texts]


_GLOBALS = (
    *(
        'os system',
        'builtins eval',
        'builtins getattr',
        '__builtin__ bytes',
        'builtins set',
        'builtins list',
    ),
    *(
        'collections OrderedDict',
        'collections defaultdict',
        '_codecs encode',
        'numpy ndarray',
        'numpy dtype',
    ),
    *(
        'numpy.core.multiarray _reconstruct',
        'numpy._core.multiarray _reconstruct',
        'torch Tensor',
        'torch Size',
    ),
    *(
        'numpy.core.multiarray scalar',
        'numpy._core.numeric _frombuffer',
        'torch._utils _rebuild_tensor_v2',
    ),
    *(
        'torch._utils _rebuild_parameter',
        'torch._utils _rebuild_sparse_tensor',
        'torch FloatStorage',
        'torch device',
    ),
    *(
        'torch._tensor _rebuild_from_type_v2',
        'torch storage',
        'torch.serialization _get_layout',
        'torch float32',
    ),
    *(
        'torch._utils _rebuild_meta_tensor_no_storage',
        'torch._utils _rebuild_qtensor',
        'torch LongStorage',
    ),
    *(
        'mmengine.logging.history_buffer HistoryBuffer',
        'torch.nested._internal nested_tensor',
        'torch QInt8Storage',
    ),
)
_OPERATIONS = (
    *[
        bytes([code])
        for code in b'.0123ab}])(teoRQds\x81\x85\x86\x87\x88\x89\x8f\x90\x91\x92\x93\x94\x97\x98NIFuGh'
    ],
    *[b'c' + name.replace(' ', '\n').encode() + b'\n' for name in _GLOBALS],
    *_strings(
        'storage',
        'cpu',
        'cuda:0',
        '0',
        'latin1',
        'f4',
        'O8',
        '<',
        'state_dict',
        'meta',
        'iter',
        '\ud7ff',
    ),
    *[b'K' + bytes([number]) for number in (0, 1, 2, 255)],
    *[b'J' + struct.pack('<i', number) for number in (-1, 2**31 - 1, -(2**31), 10**6)],
    *[b'\x8a\x08' + struct.pack('<q', number) for number in (-1, 2**62, 2**40)],
    *[b'r' + struct.pack('<I', number) for number in (2**27, 2**31, 2**32 - 1)],
    *[b'j' + struct.pack('<I', number) for number in (0, 2**27, 2**32 - 1)],
    *[
        code + struct.pack('<Q', 2**number)
        for code in (b'\x8d', b'\x8e', b'\x95', b'\x96')
        for number in (20, 40, 63)
    ],
    *[code + struct.pack('<I', 2**31 - 1) for code in (b'X', b'B', b'T', b'\x8b')],
    *[b'G' + struct.pack('>d', number) for number in (float('nan'), float('inf'), 1e308)],
    *[
        b'h\x00',
        b'h\xff',
        b'q\x00',
        b'I' + b'9' * 5000 + b'\n',
        b'L12L\n',
        b'Fnan\n',
        b'P1\n',
        b'\x80\x05',
        b'\x80\xff',
    ],
    *[
        b'I01\n',
        b'g0\n',
        b'p999999999\n',
        b'S"x"\n',
        b'V\\ud800\n',
        b'\x82\x01',
        b'i__main__\nx\n',
        b'(' * 500,
    ],
    *[b']' * 300 + b'a' * 299, b')\x81', b'b', b'}b', b'N\x85R', b'K\x01\x85\x85R'],
)


def mutate_pickle(rng: random.Random, content: bytes, others: Sequence[bytes] = ()) -> bytes:
    """Change a pickle: mostly its operations, sometimes its bytes.

    Args:
        rng: Source of chance.
        content: The pickle.
        others: Other pickles, to take operations from.

    Returns:
        Another pickle.
    """
    parts = list(pickle_parts(content))
    if not parts or rng.random() < 0.3:
        return mutate_bytes(rng, content, _OPERATIONS, others)
    for _ in range(some(rng)):
        place = rng.randrange(len(parts)) if parts else 0
        choice = rng.randrange(9)
        if choice < 2:
            del parts[place : place + some(rng)]
        elif choice == 2:
            parts[place:place] = parts[place : place + some(rng)]
        elif choice < 5:
            parts[place : place + rng.choice((0, 1))] = [rng.choice(_OPERATIONS)]
        elif choice == 5 and others:
            other = pickle_parts(rng.choice(others)) or (b'',)
            start = rng.randrange(len(other))
            parts[place:place] = other[start : start + 1 + int(rng.expovariate(0.1))]
        elif choice == 6 and len(parts) > 1:
            second = rng.randrange(len(parts))
            parts[place], parts[second] = parts[second], parts[place]
        elif parts:
            parts[place] = _with_another_argument(rng, parts[place])
    return b''.join(parts)[:LARGEST]


def _with_another_argument(rng: random.Random, part: bytes) -> bytes:
    code, argument = part[:1], part[1:]
    if not argument:
        return part + part
    if code in (b'K', b'M', b'J', b'h', b'j', b'q', b'r'):
        return code + (rng.choice(INTERESTING) % (1 << 8 * len(argument))).to_bytes(
            len(argument), 'little'
        )
    if code == b'X' and len(argument) > 4:
        text = mutate_bytes(rng, argument[4:], [b'torch', b'numpy', b'module.', b'f8', b'O'])
        return code + struct.pack('<I', len(text)) + text
    if code == b'\x8c' and len(argument) > 1:
        text = mutate_bytes(rng, argument[1:])[:255]
        return code + bytes([len(text)]) + text
    return code + mutate_bytes(rng, argument)


_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_CHUNKS = (
    b'tEXt',
    b'zTXt',
    b'iCCP',
    b'eXIf',
    b'tRNS',
    b'PLTE',
    b'gAMA',
    b'acTL',
    b'fcTL',
    b'fdAT',
    b'IDAT',
    b'IEND',
    b'iTXt',
)


@functools.lru_cache(4096)
def _png_chunks(content: bytes) -> tuple[tuple[bytes, bytes], ...]:
    chunks, place = [], len(_SIGNATURE)
    while content.startswith(_SIGNATURE) and place + 12 <= len(content):
        (length,) = struct.unpack('>I', content[place : place + 4])
        chunks.append((content[place + 4 : place + 8], content[place + 8 : place + 8 + length]))
        place += 12 + length
    return tuple(chunks)


def mutate_png(rng: random.Random, content: bytes) -> bytes:
    """Change chunks of a PNG image; its checksums fit again.

    Args:
        rng: Source of chance.
        content: The image.

    Returns:
        Another image, or the same where it was no PNG.
    """
    chunks = [list(chunk) for chunk in _png_chunks(content)]
    if not chunks:
        return content
    for _ in range(some(rng, 4)):
        chunk = rng.choice(chunks) if chunks else [b'IHDR', bytes(13)]
        choice = rng.randrange(8)
        if choice == 0 or chunk[0] == b'IHDR':
            chunk[1] = (
                _other_header(rng, chunk[1]) if chunk[0] == b'IHDR' else mutate_bytes(rng, chunk[1])
            )
        elif choice < 4 and chunk[0] == b'IDAT':
            chunk[1] = _other_pixels(rng, chunk[1])
        elif choice == 4:
            chunks.remove(chunk)
        elif choice == 5:
            chunks.insert(rng.randrange(len(chunks) + 1), list(chunk))
        elif choice == 6:
            chunk[0] = rng.choice(_CHUNKS)
        else:
            addition = rng.choice(
                (rng.randbytes(12), b'x\0\0' + zlib.compress(bytes(1 << 16)), b'II*\0\x08\0\0\0')
            )
            chunks.insert(rng.randrange(len(chunks) + 1), [rng.choice(_CHUNKS), addition])
    return (
        _SIGNATURE
        + b''.join(
            struct.pack('>I', len(data)) + name + data + struct.pack('>I', zlib.crc32(name + data))
            for name, data in chunks
        )[:LARGEST]
    )


def _other_header(rng: random.Random, header: bytes) -> bytes:
    if len(header) != 13 or rng.random() < 0.1:
        return mutate_bytes(rng, header)
    width, height, depth, colour, *rest = struct.unpack('>IIBBBBB', header)
    choice = rng.randrange(5)
    if choice == 0:
        width = rng.choice(
            (0, 1, width + 1, height, 2000, 30000, 65536, 10**6, 2**31 - 1, 2**32 - 1)
        )
    elif choice == 1:
        height = rng.choice(
            (0, 1, height + 1, width, 2000, 30000, 65536, 10**6, 2**31 - 1, 2**32 - 1)
        )
    elif choice == 2:
        depth = rng.choice((0, 1, 2, 4, 8, 16, 32))
    elif choice == 3:
        colour = rng.randrange(8)
    else:
        rest[rng.randrange(3)] = rng.choice((0, 1, 2, 255))
    return struct.pack('>IIBBBBB', width % 2**32, height % 2**32, depth, colour, *rest)


def _other_pixels(rng: random.Random, data: bytes) -> bytes:
    try:
        pixels = zlib.decompressobj().decompress(data, LARGEST)
    except zlib.error:
        return mutate_bytes(rng, data)
    return zlib.compress(mutate_bytes(rng, pixels), 1)
