# Copyright (c) The mmpointrend authors.
"""Time and memory of rendering, ours against mmdet's and mmseg's PointRend, on the same weights and inputs.

All implementations of a case run in turn in one process, round after round, so that what slows the machine down slows
all of them. The ratio is the peer's median over ours. Memory is the peak over what inputs and weights take, each
implementation in a process of its own; in training, gradients of features and parameters are let go as soon as they are
complete, for all implementations hold the same ones.

Usage: python tools/analysis_tools/benchmark_rendering.py [--cases CASE ...] [--variants VARIANT ...] [--memory]
       [--end-products] [--out results.json] [--curves curves.json --plot curves.png]
"""

import argparse
import ctypes
import gc
import json
import math
import os
import platform
import resource
import subprocess
import sys
from collections.abc import Callable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from rendering_curves import curves, plot
from rendering_inputs import CONV, LOSSLESS, PEER, VARIANTS, Case
from rendering_timing import CLOCKS, alternate, build_all
from rendering_workloads import CASES, END_PRODUCTS, make_case
from rich.console import Console
from rich.table import Table

from mmpointrend.engine.launch import run_cli
from mmpointrend.points.precision import is_native


def environment(device: str) -> dict[str, Any]:
    """What the figures depend on.

    Args:
        device: Where the cases run.

    Returns:
        Versions, number of threads, CPU model, whether it multiplies bfloat16 natively, and the GPU's name.
    """
    try:
        info = Path('/proc/cpuinfo').read_text()
    except OSError:
        info = ''
    lines = dict(line.split(':', 1) for line in info.splitlines() if ':' in line)
    fields = {key.strip(): value.strip() for key, value in lines.items()}
    cuda = device.startswith('cuda')
    return {
        **{name: version(name) for name in ('torch', 'mmdet', 'mmsegmentation')},
        'device': torch.cuda.get_device_name(device) if cuda else 'cpu',
        'cpu': fields.get('model name', platform.processor()),
        'cpu_native_bf16': is_native(torch.bfloat16, 'cpu'),
        'threads': torch.get_num_threads(),
    }


def _processor(facts: dict[str, Any]) -> str:
    """What a table is of."""
    units = 'with' if facts['cpu_native_bf16'] else 'without'
    place = facts['device'] if facts['device'] != 'cpu' else f'{facts["cpu"]} {units} bf16 units'
    return f'{place}, {facts["threads"]} threads'


def measure(
    case: Case,
    variants: Sequence[str],
    rounds: int,
    device: str,
    row_seconds: float = math.inf,
    clock: str = 'wall',
) -> list[dict[str, Any]]:
    """Times and agreement of a case.

    Args:
        case: The case.
        variants: Names of ours that are wanted.
        rounds: Number of timed calls of each.
        device: Where they run.
        row_seconds: Timed calls of one implementation end after this time, with two calls at least.
        clock: 'wall', or 'cpu' for the seconds of this process.

    Returns:
        One row for the peer, each variant, and the unavoidable GEMMs in each precision.
    """
    runs, missing = build_all(case, variants, device)
    # The first call warms up, and its output is what is compared.
    agreement: dict[str, dict[str, float]] = {}
    reference = runs[PEER]() if PEER in runs else None
    for name in runs:
        if name != PEER:
            output = runs[name]()
            if reference is not None and name not in CONV:
                agreement[name] = case.compare(output, reference)
            del output
    del reference
    if case.floor is not None:
        for name, dtype in (('floor', torch.float32), ('floor-bf16', torch.bfloat16)):
            if name == 'floor' or any(run.endswith('bf16') for run in runs):
                runs[name] = case.floor(dtype)
                runs[name]()
    times = alternate(runs, rounds, device, row_seconds, clock)
    rows: list[dict[str, Any]] = []
    for name in (PEER, *(v for v in case.variants if v in variants), 'floor', 'floor-bf16'):
        if name in missing:
            rows.append({'case': case.name, 'implementation': name, 'note': missing[name]})
        if name not in times:
            continue
        row: dict[str, Any] = {'case': case.name, 'implementation': name, **times[name]}
        if case.name.startswith('model'):
            row['images_per_second'] = 1 / row['median']
        if PEER in times and name != PEER:
            row['ratio'] = times[PEER]['median'] / times[name]['median']
        floor = 'floor-bf16' if name.endswith('bf16') else 'floor'
        # Adaptive rendering predicts other points.
        if name.startswith(LOSSLESS) and floor in times:
            row['over_floor'] = times[name]['median'] / times[floor]['median']
        rows.append({**row, **agreement.get(name, {})})
    return rows


