# Copyright (c) The mmpointrend authors.
"""Saving that never loses the checkpoint before, nor saves weights that are spoilt; what is said of
disks that are full or refuse."""

import errno
import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mmengine.dist import master_only
from mmengine.fileio import LocalBackend, register_backend
from mmengine.hooks import CheckpointHook
from mmengine.runner import Runner

from mmpointrend.engine.finite_loss import refuse_spoilt_weights
from mmpointrend.errors import OutputError, PointRendError, printable
from mmpointrend.registry import HOOKS

__all__ = [
    'AtomicLocalBackend',
    'SafeCheckpointHook',
    'clear_link',
    'complain_once',
    'naming_the_disk',
]

# What a place says that cannot be written, and what to do.
_FULL = 'free some space there or write elsewhere; what was saved before is kept'
_FORBIDDEN = 'give this user the right to it or take another place'
_TAKEN = 'take another name, or move away what is there'
_REFUSALS = {
    errno.ENOSPC: ('written', _FULL),
    errno.EDQUOT: ('written', _FULL),
    errno.EFBIG: ('written', _FULL),
    errno.EROFS: ('written', 'write elsewhere'),
    errno.EACCES: ('opened', _FORBIDDEN),
    errno.EPERM: ('opened', _FORBIDDEN),
    errno.EEXIST: ('made', _TAKEN),
    errno.ENOTDIR: ('opened', _TAKEN),
    errno.EISDIR: ('opened', _TAKEN),
    errno.ENAMETOOLONG: ('opened', 'take a shorter name'),
}


@contextmanager
def naming_the_disk(otherwise: str = 'a file') -> Iterator[None]:
    """Turn what the system raises on a disk that is full, read-only or forbidden into a sentence.

    Args:
        otherwise: What is named where the error names no file.

    Raises:
        OutputError: Such an error left the context; the original one is chained.
    """
    try:
        yield
    except PointRendError:
        raise
    except OSError as error:
        sentence = _sentence(error, otherwise)
        if sentence is None:
            raise
        raise OutputError(sentence) from error


def _sentence(error: OSError, otherwise: str) -> str | None:
    if error.errno not in _REFUSALS:
        return None
    done, mend = _REFUSALS[error.errno]
    return f'{error.filename or otherwise} cannot be {done} ({error.strerror}): {mend}.'


@master_only
def clear_link(path: Path) -> None:
    """Take away what mmengine would write through, or wait for: a link in a folder that came from elsewhere
    leads to any file of the user's.

    Args:
        path: A file that is written anew.
    """
    if path.is_symlink() or path.is_fifo():
        path.unlink()


def complain_once(logger: logging.Logger) -> None:
    """Let a log file on a full disk cost one sentence, and not a traceback a line, and names that
    strangers chose be letters in it.

    Args:
        logger: Its file handlers are altered; the run goes on without the file.
    """
    logger.addFilter(_make_printable)
    for handler in logger.handlers:
        if isinstance(handler, logging.FileHandler):
            # What ``logging`` calls where a handler fails, on an object that mmengine has made.
            vars(handler)['handleError'] = partial(_complain, handler, said=[])


def _make_printable(record: logging.LogRecord) -> bool:
    message = record.getMessage()
    clean = printable(message)
    if clean != message:
        record.msg, record.args = clean, ()
    return True


def _complain(handler: logging.FileHandler, record: logging.LogRecord, said: list[str]) -> None:
    error = sys.exc_info()[1]
    sentence = _sentence(error, handler.baseFilename) if isinstance(error, OSError) else None
    if sentence is None:
        logging.FileHandler.handleError(handler, record)
    elif sentence not in said:
        said.append(sentence)
        print(f'The run goes on without a log: {sentence}', file=sys.stderr)


