# Copyright (c) The mmpointrend authors.
"""Test a checkpoint and compare its figures with those that the config's metafile publishes.

Exits with 0 where every figure that the config's evaluator prints is inside its tolerance, with 3 where one is outside,
be it below or above, and with 1 and a sentence where there is nothing to compare, or not what --metrics names. Other
options are those of ``tools/test.py`` (``--work-dir``, ``--cfg-options``, ``--launcher``), which runs the test.

Usage: python tools/check_benchmark.py CONFIG CHECKPOINT [--metrics NAME ...] [--tolerance T] [--out report.json] ...
"""

import argparse
import json
import math
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from mmengine.dist import is_main_process
from rich.console import Console
from rich.table import Table

from mmpointrend.engine.config_files import find_config_file
from mmpointrend.engine.launch import run_cli, test
from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.benchmark import Comparison, compare, published_figures

OUTSIDE = 3


def print_comparisons(comparisons: Sequence[Comparison]) -> None:
    """Print the figures side by side."""
    table = Table()
    table.add_column('figure')
    for heading in ('published', 'measured', 'difference', 'tolerance', 'verdict'):
        table.add_column(heading, justify='right')
    for comparison in comparisons:
        measured = difference = ''
        if comparison.measured is not None and comparison.difference is not None:
            measured, difference = f'{comparison.measured:.2f}', f'{comparison.difference:+.2f}'
        figure = comparison.figure
        table.add_row(
            figure.name,
            f'{figure.value:g}',
            measured,
            difference,
            f'{figure.tolerance:g}',
            comparison.verdict,
        )
    Console(width=None if sys.stdout.isatty() else 120).print(table)


def write_report(
    path: Path,
    args: argparse.Namespace,
    comparisons: Sequence[Comparison],
    printed: Mapping[str, float],
    passed: bool,
) -> None:
    """Write all that is known of the check as JSON; what is no number is null."""

    def number(value: float | None) -> float | None:
        return None if value is None or not math.isfinite(value) else float(value)

    figures: list[dict[str, Any]] = [
        {
            'name': comparison.figure.name,
            'published': comparison.figure.value,
            'measured': number(comparison.measured),
            'difference': number(comparison.difference),
            'tolerance': comparison.figure.tolerance,
            'verdict': comparison.verdict,
        }
        for comparison in comparisons
    ]
    report = {
        'config': args.config,
        'checkpoint': args.checkpoint,
        'passed': passed,
        'figures': figures,
        'evaluator': {key: number(value) for key, value in printed.items()},
    }
    path.write_text(json.dumps(report, indent=1) + '\n')


def parse_args() -> tuple[argparse.Namespace, list[str]]:
    """Read the command line: our own arguments, and those that are left to the test."""
    parser = argparse.ArgumentParser(
        description='Test a checkpoint against the published figures of its config.',
        epilog='Further options are those of tools/test.py.',
        allow_abbrev=False,
    )
    parser.add_argument('config', help='config that its metafile names')
    parser.add_argument('checkpoint', help='weights to test')
    parser.add_argument(
        '--metrics', nargs='+', metavar='NAME', help='figures of the metafile; default all'
    )
    parser.add_argument(
        '--tolerance', type=float, help="in the figures' unit, instead of the metafile's"
    )
    parser.add_argument('--out', type=Path, help='JSON of the comparison')
    return parser.parse_known_args()


def main() -> None:
    """Test, compare and tell by the exit status.

    Raises:
        ConfigError: Nothing is published of the config, or the evaluator prints other figures.
    """
    args, options = parse_args()
    figures = published_figures(find_config_file(args.config), args.metrics, args.tolerance)
    if args.out is not None and not args.out.absolute().parent.is_dir():
        raise ConfigError(f'--out {args.out}: there is no folder {args.out.parent}')
    printed = test([args.config, args.checkpoint, *options])
    comparisons = [compare(figure, printed) for figure in figures]
    missing = [c.figure.name for c in comparisons if c.verdict == 'not printed']
    refused = bool(missing) and (args.metrics is not None or len(missing) == len(comparisons))
    outside = any(comparison.verdict in ('below', 'above') for comparison in comparisons)
    if is_main_process():
        print_comparisons(comparisons)
        if args.out is not None:
            write_report(args.out, args, comparisons, printed, passed=not (refused or outside))
    if refused:
        raise ConfigError(
            f'the evaluator of {args.config} does not print {", ".join(missing)}, but {", ".join(printed)}: set '
            'test_evaluator to a metric that does, or name with --metrics what to compare'
        )
    if outside:
        sys.exit(OUTSIDE)


if __name__ == '__main__':
    run_cli(main)
