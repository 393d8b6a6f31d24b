# Copyright (c) The mmpointrend authors.
"""Resuming: which checkpoint a run goes on from."""

import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mmpointrend.checkpoints.loading import load_from_local
from mmpointrend.engine.training_state import check_training_state, first_not_finite
from mmpointrend.errors import CheckpointError, printable

__all__ = ['find_resumable']

# Longer is no path on Linux.
_LONGEST_PATH = 4096


def find_resumable(
    work_dir: str, warn: Callable[[str], None], out_dir: str | None = None
) -> str | None:
    """Newest usable checkpoint of a run.

    The one that ``last_checkpoint`` names comes first; behind it the numbered ones of the run's
    folders, newest first. The ``best_*`` ones are no candidates: they hold no optimizer.

    Args:
        work_dir: Folder of the run.
        warn: Called with a sentence for each checkpoint that is passed over.
        out_dir: ``out_dir`` of the run's checkpoint hook, which saves into a folder in it that has
            the name of ``work_dir``; None where it saves into ``work_dir``.

    Returns:
        Path of the checkpoint, the address where ``last_checkpoint`` names one in ``out_dir``, or
        None where there is no checkpoint at all.

    Raises:
        CheckpointError: There are checkpoints, and none of them can be used.
    """
    pointer = Path(work_dir) / 'last_checkpoint'
    warn = _printing(warn)
    last = _read_pointer(pointer, warn)
    if '://' in last:
        if out_dir is not None and last.startswith(out_dir.rstrip('/') + '/'):
            return last
        warn(
            f'Passed over: {pointer} names {last}, which is outside of '
            f'default_hooks.checkpoint.out_dir ({out_dir}).'
        )
        last = ''
    folders = [Path(work_dir)]
    if out_dir is not None and '://' not in out_dir:
        folders.append(Path(out_dir) / Path(os.path.abspath(work_dir)).name)
    candidates = _candidates(folders, last, warn)
    weights_alone = None
    for path in candidates:
        try:
            checkpoint = _load_finite(path)
            weights_alone = weights_alone or str(path)
            # The pointer is written beside a state of training; other files may be weights alone.
            if path.name != Path(last).name:
                check_training_state(str(path), checkpoint)
        except CheckpointError as error:
            warn(f'Passed over: {error}')
        else:
            return str(path)
    if weights_alone is not None:
        # Resuming it ends with a sentence that says what to do with weights alone.
        return weights_alone
    if candidates:
        raise CheckpointError(
            f'no checkpoint in {" or ".join(map(str, folders))} can be resumed, every one is '
            f'damaged, missing or without finite weights ('
            f'{", ".join(path.name for path in candidates)}); start anew in another --work-dir.'
        )
    return None


def _printing(warn: Callable[[str], None]) -> Callable[[str], None]:
    # Names of files are a stranger's.
    return lambda sentence: warn(printable(sentence))


def _read_pointer(pointer: Path, warn: Callable[[str], None]) -> str:
    """Path or address in a ``last_checkpoint``; empty where it names none."""
    if not os.path.lexists(pointer):
        return ''
    reason = ''
    try:
        # A named pipe would block.
        if not pointer.is_file():
            raise OSError('not a file')
        with pointer.open('rb') as file:
            content = file.read(_LONGEST_PATH + 1)
        # A crash of the machine may leave zeros.
        text = content.decode().strip('\0 \r\n\t')
        if len(content) > _LONGEST_PATH or not text.isprintable():
            reason = 'it is no single path'
    except UnicodeDecodeError:
        reason = 'it is no text'
    except OSError as error:
        reason = str(error)
    if reason:
        warn(f'Passed over: {pointer} names no checkpoint ({reason}).')
        return ''
    return text


def _candidates(folders: list[Path], last: str, warn: Callable[[str], None]) -> list[Path]:
    """Checkpoints to try, best first."""
    named = []
    if last:
        # A folder that was moved or copied still names its old place: its own files come first.
        own = [folder / Path(last).name for folder in folders]
        own.sort(key=lambda path: not _same(path, Path(last)))
        # A bare name is one of the work folder, not of where the command is called.
        otherwise = Path(last) if os.sep in last else own[0]
        named = [next((path for path in own if os.path.isfile(path)), otherwise)]
        elsewhere = named[0].parent
        if all(not _same(elsewhere, folder) for folder in folders) and os.path.isdir(elsewhere):
            warn(f'{folders[0] / "last_checkpoint"} names {last}, outside of {folders[0]}.')
            folders = [*folders, elsewhere]
    numbered = {
        path: _age(path)
        for folder in folders
        for path in folder.glob('*.pth')
        if re.search(r'\d+\.pth$', path.name) and not path.name.startswith('best_')
    }
    by_age = sorted(numbered, key=lambda path: numbered[path], reverse=True)
    return named + [path for path in by_age if all(not _same(path, other) for other in named)]


def _same(one: Path, other: Path) -> bool:
    return os.path.abspath(one) == os.path.abspath(other)


def _age(path: Path) -> tuple[float, int]:
    # Of a link without a target its own; it is said to be one when its turn comes.
    status = path.stat() if os.path.exists(path) else path.lstat()
    return status.st_mtime, int(re.findall(r'\d+', path.stem)[-1])


def _load_finite(path: Path) -> dict[str, Any]:
    """Load a local checkpoint whose weights can be trained on."""
    if not os.path.lexists(path):
        raise CheckpointError(f'the checkpoint {path} does not exist.')
    if os.path.islink(path) and not os.path.exists(path):
        raise CheckpointError(
            f'the checkpoint {path} is a link to {os.readlink(path)}, which does not exist.'
        )
    if os.path.isdir(path):
        raise CheckpointError(f'the checkpoint {path} is a folder, and not a file.')
    checkpoint = load_from_local(str(path), map_location='cpu')
    name = first_not_finite(checkpoint.get('state_dict', checkpoint))
    if name is not None:
        raise CheckpointError(
            f'the checkpoint {path} holds NaN or Inf in {name}; use an earlier one.'
        )
    return checkpoint
