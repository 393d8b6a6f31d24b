# Copyright (c) The mmpointrend authors.
"""What can be wrong with a checkpoint, and the one sentence that each fault becomes.

Readers raise :class:`DamageError`, :class:`DangerError` or :class:`ForeignError` with a few words;
:func:`naming_the_file` turns these, and whatever else a stranger's bytes lead to, into a
:class:`~mmpointrend.errors.CheckpointError` that names the file.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pickle import UnpicklingError

from mmpointrend.errors import CheckpointError, PointRendError, printable

__all__ = ['DamageError', 'DangerError', 'ForeignError', 'naming_the_file']

_LONGEST_REASON = 160


class DamageError(Exception):
    """The bytes contradict each other; the message is the reason."""


class DangerError(Exception):
    """The file holds objects that could run code; the message names the first one."""


class ForeignError(Exception):
    """The file is of another kind; the message says which and what to do, after "the checkpoint X"."""


@contextmanager
def naming_the_file(name: str) -> Iterator[None]:
    """Turn every failure to read a checkpoint into a sentence with its name.

    torch's own messages are never passed on whole: they advise to switch safe loading off.

    Args:
        name: Path or address of the checkpoint that is read inside the context.

    Raises:
        CheckpointError: Reading failed; the original error is chained.
    """
    try:
        yield
    except PointRendError:
        raise
    except Exception as error:
        # Names in the file are a stranger's: no line breaks, no commands to a terminal.
        predicate = printable(_predicate(error)).replace('\n', '?')
        raise CheckpointError(f'the checkpoint {name} {predicate}.') from error


def _predicate(error: Exception) -> str:
    reason = _reason(error)
    if isinstance(error, ForeignError):
        return str(error)
    if isinstance(error, FileNotFoundError):
        return 'does not exist'
    if isinstance(error, MemoryError) or re.search("out of memory|can't allocate memory", reason):
        return f'does not fit into memory ({reason}); use a machine or device with more'
    if isinstance(error, OSError) and error.errno is not None:
        return f'cannot be read ({error.strerror}); check the path, the rights and the disk'
    if 'Attempting to deserialize' in reason:
        return (
            'holds tensors of a device that this machine does not have; load it with '
            "map_location='cpu'"
        )
    if isinstance(error, DangerError) or re.search(
        'GLOBAL|allowed|unrecognized function|Can only', reason
    ):
        return (
            f'holds objects that could run code and was refused ({_offender(reason)}); use a file '
            'from a source that you trust, with tensors only'
        )
    return f'is damaged ({reason}); copy it anew or use an earlier one'


def _reason(error: Exception) -> str:
    text = _without_advice(str(error))
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if not lines or 'weights_only' in lines[0]:
        return type(error).__name__
    reason = lines[0].rstrip('.')
    if len(reason) > _LONGEST_REASON:
        reason = f'{reason[:_LONGEST_REASON]}...'
    return (
        reason
        if isinstance(error, DamageError | DangerError | UnpicklingError)
        else f'{type(error).__name__}: {reason}'
    )


def _without_advice(text: str) -> str:
    """What went wrong, out of a message of ``torch.load`` about its safe loading."""
    start = 'Weights only load failed.'
    text = text.partition('\n\nCheck the documentation of torch.load')[0]
    if 'WeightsUnpickler error:' in text:
        return text.partition('WeightsUnpickler error:')[2]
    if text.startswith(start):
        _, blank, message = text.removeprefix(start).rpartition('\n\n')
        return message if blank else message.strip().partition('\n')[0]
    return text


def _offender(reason: str) -> str:
    match = re.search(r'GLOBAL (\S+)|getattr\(.*\)|function <.*?>', reason)
    return match.group(0) if match else reason
