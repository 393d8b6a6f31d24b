# Copyright (c) The mmpointrend authors.
"""What a file is that is not a checkpoint: the usual mistakes, told by the first bytes."""

import re
from pathlib import Path

from mmpointrend.checkpoints.faults import DamageError, ForeignError
from mmpointrend.data_files import kind_of_special

__all__ = ['HEAD', 'check_regular', 'describe']

HEAD = 4096
"""Number of bytes at the start of a file that are enough to tell what it is."""

_GIVE = 'give a checkpoint (.pth or .safetensors)'
_BINARY: list[tuple[bytes, str]] = [
    (rb'\x89PNG\r\n\x1a\n', f'is a PNG image; {_GIVE}'),
    (rb'\xff\xd8\xff', f'is a JPEG image; {_GIVE}'),
    (rb'GIF8[79]a', f'is a GIF image; {_GIVE}'),
    (rb'(II\*\0|MM\0\*)', f'is a TIFF image; {_GIVE}'),
    (rb'RIFF.{4}WEBP', f'is a WebP image; {_GIVE}'),
    (rb'%PDF-', f'is a PDF document; {_GIVE}'),
    (rb'\x1f\x8b', 'is compressed (gzip); unpack it and give the file in it'),
    (rb'BZh[1-9]1AY&SY', 'is compressed (bzip2); unpack it and give the file in it'),
    (rb'\xfd7zXZ\0', 'is compressed (xz); unpack it and give the file in it'),
    (rb'\x28\xb5\x2f\xfd', 'is compressed (zstd); unpack it and give the file in it'),
    (rb'7z\xbc\xaf\x27\x1c', 'is a 7z archive; unpack it and give the file in it'),
    (rb'Rar!\x1a\x07', 'is a RAR archive; unpack it and give the file in it'),
    (rb'.{257}ustar', 'is a tar archive; unpack it and give the file in it'),
    (rb'\x89HDF\r\n', f'is an HDF5 file (Keras?); {_GIVE} of a torch model'),
    (rb'\x93NUMPY', f'is a single numpy array; {_GIVE}'),
    (rb'GGUF', f'is a GGUF model; {_GIVE}'),
    (rb'\x7fELF', f'is a program or library; {_GIVE}'),
    (rb'\x08[\x01-\x20]\x12[\x01-\x40][\x20-\x7e]', f'is an ONNX model; {_GIVE} of a torch model'),
]
_TEXTS: list[tuple[str, str]] = [
    (
        r'version https://git-lfs',
        'is a git-lfs pointer instead of the file itself; run `git lfs pull` in its repository, or '
        'download the file',
    ),
    (
        r'(<!--.*?-->\s*)*<(!doctype|html|head|body)\b',
        'is a web page, probably an error or a login page saved in its place; download the file anew',
    ),
    (r'<\?xml|<Error>', 'is an XML document, probably an error message; download the file anew'),
]


def check_regular(path: Path) -> int:
    """Refuse what cannot be read from start to end.

    Args:
        path: The file.

    Returns:
        Its length in bytes, above 0.

    Raises:
        OSError: It is missing or cannot be looked at.
        DamageError: It is empty.
        ForeignError: It is a folder, a device or a pipe.
    """
    state = path.stat()
    kind = kind_of_special(state.st_mode)
    if kind is not None:
        fix = 'give a file in it' if path.is_dir() else 'save it to a file first'
        raise ForeignError(f'is {kind}; {fix}')
    if state.st_size == 0:
        raise DamageError('it is empty')
    return state.st_size


def describe(head: bytes, plain_text: bool = True) -> str | None:
    """Say what a file is that is not a checkpoint.

    Args:
        head: Its first :data:`HEAD` bytes, or all if it has fewer.
        plain_text: Whether text of no particular kind is recognized as well; old pickles are text.

    Returns:
        What it is and what to do, to follow "the checkpoint X"; None if the kind is not known.
    """
    for pattern, sentence in _BINARY:
        if re.match(pattern, head, re.DOTALL):
            return sentence
    text = _text_of(head)
    if text is None:
        return None
    for start, sentence in _TEXTS:
        if re.match(start, text, re.IGNORECASE | re.DOTALL):
            return sentence
    if not plain_text:
        return None
    line = text.splitlines()[0] if text else ''
    line = f'{line[:40]}...' if len(line) > 40 else line
    return f'is damaged or not a checkpoint at all, it holds text ({line!r}); {_GIVE}'


def _text_of(head: bytes) -> str | None:
    """The bytes as text without the blanks in front, None if they are none."""
    try:
        text = head.decode('utf-16' if head[:2] in (b'\xff\xfe', b'\xfe\xff') else 'utf-8')
    except UnicodeDecodeError as error:
        # The last character may be cut.
        if len(head) < HEAD or error.start < len(head) - 4:
            return None
        text = head[: error.start].decode('utf-8', 'replace')
    if not all(character.isprintable() or character.isspace() for character in text):
        return None
    return text.lstrip('\ufeff \t\r\n')