def peak_bytes(run: Callable[[], Any], device: str) -> int:
    """Peak memory of one call over what was in use before it, in bytes."""
    if device.startswith('cuda'):
        torch.cuda.synchronize(device)
        torch.cuda.reset_peak_memory_stats(device)
        before = torch.cuda.memory_allocated(device)
        run()
        torch.cuda.synchronize(device)
        return torch.cuda.max_memory_allocated(device) - before
    gc.collect()
    # The allocator keeps what was freed, and the call would use that up unseen: give it back (glibc).
    trim = getattr(ctypes.CDLL(None), 'malloc_trim', None)
    if trim is not None:
        trim(0)
    try:
        Path('/proc/self/clear_refs').write_text('5')
        before = _status_bytes('VmRSS')
        run()
        return _status_bytes('VmHWM') - before
    except OSError:  # No /proc, or not writable.
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        run()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024


def _status_bytes(key: str) -> int:
    """A field of /proc/self/status, which is in KiB."""
    for line in Path('/proc/self/status').read_text().splitlines():
        if line.startswith(f'{key}:'):
            return int(line.split()[1]) * 1024
    raise OSError(f'/proc/self/status has no {key}')


def print_peak(name: str, implementation: str, device: str, shrink: int) -> None:
    """Print the peak memory of one call as JSON: what :func:`memory_of` reads.

    Args:
        name: Id of the case.
        implementation: 'peer' or a variant.
        device: Where it runs.
        shrink: What sizes are divided by.
    """
    # A small run first: libraries' own buffers are not the renderer's.
    make_case(name, device, 8 * shrink).build(implementation)()
    case = make_case(name, device, shrink)
    run = (case.build_for_memory or case.build)(implementation)
    print(json.dumps({'peak_bytes': peak_bytes(run, device)}))


def memory_of(name: str, implementation: str, device: str, shrink: int) -> int | None:
    """Peak memory of one call in a process of its own.

    Args:
        name: Id of the case.
        implementation: 'peer' or a variant.
        device: Where it runs.
        shrink: What sizes are divided by.

    Returns:
        Bytes; None where the process failed, for which it says why.
    """
    options = [
        '--device',
        device,
        '--shrink',
        str(shrink),
        '--threads',
        str(torch.get_num_threads()),
    ]
    done = subprocess.run(
        [sys.executable, __file__, '--peak-of', name, implementation, *options],
        capture_output=True,
        text=True,
        check=False,
        # glibc gives freed blocks of a megabyte back at once: the peak is of what is alive, as PyTorch counts on a GPU,
        # not of what the allocator keeps for later.
        env={**os.environ, 'MALLOC_MMAP_THRESHOLD_': str(2**20)},
    )
    if done.returncode != 0:
        print(f'{name} {implementation}: {done.stderr[-2000:]}', file=sys.stderr)
        return None
    return int(json.loads(done.stdout.splitlines()[-1])['peak_bytes'])


