# Copyright (c) The mmpointrend authors.
"""PointRend against the standard heads, from nothing, in minutes on a CPU.

Generates the data set Shapes, trains one small detector, and from its weights Mask R-CNN with the
standard and with the PointRend mask head, and SemanticFPN without and with PointRend; prints the
figures of both and draws what they predict. What is finished is not done again.
"""

import argparse
import json
import os
import queue
import shutil
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from multiprocessing import get_context
from pathlib import Path

import torch
from pictures import draw_all
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table
from stages import HEADS, TRUNK, Options, Stage, make_data, run_stage, stage_steps

from mmpointrend.engine.results import Figures

# Heads trained at a time. A model so small has little for a second thread to do, and with other work on the machine two
# threads wait for each other.
_TOGETHER = 2

# Row: title, figures of the standard head and of PointRend (stage, metric), factor to percent.
ROWS = (
    ('mask AP', 'mask', 'coco/segm_mAP', 100),
    ('Boundary AP', 'mask', 'coco/boundary_mAP', 100),
    ('mask IoU on ground-truth boxes', 'mask', 'gt_box/mask_IoU', 100),
    ('boundary IoU on ground-truth boxes', 'mask', 'gt_box/boundary_IoU', 100),
    ('mIoU', 'semantic', 'mIoU', 1),
    ('boundary IoU, 2 % of the diagonal', 'semantic', 'wide/mBoundaryIoU', 1),
    ('boundary IoU, 0.5 % of the diagonal', 'semantic', 'narrow/mBoundaryIoU', 1),
)


def parse_args() -> tuple[Options, int, bool]:
    """Reads the command line: the options, the number of threads, and whether to start anew."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        '--out', type=Path, default=Path('work_dirs/demo'), help='folder to write to'
    )
    parser.add_argument('--seed', type=int, default=0, help='of the pictures and of the runs')
    parser.add_argument('--train', type=int, default=240, help='number of training pictures')
    parser.add_argument('--val', type=int, default=40, help='number of validation pictures')
    parser.add_argument('--size', type=int, default=320, help='side of the pictures in pixels')
    parser.add_argument('--iters', type=int, help="iterations of every run; default the configs'")
    parser.add_argument(
        '--threads', type=int, default=os.cpu_count() or 1, help='threads to compute with'
    )
    parser.add_argument('--fresh', action='store_true', help='forget what is finished')
    args = vars(parser.parse_args())
    threads, fresh = args.pop('threads'), args.pop('fresh')
    return Options(**args), threads, fresh


def train_all(options: Options, threads: int, console: Console) -> dict[str, Figures]:
    """Data, trunk and the four heads, each with a bar; figures by name of the stage."""
    columns = (
        TextColumn('{task.description}'),
        BarColumn(),
        TextColumn('{task.completed}/{task.total}'),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn('{task.fields[note]}'),
    )
    with Progress(
        *columns, console=console, redirect_stdout=False, redirect_stderr=False
    ) as progress:

        def add(title: str, total: int) -> int:
            return progress.add_task(title, total=total, start=False, note='')

        data_bar = add('Shapes: the pictures', options.train + options.val)
        bars = {
            stage.name: add(stage.title, stage_steps(stage, options)) for stage in (TRUNK, *HEADS)
        }

        def advance(bar: int, note: str) -> None:
            progress.start_task(bar)
            progress.update(bar, advance=1, note=note)

        def finish(bar: int) -> None:
            progress.update(bar, completed=progress.tasks[bar].total, note='done')

        progress.start_task(data_bar)
        data = make_data(options, lambda note: advance(data_bar, note))
        finish(data_bar)
        trunk_bar = bars[TRUNK.name]
        after, figures = run_stage(TRUNK, options, data, lambda note: advance(trunk_bar, note))
        finish(trunk_bar)
        results = {TRUNK.name: figures}
        with _processes(options, threads) as (pool, notes):
            running = {pool.submit(_run_head, head, options, after, notes): head for head in HEADS}
            while running:
                done, _ = wait(running, timeout=0.2)
                _show(notes, lambda name, note: advance(bars[name], note))
                for future in done:
                    head = running.pop(future)
                    results[head.name] = future.result()
                    finish(bars[head.name])
    return results


@contextmanager
def _processes(
    options: Options, threads: int
) -> Iterator[tuple[ProcessPoolExecutor, 'queue.Queue[tuple[str, str]]']]:
    """Processes that train heads, and the queue of what they have to tell: name of the stage and a few words."""
    together = min(_TOGETHER, threads)
    # Not forked: what has computed in threads cannot compute in a copy of itself.
    context = get_context('spawn')
    with (
        context.Manager() as manager,
        ProcessPoolExecutor(
            together, context, _start_process, (_log_file(options), threads // together)
        ) as pool,
    ):
        yield pool, manager.Queue()


def _start_process(log: Path, threads: int) -> None:
    """Prepares a process: what it prints goes to the log."""
    torch.set_num_threads(threads)
    with log.open('a', encoding='utf-8') as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())


def _run_head(
    head: Stage, options: Options, after: str, notes: 'queue.Queue[tuple[str, str]]'
) -> Figures:
    """Figures of a head, in a process of its own."""
    return run_stage(head, options, after, lambda note: notes.put((head.name, note)))[1]


def _show(notes: 'queue.Queue[tuple[str, str]]', advance: Callable[[str, str], None]) -> None:
    """Shows what has been told since the last time."""
    while not notes.empty():
        advance(*notes.get())


def _log_file(options: Options) -> Path:
    return options.out / 'log.txt'


def result_rows(figures: dict[str, Figures]) -> list[tuple[str, float, float]]:
    """Rows (title, standard, PointRend) in percent."""
    kinds = ('standard', 'pointrend')
    return [
        (title, *(float(factor * figures[f'{task}_{kind}'][key]) for kind in kinds))
        for title, task, key, factor in ROWS
    ]


def show_table(rows: list[tuple[str, float, float]], console: Console) -> None:
    """Prints the comparison."""
    table = Table(title='Shapes, validation pictures, percent')
    for column in ('', 'standard head', 'PointRend', 'difference'):
        table.add_column(column, justify='right' if column else 'left')
    for number, (title, standard, pointrend) in enumerate(rows):
        table.add_row(
            title,
            f'{standard:.1f}',
            f'{pointrend:.1f}',
            f'{pointrend - standard:+.1f}',
            end_section=number == 3,
        )
    console.print(table)


def main() -> None:
    """Runs the demo."""
    start = time.monotonic()
    options, threads, fresh = parse_args()
    console = Console(file=sys.stdout)  # this one stays on the screen
    torch.set_num_threads(threads)
    if fresh and options.out.exists():
        shutil.rmtree(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    log = _log_file(options).open('a', encoding='utf-8')
    with log, redirect_stdout(log), redirect_stderr(log):
        figures = train_all(options, threads, console)
        with console.status('drawing'):
            pictures = draw_all(options)
    rows = result_rows(figures)
    (options.out / 'results.json').write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')
    show_table(rows, console)
    for path in pictures:
        console.print(f'picture: {path}', highlight=False)
    console.print(f'{time.monotonic() - start:.0f} s', highlight=False)


if __name__ == '__main__':
    main()
