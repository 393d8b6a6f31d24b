# Copyright (c) The mmpointrend authors.
"""Times of several implementations in turn, for ``benchmark_rendering.py``."""

import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import torch
from rendering_inputs import PEER, Case

from mmpointrend.errors import ConfigError

# Of the wall, and of this process on a CPU, which other work on the machine does not lengthen.
CLOCKS = {'wall': time.perf_counter, 'cpu': time.process_time}


def timed(run: Callable[[], Any], device: str, clock: str = 'wall') -> float:
    """Seconds of one call by a clock of ``CLOCKS``, to the end of the GPU's work."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
    start = CLOCKS[clock]()
    run()
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
    return CLOCKS[clock]() - start


# Calls of each that no limit of time takes away, for there is no median of less.
_FEWEST = 2


def alternate(
    runs: dict[str, Callable[[], Any]],
    rounds: int,
    device: str,
    row_seconds: float = math.inf,
    clock: str = 'wall',
) -> dict[str, dict[str, float]]:
    """Time functions in turn.

    Args:
        runs: The functions, which have been called before.
        rounds: Number of calls of each.
        device: Where they run.
        row_seconds: A function whose calls have taken longer than this together is called no more, after two calls.
        clock: One of ``CLOCKS``.

    Returns:
        Median and quartiles of each in seconds, and its number of calls.
    """
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            if len(seconds[name]) < _FEWEST or sum(seconds[name]) < row_seconds:
                seconds[name].append(timed(run, device, clock))
    summary = {}
    for name, values in seconds.items():
        low, _, high = quantiles(values, n=4) if len(values) > 1 else values * 3
        summary[name] = {'median': median(values), 'q1': low, 'q3': high, 'rounds': len(values)}
    return summary


def free_bytes(device: str) -> float:
    """Free memory of the device."""
    if device.startswith('cuda'):
        return float(torch.cuda.mem_get_info(device)[0])
    for line in Path('/proc/meminfo').read_text().splitlines():
        if line.startswith('MemAvailable:'):
            return 1024 * float(line.split()[1])
    raise OSError('/proc/meminfo has no MemAvailable')


def build_all(
    case: Case, variants: Sequence[str], device: str
) -> tuple[dict[str, Callable[[], Any]], dict[str, str]]:
    """Build the peer and ours.

    Args:
        case: The case.
        variants: Names of ours that are wanted.
        device: Where they run.

    Returns:
        The functions by name, and the reason of each that is missing.
    """
    runs, missing = {}, {}
    for name in (PEER, *(v for v in case.variants if v in variants)):
        if name == PEER and case.peer_bytes > 0.8 * free_bytes(device):
            missing[name] = f'does not fit: about {case.peer_bytes / 1e9:.0f} GB'
            continue
        try:
            runs[name] = case.build(name)
        except ConfigError as error:
            missing[name] = f'skipped: {error}'
    return runs, missing
