# Copyright (c) The mmpointrend authors.
"""Run a table of the paper and print our figures beside the published ones: ``python
tools/reproduce.py TABLE ... [--mini]``.

What is finished is not run again: a second call does only what is missing. A run that fails is
named at the end, and the rest goes on; the exit status is then 1. With ``--mini`` the tables are
run at toy scale, on generated pictures.
"""

import argparse
import sys
from pathlib import Path

from mmengine.config import DictAction
from rich.console import Console

from mmpointrend.datasets.shapes import write_missing
from mmpointrend.engine.launch import run_cli
from mmpointrend.errors import CheckpointError, ConfigError
from mmpointrend.reproduction import (
    Launch,
    Reproduction,
    Table,
    Toy,
    fill,
    paper_tables,
    to_markdown,
    to_rich,
    toy_tables,
)


def parse_args(argv: list[str] | None = None) -> argparse.Namespace:
    """Read the command line.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Returns:
        The arguments.
    """
    parser = argparse.ArgumentParser(description='Our figures beside those of the paper.')
    parser.add_argument('tables', nargs='+', type=int, metavar='TABLE', help='number in the paper')
    parser.add_argument('--work-dir', type=Path, help='default work_dirs/reproduce[-mini]')
    parser.add_argument(
        '--seeds',
        type=int,
        nargs='+',
        help='a run with each; default three, five on Cityscapes, as in the paper; with --mini three',
    )
    parser.add_argument('--list', action='store_true', help='say what is done and run nothing')
    parser.add_argument('--markdown', type=Path, metavar='FILE', help='write the tables there too')
    parser.add_argument(
        '--checkpoint',
        nargs='+',
        action=DictAction,
        default={},
        metavar='NAME=FILE',
        help='weights to test instead of training; names as --list has them',
    )
    parser.add_argument('--test-only', action='store_true', help='train nothing')
    parser.add_argument(
        '--redo', action='store_true', help='run anew what was run by a config that has changed'
    )
    parser.add_argument(
        '--lvis', help='LVIS v0.5 annotations for AP*; default below data/lvis_v0.5'
    )
    parser.add_argument('--launcher', choices=['none', 'pytorch'], default='none')
    parser.add_argument('--gpus', type=int, help='processes a run, with --launcher pytorch')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        default={},
        metavar='KEY=VALUE',
        help='settings of every run, such as data_root',
    )
    toy = parser.add_argument_group('toy scale')
    toy.add_argument('--mini', action='store_true', help='on generated pictures')
    toy.add_argument('--train', type=int, default=Toy.train, help='number of training pictures')
    toy.add_argument('--val', type=int, default=Toy.val, help='number of validation pictures')
    toy.add_argument('--size', type=int, default=Toy.size, help='side of the pictures in pixels')
    toy.add_argument('--iters', type=int, help="iterations of a training; default the configs'")
    args = parser.parse_args(argv)
    if (args.launcher == 'pytorch') != (args.gpus is not None):
        parser.error('--launcher pytorch and --gpus N go together')
    return args


def chosen_tables(args: argparse.Namespace) -> list[Table]:
    """The tables that are asked for.

    Args:
        args: The command line.

    Returns:
        The tables, in the order of the command line.

    Raises:
        ConfigError: There is no such table.
    """
    if args.mini:
        tables = toy_tables(Toy(args.train, args.val, args.size, args.iters))
    else:
        tables = paper_tables(args.lvis) if args.lvis else paper_tables()
    for number in args.tables:
        if number == 2:
            raise ConfigError('Table 2 counts operations: call tools/analysis_tools/get_flops.py.')
        if number not in tables:
            known = ', '.join(map(str, tables))
            raise ConfigError(f'there is no Table {number} to run here: choose from {known}.')
    return [tables[number] for number in args.tables]


def prepare(args: argparse.Namespace, console: Console) -> Reproduction:
    """What runs the tables; at toy scale the pictures are there then.

    Args:
        args: The command line.
        console: Where the runs are told.

    Returns:
        The reproduction.

    Raises:
        CheckpointError: A checkpoint that is given does not exist.
    """
    checkpoints = {name: Path(path) for name, path in args.checkpoint.items()}
    for path in checkpoints.values():
        if not path.is_file():
            raise CheckpointError(f'the checkpoint {path} does not exist.')
    work = args.work_dir or Path('work_dirs') / ('reproduce-mini' if args.mini else 'reproduce')
    environment, data = {}, ''
    if args.mini:
        shapes = work / 'shapes'
        counts = {'train': args.train, 'val': args.val}
        data = write_missing(shapes, counts, args.size, seed=0)
        environment['SHAPES_ROOT'] = f'{shapes}/'
    return Reproduction(
        work,
        Launch(args.gpus),
        args.cfg_options,
        environment,
        data,
        checkpoints,
        test_only=args.test_only,
        redo=args.redo,
        tell=lambda line: console.print(line, highlight=False, markup=False, soft_wrap=True),
    )


def main(argv: list[str] | None = None) -> None:
    """Run and print the tables.

    Args:
        argv: Arguments without the program's name; None takes those of the process.

    Raises:
        ConfigError: There is no such table.
    """
    args = parse_args(argv)
    tables = chosen_tables(args)
    console = Console()
    reproduction = prepare(args, console)
    if args.list:
        for table in tables:
            console.print(f'Table {table.number}: {table.title}', highlight=False)
            for name, state in reproduction.states(table, args.seeds):
                console.print(f'  {state:15} {name}', highlight=False, soft_wrap=True)
        return
    filled = [fill(table, args.seeds, reproduction.figures) for table in tables]
    for ours in filled:
        console.print(to_rich(ours))
    if args.markdown is not None:
        args.markdown.write_text('\n'.join(map(to_markdown, filled)), encoding='utf-8')
    for name, reason in reproduction.failures.items():
        console.print(f'failed: {name}: {reason}', highlight=False, markup=False, soft_wrap=True)
    if reproduction.failures:
        sys.exit(1)


if __name__ == '__main__':
    run_cli(main)