def table(rows: Sequence[dict[str, Any]], title: str) -> Table:
    """The rows as a table.

    Args:
        rows: Of :func:`measure`, with 'peak_bytes' where memory was measured.
        title: Above the table.

    Returns:
        The table.
    """
    result = Table(title=title)
    for heading in ('case', 'implementation'):
        result.add_column(heading)
    for heading in ('seconds', 'quartiles', 'ratio', 'x floor', 'memory', 'agreement'):
        result.add_column(heading, justify='right')
    for row in rows:
        if 'median' not in row:
            result.add_row(row['case'], row['implementation'], '', '', '', '', '', row['note'])
            continue
        known = {
            'case',
            'implementation',
            'median',
            'q1',
            'q3',
            'ratio',
            'over_floor',
            'peak_bytes',
            'rounds',
            'cpu',
            'bf16_units',
        }
        agreement = ', '.join(f'{k} {v:.3g}' for k, v in row.items() if k not in known)
        result.add_row(
            row['case'],
            row['implementation'],
            f'{row["median"]:.4f}',
            f'{row["q1"]:.4f} - {row["q3"]:.4f}',
            f'{row["ratio"]:.2f}' if 'ratio' in row else '',
            f'{row["over_floor"]:.2f}' if 'over_floor' in row else '',
            f'{row["peak_bytes"] / 1e6:.0f} MB' if row.get('peak_bytes') is not None else '',
            agreement,
        )
    return result


def parse_args(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description='Rendering, ours against mmdet and mmseg.')
    parser.add_argument(
        '--cases',
        nargs='*',
        default=list(CASES),
        choices=CASES,
        metavar='CASE',
        help=', '.join(CASES),
    )
    parser.add_argument('--variants', nargs='+', default=list(VARIANTS), choices=VARIANTS)
    parser.add_argument(
        '--end-products',
        dest='cases',
        action='store_const',
        const=list(END_PRODUCTS),
        help='the cases that end with what people keep',
    )
    parser.add_argument('--rounds', type=int, default=10, help='timed calls of each implementation')
    parser.add_argument(
        '--row-seconds',
        type=float,
        default=10.0,
        help='after so many seconds an implementation is called no more (two calls at least)',
    )
    parser.add_argument('--threads', type=int, default=2, help='CPU threads')
    parser.add_argument('--device', default='cpu')
    parser.add_argument(
        '--clock',
        choices=CLOCKS,
        default='wall',
        help="time of the wall, or this process's on the CPU (with one thread, on a busy machine)",
    )
    parser.add_argument('--memory', action='store_true', help='measure peak memory too')
    parser.add_argument('--shrink', type=int, default=1, help='divide all sizes, to try the tool')
    parser.add_argument('--out', type=Path, help='JSON of the table')
    parser.add_argument('--curves', type=Path, help='measure scaling curves into this JSON')
    parser.add_argument('--plot', type=Path, help='picture of the curves')
    parser.add_argument(
        '--peak-of', nargs=2, metavar=('CASE', 'IMPLEMENTATION'), help=argparse.SUPPRESS
    )
    return parser.parse_args(arguments)


def main() -> None:
    """Measure what the command line asks for."""
    args = parse_args()
    torch.set_num_threads(args.threads)
    # The comparison is of fp32 with fp32.
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    if args.peak_of:
        name, implementation = args.peak_of
        print_peak(name, implementation, args.device, args.shrink)
        return
    console = Console(width=None if sys.stdout.isatty() else 160)
    facts = environment(args.device)
    console.print(facts)
    rows: list[dict[str, Any]] = []
    for name in args.cases:
        case_rows = measure(
            make_case(name, args.device, args.shrink),
            args.variants,
            args.rounds,
            args.device,
            args.row_seconds,
            args.clock,
        )
        for row in case_rows:
            row.update(cpu=facts['cpu'], bf16_units=facts['cpu_native_bf16'])
            if args.memory and 'median' in row and not row['implementation'].startswith('floor'):
                row['peak_bytes'] = memory_of(name, row['implementation'], args.device, args.shrink)
        console.print(table(case_rows, f'{name}, {_processor(facts)}'))
        rows.extend(case_rows)
    if args.out:
        args.out.write_text(json.dumps({'environment': facts, 'rows': rows}, indent=1))
    if args.curves or args.plot:
        result = curves(args.rounds, args.device, args.shrink)
        if args.curves:
            args.curves.write_text(json.dumps({'environment': facts, 'curves': result}, indent=1))
        if args.plot:
            plot(result, args.plot)


if __name__ == '__main__':
    run_cli(main)
