# Copyright (c) The mmpointrend authors.
"""What becomes of an input, and which outcomes count as one."""

import functools
import re
import signal
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mmpointrend
from mmpointrend.errors import PointRendError

__all__ = ['FINDINGS', 'Escaped', 'Outcome', 'Unresponsive', 'observe']

FINDINGS = ('foreign', 'hang', 'memory', 'crash', 'escape', 'advice')
"""Verdicts that must not occur."""

_ROOT = Path(mmpointrend.__file__).parent
_REPO = _ROOT.parent
_OUT_OF_MEMORY = re.compile(
    r'allocate memory|failed to allocate|unable to allocate|insufficient memory|bad_alloc|out of memory',
    re.I,
)


class Unresponsive(BaseException):
    """Time is up; no ``except Exception`` of the product takes it for an error of its own."""


class Escaped(BaseException):
    """The product wrote outside the folder that it was given."""


@dataclass(frozen=True)
class Outcome:
    """What became of an input.

    Attributes:
        verdict: 'accepted', 'refused', or one of ``FINDINGS``.
        key: What tells the outcome from others: of a refusal, the class and the sentence without what comes from the
            input; of a finding, the error and the product's last line on the way.
        trace: Number of the way through the code to the error; finer than the key, it says which inputs are worth
            changing further.
        details: Traceback of a finding.
    """

    verdict: str
    key: str
    trace: int = 0
    details: str = ''


@contextmanager
def _alarm(seconds: float) -> Iterator[None]:
    def ring(*_: Any) -> None:
        raise Unresponsive(f'no end after {seconds:g} s')

    before = signal.signal(signal.SIGALRM, ring)
    # Rings again, should the first one be swallowed.
    signal.setitimer(signal.ITIMER_REAL, seconds, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def observe(run: Callable[[], object], seconds: float) -> Outcome:
    """Run an input through the product.

    Args:
        run: Hands it over; what it returns tells accepted inputs apart.
        seconds: How long it may take.

    Returns:
        What became of it.
    """
    try:
        with _alarm(seconds):
            result = run()
    except Unresponsive as error:
        return _finding('hang', error)
    except Escaped as error:
        return _finding('escape', error)
    except PointRendError as error:
        if _ran_out_of_memory(error):
            return _finding('memory', error)
        if 'weights_only' in str(error) or not str(error).strip():
            return _finding('advice', error)
        return Outcome('refused', f'{type(error).__name__}: {_masked(str(error))}', _way(error))
    except BaseException as error:
        return _finding('memory' if _ran_out_of_memory(error) else 'foreign', error)
    return Outcome('accepted', f'accepted: {result}', zlib.crc32(str(result).encode()))


def _finding(verdict: str, error: BaseException) -> Outcome:
    place = _last_own_line(error)
    details = ''.join(traceback.format_exception(error, limit=-12))[-6000:]
    return Outcome(verdict, f'{verdict}: {type(error).__name__} at {place}', _way(error), details)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what led to it."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or current.__context__


def _ran_out_of_memory(error: BaseException) -> bool:
    return any(
        isinstance(link, MemoryError)
        or (not isinstance(link, PointRendError) and _OUT_OF_MEMORY.search(str(link)[:2000]))
        for link in _chain(error)
    )


def _frames(error: BaseException) -> Iterator[tuple[str, str, int]]:
    step = error.__traceback__
    while step is not None:
        code = step.tb_frame.f_code
        yield code.co_filename, code.co_name, step.tb_lineno
        step = step.tb_next


def _last_own_line(error: BaseException) -> str:
    """Where the product was last: a line of the library or of its tools."""
    found, last = None, 'nowhere'
    for file, function, line in _frames(error):
        last = f'{Path(file).name}:{function}'
        path = Path(file)
        if path.is_relative_to(_ROOT) or path.is_relative_to(_REPO / 'tools'):
            found = f'{path.relative_to(_REPO)}:{line} ({function})'
    return f'{found or "outside mmpointrend"}, raised in {last}'


def _way(error: BaseException) -> int:
    """Number of the lines that the error and its causes passed."""
    number = 0
    for link in _chain(error):
        number = zlib.crc32(type(link).__name__.encode(), number)
        for file, function, line in _frames(link):
            number = zlib.crc32(f'{file[-40:]}{function}{line}'.encode(), number)
    return number


@functools.cache
def _vocabulary() -> frozenset[str]:
    """Words of the product's own source: what else stands in a sentence comes from the input."""
    words: set[str] = set()
    for folder in (_ROOT, _REPO / 'tools'):
        for path in folder.rglob('*.py'):
            words.update(re.findall(r'[A-Za-z_]{2,}', path.read_text()))
    return frozenset(words)


def _masked(sentence: str) -> str:
    """A sentence without what comes from the input: quotes, brackets, paths, numbers, unknown words."""
    text = sentence[:2000]
    # Quotes as `repr` writes them, not the apostrophe of a genitive.
    text = re.sub(r"""(?s)(?<![A-Za-z])b?(?:'(?:[^'\\]|\\.)*'|"(?:[^"\\]|\\.)*")""", '~', text)
    # Outermost brackets hold foreign reasons and lists of names.
    text = re.sub(r'(?s)\(.*\)', '(~)', text)
    known = _vocabulary()
    words = [
        word if word in known or not word.isalpha() else '~'
        for word in re.findall(r'[A-Za-z]+|[,;:()~]', re.sub(r'\S*[/\\]\S*', ' ~ ', text))
    ]
    return re.sub(r'(~ ?)+', '~ ', ' '.join(words)).strip()[:160]
