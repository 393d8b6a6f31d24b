# Copyright (c) The mmpointrend authors.
"""Files from outside are data: nothing in them runs, and they name no file outside their folder.

JSON and YAML are read as plain values, and a file that is too deep or that unfolds to too much is
refused before it takes stack or memory. Importing this package makes mmengine read YAML this way
too, through its own register of file handlers: its reader builds any Python object that a file
asks for, and its metafiles, configs and annotations all go through that register.
"""

import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any, TextIO

import yaml
from mmengine import fileio

from mmpointrend.errors import InputError

__all__ = [
    'check_regular',
    'inside',
    'kind_of_special',
    'read_json',
    'read_yaml',
    'register_handlers',
    'without_pickles',
]

_PICKLES = ('.pkl', '.pickle')
_NO_JSON = (*_PICKLES, '.yaml', '.yml')

# mmdet's largest metafile has some thousand values, nested ten deep.
_MAX_VALUES, _MAX_DEPTH = 1_000_000, 100
_LONGEST_YAML = 64 * 2**20
# YAML reads 1:30:00 as a number of base 60, in a time that grows with the square of the length.
_LONG_NUMBER = re.compile(r'[-+.:_0-9]{1000,}')


class _Values(yaml.SafeLoader):
    """Plain values, and tuples: mmengine writes those of a config with a tag of Python's."""


_Values.add_constructor(
    'tag:yaml.org,2002:python/tuple', lambda loader, node: tuple(loader.construct_sequence(node))
)
if hasattr(yaml, 'CSafeLoader'):

    class _QuickValues(yaml.CSafeLoader):
        """The same by libyaml, which is many times faster."""

    _QuickValues.yaml_constructors = _Values.yaml_constructors
else:
    _QuickValues = _Values  # type: ignore[misc]


_SPECIAL = {
    stat.S_ISDIR: 'a folder',
    stat.S_ISFIFO: 'a pipe (FIFO)',
    stat.S_ISSOCK: 'a socket',
    stat.S_ISCHR: 'a device',
    stat.S_ISBLK: 'a device',
}


def kind_of_special(mode: int) -> str | None:
    """Say what a file is that cannot be read from start to end: reading it could wait for ever.

    Args:
        mode: ``st_mode`` of its status.

    Returns:
        What it is, with its article; None for a regular file.
    """
    if stat.S_ISREG(mode):
        return None
    return next((name for test, name in _SPECIAL.items() if test(mode)), 'a special file')


def check_regular(path: str | Path, what: str) -> None:
    """Refuse what cannot be read to its end: a folder, a pipe, a device.

    Args:
        path: The file.
        what: What it is to the user, as 'the annotation file'.

    Raises:
        InputError: The file is missing or not a regular one.
    """
    try:
        mode = Path(path).stat().st_mode
    except FileNotFoundError as error:
        raise InputError(f'{what} {path} does not exist.') from error
    except (OSError, ValueError) as error:
        raise InputError(f'{what} {path} cannot be read ({error}).') from error
    kind = kind_of_special(mode)
    if kind is not None:
        raise InputError(f'{what} {path} is {kind}: give a file.')


def _check_text(path: str | Path, what: str) -> None:
    """Refuse what is not a file of text: no regular one, or one with a hole, which an archive of a few
    bytes unpacks to any length."""
    check_regular(path, what)
    with open(path, 'rb') as file:
        size = file.seek(0, os.SEEK_END)
        # Without a hole the first one is the end; systems without holes have no such question.
        if size and hasattr(os, 'SEEK_HOLE') and os.lseek(file.fileno(), 0, os.SEEK_HOLE) < size:
            raise InputError(f'{what} {path} has a hole without content in it: copy it anew.')


def read_json(
    path: str | Path, what: str = 'the annotation file', backend_args: dict[str, Any] | None = None
) -> Any:
    """Read a JSON file.

    Args:
        path: The file, or its address.
        what: What it is to the user.
        backend_args: How mmengine reads it; needed by none but remote files.

    Returns:
        Its content.

    Raises:
        InputError: The file is missing, not JSON, or nested too deeply.
    """
    if str(path).endswith(_NO_JSON):
        raise InputError(
            f'{what} {path} is not JSON: annotations are read as JSON alone, since pickles and YAML '
            'can hold code; write it as JSON.'
        )
    local = (backend_args or {}).get('backend', 'local') == 'local'
    try:
        if local and '://' not in str(path):
            _check_text(path, what)
            # Some editors put a byte order mark before the text.
            with open(path, encoding='utf-8-sig') as file:
                return json.load(file)
        return json.loads(fileio.get(path, backend_args=backend_args))
    except RecursionError as error:
        raise InputError(f'{what} {path} is nested too deeply; copy it anew.') from error
    except MemoryError as error:
        raise InputError(f'{what} {path} does not fit into memory.') from error
    except InputError:
        raise
    except OSError as error:
        raise InputError(f'{what} {path} cannot be read ({error}).') from error
    except ValueError as error:
        raise InputError(f'{what} {path} is damaged or no JSON ({error}); copy it anew.') from error