class AtomicLocalBackend(LocalBackend):
    """Local files that are whole or not there: written beside their place, then moved onto it.

    mmengine's own backend writes in place; killed half way it leaves half a file, under the name of
    a good one.
    """

    _SUFFIX = '.part'

    def __init__(self) -> None:
        self._postponed: dict[Path, int] | None = None

    def put(self, obj: bytes, filepath: str | Path) -> None:
        """Write a file; whoever opens the path meanwhile sees the old content.

        Args:
            obj: Content.
            filepath: Path of the file; its folder is made where missing.

        Raises:
            OSError: The disk is full or refuses; the old content stays.
        """
        path = Path(filepath)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._replace(path, obj)
        except OSError as error:
            if error.errno is None:
                raise
            # The error of a write names no file.
            raise OSError(error.errno, error.strerror, str(path)) from error

    def _replace(self, path: Path, content: bytes) -> None:
        part = path.with_name(f'.{path.name}{self._SUFFIX}')
        try:
            with part.open('wb') as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            part.replace(path)
        finally:
            part.unlink(missing_ok=True)

    def remove(self, filepath: str | Path) -> None:
        """Delete a file, inside :meth:`removing_afterwards` only when its context has ended well.

        Args:
            filepath: Path of the file.
        """
        if self._postponed is None:
            super().remove(filepath)
        else:
            path = Path(filepath)
            self._postponed[path] = path.stat().st_ino

    @contextmanager
    def removing_afterwards(self) -> Iterator[None]:
        """Keep what is removed inside the context until it ends, for good if it ends by an
        error."""
        postponed: dict[Path, int] = {}
        self._postponed = postponed
        try:
            yield
        finally:
            self._postponed = None
        for path, inode in postponed.items():
            # A new file may have taken the old one's name.
            if path.is_file() and path.stat().st_ino == inode:
                path.unlink()

    def sweep(self, folder: str | Path) -> None:
        """Delete the parts that killed runs have left.

        Args:
            folder: Folder of the files.
        """
        for part in Path(folder).glob(f'.*{self._SUFFIX}'):
            part.unlink(missing_ok=True)


_BACKEND = 'mmpointrend.atomic'
register_backend(_BACKEND, AtomicLocalBackend, force=True)


@HOOKS.register_module()
class SafeCheckpointHook(CheckpointHook):
    """mmengine's ``CheckpointHook``, of which a kill at any moment leaves at least one whole
    checkpoint.

    It takes the same arguments. Two things differ, for checkpoints on a local disk: a checkpoint
    appears under its name only when it is complete, and the one that it replaces
    (``max_keep_ckpts``, ``save_best``) goes only after that. mmengine deletes first and then writes
    in place. And weights that hold NaN or Inf are not saved: training stops with a sentence, and
    the good checkpoints stay.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        elsewhere = kwargs.get('backend_args') or kwargs.get('file_client_args')
        if not elsewhere and '://' not in str(kwargs.get('out_dir')):
            kwargs['backend_args'] = dict(backend=_BACKEND)
        super().__init__(*args, **kwargs)

    def before_train(self, runner: Runner) -> None:
        """Find the folder of the checkpoints and clear it of parts.

        What a resumed checkpoint names to be replaced later is looked for in this folder alone:
        mmengine would delete the best checkpoint of the run that it was copied from, or whatever
        else a stranger's file names.

        Args:
            runner: The runner.
        """
        kept = runner.message_hub.runtime_info.get('keep_ckpt_ids', [])
        if not isinstance(kept, list) or not all(isinstance(step, int) for step in kept):
            del runner.message_hub.runtime_info['keep_ckpt_ids']
        super().before_train(runner)
        best: Any = self
        if hasattr(best, 'best_ckpt_path'):
            best.best_ckpt_path = self._own(best.best_ckpt_path)
        for name, path in getattr(self, 'best_ckpt_path_dict', {}).items():
            self.best_ckpt_path_dict[name] = self._own(path)
        self._sweep()
        clear_link(Path(runner.work_dir) / 'last_checkpoint')

    def _own(self, best: Any) -> str | None:
        """The best checkpoint of that name in the run's own folder."""
        name = Path(best).name if isinstance(best, str) else ''
        path = self.file_backend.join_path(self.out_dir, name)
        return path if name.startswith('best_') and self.file_backend.isfile(path) else None

    @master_only
    def _sweep(self) -> None:
        if isinstance(self.file_backend, AtomicLocalBackend):
            self.file_backend.sweep(self.out_dir)

    @contextmanager
    def _keeping_the_old(self) -> Iterator[None]:
        if isinstance(self.file_backend, AtomicLocalBackend):
            with self.file_backend.removing_afterwards():
                yield
        else:
            yield

    def _save_checkpoint(self, runner: Runner) -> None:
        refuse_spoilt_weights(runner)
        with self._keeping_the_old():
            super()._save_checkpoint(runner)

    def _save_best_checkpoint(self, runner: Runner, metrics: dict[str, float]) -> None:
        if self.save_best:
            refuse_spoilt_weights(runner)
        with self._keeping_the_old():
            super()._save_best_checkpoint(runner, metrics)
