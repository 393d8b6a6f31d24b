# Copyright (c) The mmpointrend authors.
"""PointRend against the standard heads, from nothing, in minutes on a CPU.

Generates the data set Shapes, trains one small detector, and from its weights Mask R-CNN with the
standard and with the PointRend mask head, and SemanticFPN without and with PointRend; prints the
figures of both and draws what they predict. What is finished is not done again.
"""

import json
import shlex
import shutil
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from functools import partial

import torch
from rich.console import Console
from rich.table import Table

from mmpointrend.demo.pictures import draw_all
from mmpointrend.demo.side_by_side import log_file, train_heads
from mmpointrend.demo.stages import HEADS, TRUNK, Options, make_data, run_stage, stage_steps
from mmpointrend.engine.results import Figures
from mmpointrend.progress import ProgressReport

__all__ = ['run_demo']

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


def train_all(options: Options, threads: int, console: Console) -> dict[str, Figures]:
    """Data, trunk and the four heads, each with a bar; figures by name of the stage."""
    with ProgressReport(console) as report:
        data_task = report.add('Shapes: the pictures', options.train + options.val)
        tasks = {
            stage.name: report.add(stage.title, stage_steps(stage, options))
            for stage in (TRUNK, *HEADS)
        }
        report.start(data_task)
        data = make_data(options, lambda note: report.advance(data_task, note))
        report.finish(data_task)
        trunk_task = tasks[TRUNK.name]
        report.start(trunk_task)
        after, trunk_figures = run_stage(TRUNK, options, data, partial(report.advance, trunk_task))
        report.finish(trunk_task)

        def advance(name: str, note: str) -> None:
            report.start(tasks[name])
            report.advance(tasks[name], note)

        figures = train_heads(
            options, after, threads, advance, lambda name: report.finish(tasks[name])
        )
    return {TRUNK.name: trunk_figures} | figures


def result_rows(figures: dict[str, Figures]) -> list[tuple[str, float, float]]:
    """Rows (title, standard, PointRend) in percent."""
    return [
        (
            title,
            float(factor * figures[f'{task}_standard'][key]),
            float(factor * figures[f'{task}_pointrend'][key]),
        )
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


def show_way_on(options: Options, console: Console) -> None:
    """Prints where the checkpoints are, and the commands that predict with them."""
    picture = options.data / 'val' / '000000.jpg'
    for stage in HEADS:
        checkpoint = options.out / stage.name / 'last.pth'
        console.print(f'checkpoint: {checkpoint}', highlight=False, soft_wrap=True)
    for stage in HEADS:
        if not stage.name.endswith('pointrend'):
            continue
        command = (
            'mmpointrend', 'predict', picture,
            '--model', stage.config.removesuffix('.py'),
            '--weights', options.out / stage.name / 'last.pth',
            '--out', options.out / f'predicted_{stage.name}',
        )  # fmt: skip
        console.print(shlex.join(map(str, command)), highlight=False, soft_wrap=True)


def run_demo(options: Options, threads: int, fresh: bool) -> None:
    """Run the demo.

    Args:
        options: Its data, length and folder.
        threads: Threads to compute with.
        fresh: Whether to forget what is finished.
    """
    start = time.monotonic()
    console = Console(file=sys.stdout)  # this one stays on the screen
    torch.set_num_threads(threads)
    if fresh and options.out.exists():
        shutil.rmtree(options.out)
    options.out.mkdir(parents=True, exist_ok=True)
    log = log_file(options).open('a', encoding='utf-8')
    with log, redirect_stdout(log), redirect_stderr(log):
        figures = train_all(options, threads, console)
        with console.status('drawing'):
            pictures = draw_all(options)
    rows = result_rows(figures)
    (options.out / 'results.json').write_text(json.dumps(rows, indent=2) + '\n', encoding='utf-8')
    show_table(rows, console)
    for path in pictures:
        console.print(f'picture: {path}', highlight=False, soft_wrap=True)
    show_way_on(options, console)
    console.print(f'{time.monotonic() - start:.0f} s', highlight=False)
