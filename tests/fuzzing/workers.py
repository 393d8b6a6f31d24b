# Copyright (c) The mmpointrend authors.
"""A process that runs inputs, and what it is watched for: silence, death, memory."""

import contextlib
import faulthandler
import gc
import logging
import mmap
import os
import random
import resource
import signal
import struct
import sys
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path

import torch

from fuzzing.cases import ROOM, Case
from fuzzing.outcomes import Outcome, observe

__all__ = [
    'DOUBTFUL',
    'MEMORY',
    'Feed',
    'Finish',
    'Handle',
    'Result',
    'feed_of',
    'run_alone',
    'run_cases',
]

MEMORY = 1 << 30
"""Bytes that an input may take beyond what the process has when it starts."""

DOUBTFUL = ('hang', 'crash', 'memory')
"""Verdicts that might be the machine's or an earlier input's doing."""

# Seconds until the entry points have to be ready.
_PREPARATION = 120
_READY = 'ready'
_HEADER = struct.Struct('<QQQ')
Opening = Callable[[Path], Callable[[Case], object]]
Handle = Callable[[int, Case], None]
Finish = Callable[[], None]
Feed = Callable[[Handle, Finish], None]


@dataclass(frozen=True)
class Result:
    """What one input came to.

    Attributes:
        index: Its number in the campaign.
        outcome: What became of it.
        case: The input, where its way through the code is new to the worker or it is a finding.
    """

    index: int
    outcome: Outcome
    case: Case | None


def _limit_memory() -> None:
    pages = int(Path('/proc/self/statm').read_text().split()[0])
    limit = pages * resource.getpagesize() + MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _silence() -> None:
    """What the product prints would be most of the time; deaths are the parent's to report."""
    faulthandler.disable()
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    sys.stdout = sys.stderr = open(os.devnull, 'w')  # noqa: SIM115
    logging.disable(logging.CRITICAL)
    warnings.simplefilter('ignore')


def _work(
    pipe: Connection,
    board: mmap.mmap,
    opening: Opening,
    folder: Path,
    feed: Feed,
    seconds: float,
) -> None:
    """The worker: runs inputs until there are no more."""
    _silence()
    # Threads that the parent's torch has started are not in a fork, and OpenMP would wait for them.
    torch.set_num_threads(1)
    run = opening(folder)
    _limit_memory()
    # mmengine collects garbage for each dataset; what is there already is none, and takes most of that time.
    gc.freeze()
    seen: set[tuple[str, int]] = set()

    def handle(index: int, case: Case) -> None:
        if not seen:
            pipe.send(_READY)
        kind = case.kind.encode()
        content = case.content[:ROOM]
        board.seek(0)
        board.write(_HEADER.pack(index, len(kind), len(content)) + kind + content)
        random.seed(index)
        outcome = observe(lambda: run(case), seconds)
        way = (outcome.key, outcome.trace)
        shown = case if way not in seen or outcome.verdict in DOUBTFUL else None
        seen.add(way)
        pipe.send(Result(index, outcome, shown))

    def finish() -> None:
        pipe.send(None)
        os._exit(0)

    feed(handle, finish)
    finish()


def _posted(board: mmap.mmap) -> tuple[int, Case]:
    """The input that the worker wrote on the board last."""
    index, kind, content = _HEADER.unpack(board[: _HEADER.size])
    start = _HEADER.size + kind
    return index, Case(board[_HEADER.size : start].decode(), board[start : start + content])


def feed_of(cases: Iterable[tuple[int, Case]]) -> Feed:
    """Inputs one after the other.

    Args:
        cases: Numbers and inputs.

    Returns:
        What hands them to a worker.
    """

    def feed(handle: Handle, finish: Finish) -> None:
        for index, case in cases:
            handle(index, case)

    return feed


def run_cases(opening: Opening, folder: Path, feed: Feed, seconds: float) -> Iterator[Result]:
    """Run inputs in a process of their own.

    The process is a fork: what this one has imported it need not import. It ends with the inputs, or with the first
    that kills it or keeps it, whose result is the last one.

    Args:
        opening: Prepares the entry points in the worker: a folder for their files, and what runs an input comes back.
        folder: That folder.
        feed: Called in the worker: hands inputs to its first argument, and may call the second when there are no more.
        seconds: How long an input may take.

    Yields:
        Results in order.
    """
    ours, theirs = Pipe(duplex=False)
    board = mmap.mmap(-1, _HEADER.size + ROOM + 256)
    process = os.fork()
    if process == 0:
        status = 1
        try:
            ours.close()
            _work(theirs, board, opening, folder, feed, seconds)
            status = 0
        except BrokenPipeError:
            pass
        except BaseException as error:
            # Of the harness, not of the product: the parent says so.
            with contextlib.suppress(Exception):
                theirs.send(error)
        finally:
            # Not `sys.exit`: handlers of the parent's are not the worker's to run.
            os._exit(status)
    theirs.close()
    try:
        yield from _results(ours, board, process, seconds)
    finally:
        _end(process)
        ours.close()
        board.close()


def _results(pipe: Connection, board: mmap.mmap, process: int, seconds: float) -> Iterator[Result]:
    if not pipe.poll(_PREPARATION):
        raise RuntimeError(f'the harness itself failed: not ready after {_PREPARATION} s')
    while True:
        # In Python the alarm rings first.
        if not pipe.poll(2 * seconds):
            index, case = _posted(board)
            yield Result(
                index, Outcome('hang', f'hang: {case.kind} kept C code busy, killed'), case
            )
            return
        try:
            result = pipe.recv()
        except EOFError:
            index, case = _posted(board)
            _, status = os.waitpid(process, 0)
            how = (
                signal.Signals(status & 127).name if status & 127 else f'exit status {status >> 8}'
            )
            yield Result(index, Outcome('crash', f'crash: {how} on {case.kind}'), case)
            return
        if result is None:
            return
        if isinstance(result, BaseException):
            raise RuntimeError(f'the harness itself failed: {result!r}') from result
        if result != _READY:
            yield result


def _end(process: int) -> None:
    with contextlib.suppress(ProcessLookupError, ChildProcessError):
        os.kill(process, signal.SIGKILL)
        os.waitpid(process, 0)


def run_alone(opening: Opening, folder: Path, case: Case, seconds: float) -> Outcome:
    """Run one input in a fresh process: what is left of earlier inputs is not to blame then.

    Args:
        opening: As in :func:`run_cases`.
        folder: As there.
        case: The input.
        seconds: How long it may take.

    Returns:
        Its outcome.
    """
    results: Sequence[Result] = list(run_cases(opening, folder, feed_of([(0, case)]), seconds))
    return results[0].outcome
