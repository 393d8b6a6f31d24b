# Copyright (c) The mmpointrend authors.
"""Stages of the demo trained side by side, each in a process of its own."""

import os
import queue
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager
from multiprocessing import get_context
from pathlib import Path

import torch

from mmpointrend.demo.stages import HEADS, Options, Stage, run_stage
from mmpointrend.engine.results import Figures

__all__ = ['log_file', 'train_heads']

# Heads trained at a time. A model so small has little for a second thread to do, and on a busy machine two threads wait
# for each other.
_TOGETHER = 2


def log_file(options: Options) -> Path:
    """Return the file that takes whatever the stages print.

    Args:
        options: Data, length and folder of the demo.
    """
    return options.out / 'log.txt'


def train_heads(
    options: Options,
    after: str,
    threads: int,
    advance: Callable[[str, str], None],
    finish: Callable[[str], None],
) -> dict[str, Figures]:
    """Train the heads, two at a time.

    Args:
        options: Data, length and folder of the demo.
        after: Digest of the stage that the heads start from.
        threads: Threads to compute with, all heads together.
        advance: Called with the name of a stage and a few words after each of its steps.
        finish: Called with the name of a stage when it is done.

    Returns:
        Figures by name of the stage.
    """
    figures = {}
    with _processes(options, threads) as (pool, notes):
        running = {pool.submit(_run_head, head, options, after, notes): head for head in HEADS}
        while running:
            done, _ = wait(running, timeout=0.2)
            while not notes.empty():
                advance(*notes.get())
            for future in done:
                head = running.pop(future)
                figures[head.name] = future.result()
                finish(head.name)
    return figures


@contextmanager
def _processes(
    options: Options, threads: int
) -> Iterator[tuple[ProcessPoolExecutor, 'queue.Queue[tuple[str, str]]']]:
    """Yield processes that train heads, and the queue of (name of the stage, a few words)."""
    together = min(_TOGETHER, threads)
    # Spawned, not forked: a fork of a process that has computed with several threads can hang.
    context = get_context('spawn')
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(
            together, context, _start_process, (log_file(options), threads // together)
        ) as pool,
    ):
        yield pool, manager.Queue()


def _start_process(log: Path, threads: int) -> None:
    """Prepare a process: what it prints goes to the log."""
    torch.set_num_threads(threads)
    with log.open('a', encoding='utf-8') as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def _run_head(
    head: Stage, options: Options, after: str, notes: 'queue.Queue[tuple[str, str]]'
) -> Figures:
    """Train and test a head in this process."""
    return run_stage(head, options, after, lambda note: notes.put((head.name, note)))[1]
