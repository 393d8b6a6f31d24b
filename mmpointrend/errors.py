# Copyright (c) The mmpointrend authors.
"""Errors that speak: each carries one sentence for the user, naming what is wrong and the mend.

The command-line tools print that sentence and exit with status 1; every other error keeps its
traceback.
"""

import re

__all__ = [
    'CheckpointError',
    'ConfigError',
    'DivergenceError',
    'InputError',
    'OutputError',
    'PointRendError',
    'printable',
    'sentence_of',
]


class PointRendError(Exception):
    """Something that the user can mend; the message is one sentence that says what and how."""


class ConfigError(PointRendError, ValueError):
    """A config that cannot work: the message names the key and the mend."""


class InputError(PointRendError, ValueError):
    """An image, annotation or dataset that cannot be used: the message names the file."""


class CheckpointError(PointRendError, RuntimeError):
    """A checkpoint that is damaged, unsafe or of another model: the message names the file."""


class DivergenceError(PointRendError, FloatingPointError):
    """Training that yields no numbers any more: the message names iteration, losses and a way
    back."""


class OutputError(PointRendError, OSError):
    """A place that cannot be written, because it is full, read-only or forbidden: the message names
    it."""


def printable(text: str) -> str:
    """Make names that strangers chose fit for a terminal and a log.

    Args:
        text: The text.

    Returns:
        The same with '?' for commands to a terminal and for halves of character pairs, which no file
        takes; line breaks and tabs stay.
    """
    return ''.join(c if c.isprintable() or c in '\n\t' else '?' for c in text)


def sentence_of(error: PointRendError) -> str:
    """Sentence of an error, also of one that crossed a data-loading worker.

    torch re-raises an error of a worker with the worker's whole traceback as its message; the
    sentence is that traceback's last entry.

    Args:
        error: The error as it was caught.

    Returns:
        The sentence alone.
    """
    text = str(error)
    last_entry = re.split(rf'^{__name__}\.\w+: ', text, flags=re.MULTILINE)[-1]
    return printable(last_entry.strip())
