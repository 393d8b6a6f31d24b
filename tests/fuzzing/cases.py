# Copyright (c) The mmpointrend authors.
"""Inputs: content under a file name, and things in the place of files that are none."""

import hashlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

__all__ = ['LARGEST', 'ROOM', 'SPECIAL', 'Case', 'materialise', 'read_cases']

LARGEST = 1 << 18
"""Bytes of the largest changed input: sizes that a file only claims need no more."""

ROOM = 1 << 22
"""Bytes of the largest input that is not changed any further."""

_MARK = b'\0fuzzing: in place of the file there is a '
SPECIAL = {name: _MARK + name.encode() for name in ('fifo', 'folder', 'device', 'dangling link')}
"""Content that stands for something else than a file, by its name."""


@dataclass(frozen=True)
class Case:
    """An input.

    Attributes:
        kind: File name that it gets, such as ``coco.json``; its stem says which entry point reads it.
        content: Bytes of the file, or one of ``SPECIAL``.
    """

    kind: str
    content: bytes

    @property
    def digest(self) -> str:
        """Twelve hex digits that tell this input from others."""
        return hashlib.sha256(self.kind.encode() + b'\0' + self.content).hexdigest()[:12]

    @property
    def file_name(self) -> str:
        """Name under which it is kept."""
        return f'{self.digest}.{self.kind}'


def materialise(case: Case, path: Path) -> Path:
    """Put an input in its place.

    Args:
        case: The input.
        path: Its place; what is there goes.

    Returns:
        The path.
    """
    if (
        case.content in SPECIAL.values()
        or path.is_symlink()
        or (path.exists() and not path.is_file())
    ):
        _clear(path)
    if case.content == SPECIAL['fifo']:
        os.mkfifo(path)
    elif case.content == SPECIAL['folder']:
        path.mkdir()
    elif case.content == SPECIAL['device']:
        path.symlink_to('/dev/zero')
    elif case.content == SPECIAL['dangling link']:
        path.symlink_to('nowhere')
    else:
        path.write_bytes(case.content)
    return path


def _clear(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_cases(folder: Path) -> list[Case]:
    """Inputs kept in a folder, in the order of their names.

    Args:
        folder: Its files are called ``NAME.KIND``, where only the kind matters.

    Returns:
        The inputs; none where there is no such folder.
    """
    paths = sorted(folder.iterdir()) if folder.is_dir() else []
    return [Case(path.name.partition('.')[2], path.read_bytes()) for path in paths]