def read_yaml(path: str | Path) -> Any:
    """Read a YAML file as plain values.

    Args:
        path: The file.

    Returns:
        Its content; None if it is empty.

    Raises:
        InputError: The file is missing, not YAML, asks for objects of Python, or is too deep or
            too large when its aliases are followed.
    """
    _check_text(path, 'the file')
    if Path(path).stat().st_size > _LONGEST_YAML:
        raise InputError(f'{path} is longer than any file of settings ({_LONGEST_YAML:,} bytes).')
    try:
        return _values_of(Path(path).read_text(encoding='utf-8'))
    except (OSError, ValueError) as error:
        raise InputError(f'{path}: {error}') from error


def _values_of(text: str) -> Any:
    try:
        _check_extent(text)
        return yaml.load(text, Loader=_QuickValues)
    except InputError:
        raise
    # Constructors of dates, numbers and sets fail with errors of all kinds on values that are none.
    except Exception as error:
        reason = ' '.join(str(error).split()) or type(error).__name__
        raise InputError(f'this is not plain YAML ({reason}).') from error


def _check_extent(text: str) -> None:
    """Refuse YAML that is deep, or large when aliases are followed.

    Events come one at a time, so that neither stack nor memory is taken: libyaml's composer ends
    the process on deep files.
    """
    extents: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, Loader=_QuickValues):
        if isinstance(event, yaml.AliasEvent):
            # An alias inside of its own anchor has no extent yet, and no end.
            total += extents.get(event.anchor, _MAX_VALUES + 1)
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            extents.pop(event.anchor, None)
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor is not None:
                extents[anchor] = total - before
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor is not None:
                extents[event.anchor] = 1
            if (not event.style or event.tag) and _LONG_NUMBER.fullmatch(event.value):
                raise InputError('this is YAML with a number of more than a thousand digits.')
        if len(open_nodes) > _MAX_DEPTH or total > _MAX_VALUES:
            raise InputError(
                f'this is YAML nested more than {_MAX_DEPTH} deep, or of more than {_MAX_VALUES} '
                'values when its aliases are followed.'
            )


def inside(folder: str | Path, name: Any, *, follow_links: bool = False) -> Path:
    """Path of a file that data names, which has to lie in its folder.

    Args:
        folder: The folder; it may be a link itself.
        name: The file's name as the data has it, with folders or without.
        follow_links: Whether a link in the folder may lead out of it.

    Returns:
        ``folder / name``; there need not be such a file.

    Raises:
        InputError: The name is not a text, or the file would lie outside.
    """
    if not isinstance(name, str) or not name or '\0' in name:
        raise InputError(f'{name!r:.100} in place of a file name in {folder}: write a text.')
    path = Path(folder) / name
    way_out = f'it has to lie in {folder}; take the entry out of the annotations'
    if Path(name).is_absolute() or '..' in Path(name).parts:
        raise InputError(f'the file name {name!r:.200} leads out of its folder: {way_out}.')
    if not follow_links:
        try:
            root, real = Path(folder).resolve(), path.resolve()
        # Text that no file system takes: half a character pair of JSON's.
        except (OSError, RuntimeError, ValueError) as error:
            raise InputError(f'the file name {name!r:.200} cannot be used ({error}).') from error
        if not real.is_relative_to(root):
            raise InputError(
                f'the file name {name!r:.200} leads through a link to {real}: {way_out}, or the '
                'link away.'
            )
    return path


# The config whose files are read at present, while pickles are refused.
_reading: ContextVar[Any] = ContextVar('reading', default=None)


class _YamlHandler(fileio.YamlHandler):
    """YAML as plain values, unless the caller asks for a loader of its own."""

    def load_from_fileobj(self, file: TextIO, **kwargs: Any) -> Any:
        """Read an open file."""
        return super().load_from_fileobj(file, **kwargs) if kwargs else _values_of(file.read())


class _PickleHandler(fileio.PickleHandler):
    """Pickles, unless they are data of a run."""

    def load_from_fileobj(self, file: Any, **kwargs: Any) -> Any:
        """Read an open file."""
        config = _reading.get()
        if config is not None:
            named = next(_pickles_of(config, ''), 'a file that it reads')
            kind = f'{config["type"]}: ' if 'type' in config else ''
            raise InputError(
                f'{kind}{named} is a pickle, which can run code when it is read: write it as JSON.'
            )
        return super().load_from_fileobj(file, **kwargs)


def _pickles_of(node: Any, key: str) -> Iterator[str]:
    """Entries of a config that name a pickle, as text."""
    if isinstance(node, str) and node.endswith(_PICKLES):
        yield f'{key}={node}'
    elif isinstance(node, dict | list | tuple):
        for name, value in node.items() if isinstance(node, dict) else enumerate(node):
            # Some metrics write one.
            if not str(name).startswith('out'):
                yield from _pickles_of(value, f'{key}.{name}'.lstrip('.'))


@contextmanager
def without_pickles(config: dict[str, Any]) -> Iterator[None]:
    """Refuse every pickle that mmengine is asked to read meanwhile.

    Args:
        config: What is built, a dataset or an evaluator, for the message.

    Raises:
        InputError: A pickle is read; the message names the entry of the config.
    """
    token = _reading.set(config)
    try:
        yield
    finally:
        _reading.reset(token)


def register_handlers() -> None:
    """Let mmengine read YAML as plain values, and refuse pickles where `without_pickles` says."""
    fileio.register_handler(['yaml', 'yml'])(_YamlHandler)
    fileio.register_handler(['pickle', 'pkl'])(_PickleHandler)
