# Copyright (c) The mmpointrend authors.
"""From the figures of the runs to a table: mean and spread over the seeds, differences, printing."""

import math
import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable

from mmpointrend.engine.results import Figures
from mmpointrend.reproduction.definitions import Evaluation, Row, Table

__all__ = ['Filled', 'Summary', 'fill', 'summarize', 'to_markdown', 'to_rich']

_MISSING = '-'


@dataclass(frozen=True)
class Summary:
    """Runs of several seeds as one figure.

    Attributes:
        center: Mean or median.
        spread: Sample standard deviation; None of a single run.
        count: Number of runs.
    """

    center: float
    spread: float | None
    count: int


def summarize(values: Sequence[float], statistic: str = 'mean') -> Summary | None:
    """Mean or median and sample standard deviation.

    Args:
        values: A figure of each run.
        statistic: ``mean`` or ``median``.

    Returns:
        The summary; None where there is no run.
    """
    if not values:
        return None
    center = statistics.median(values) if statistic == 'median' else statistics.fmean(values)
    return Summary(center, statistics.stdev(values) if len(values) > 1 else None, len(values))


@dataclass(frozen=True)
class Filled:
    """A table with its figures, ready to be printed.

    Attributes:
        table: The table.
        seeds: Seeds that it was asked for.
        header: Headings; the first is empty.
        lines: Cells of each row, as many as headings.
    """

    table: Table
    seeds: tuple[int, ...]
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        """Heading of the table."""
        return f'Table {self.table.number}: {self.table.title}'

    @property
    def caption(self) -> str:
        """What the figures are."""
        if len(self.seeds) == 1:
            what = f'one run (seed {self.seeds[0]})'
        else:
            seeds = ', '.join(map(str, self.seeds))
            what = (
                f'{self.table.statistic} ± sample standard deviation of {len(self.seeds)} runs '
                f'(seeds {seeds})'
            )
        if self.table.comparable:
            return f'{what}; the difference is ours minus the published figure.'
        return (
            f'{what}; in brackets the gain over {_bases(self.table)}, of ours the '
            f'{self.table.statistic} of the gains at equal seed.'
        )


def fill(
    table: Table, seeds: Sequence[int], figures: Callable[[Evaluation, int], Figures | None]
) -> Filled:
    """Gather the figures of a table.

    Args:
        table: The table.
        seeds: Seeds of the runs.
        figures: Gives the figures of a test of one seed, or None where they could not be had.

    Returns:
        The table with its cells: ours, published and difference of every column where they are
        comparable; else ours with the gain, and behind them the published figures with theirs.
        Cells of figures that are missing hold a dash; runs that are missing are counted.
    """
    values = {row.title: _values(table, row, seeds, figures) for row in table.rows}
    published = tuple(dict.fromkeys(title for row in table.rows for title in row.published))
    if table.comparable:
        header = ['']
        for column in table.columns:
            header += [column.title, 'published', 'difference']
    else:
        header = ['', *(column.title for column in table.columns)]
        header += [f'paper: {title}' for title in published]
    lines = []
    for row in table.rows:
        cells = [row.title]
        if table.comparable:
            cells += _beside_the_published(table, row, values[row.title], len(seeds))
        else:
            cells += _with_gains(table, row, values, published, len(seeds))
        lines.append(tuple(cells))
    return Filled(table, tuple(seeds), tuple(header), tuple(lines))


def _bases(table: Table) -> str:
    """The rows that gains are counted from, in words."""
    bases = dict.fromkeys(row.gain_over for row in table.rows if row.gain_over is not None)
    if len(bases) == 1:
        return f'"{next(iter(bases))}"'
    return 'the row without, ' + ' and '.join(f'"{base}"' for base in bases)


_Values = dict[str, dict[int, float]]
"""Heading -> seed -> figure."""


def _values(
    table: Table,
    row: Row,
    seeds: Sequence[int],
    figures: Callable[[Evaluation, int], Figures | None],
) -> _Values:
    """Every figure of a row that could be had, in the units of the table."""
    found: _Values = {column.title: {} for column in table.columns}
    for seed in seeds:
        for name, test in row.tests.items():
            printed = figures(test, seed) or {}
            for column in table.columns:
                value = printed.get(column.figure, math.nan)
                if column.test == name and not math.isnan(value):
                    found[column.title][seed] = column.factor * value
    return found


def _cell(summary: Summary | None, asked: int, signed: bool = False) -> str:
    """A summary in few characters, with the number of runs where some are missing."""
    if summary is None:
        return _MISSING
    sign = '+' if signed else ''
    text = f'{summary.center:{sign}.1f}'
    if summary.spread is not None:
        text += f' ± {summary.spread:.1f}'
    return text if summary.count == asked else f'{text} [{summary.count} of {asked}]'


def _beside_the_published(table: Table, row: Row, values: _Values, asked: int) -> list[str]:
    cells = []
    for column in table.columns:
        ours = summarize(list(values[column.title].values()), table.statistic)
        target = row.published.get(column.title)
        cells.append(_cell(ours, asked))
        cells.append(_MISSING if target is None else f'{target:.1f}')
        if ours is None or target is None:
            cells.append(_MISSING)
        else:
            cells.append(f'{ours.center - target:+.1f}')
    return cells


def _with_gains(
    table: Table, row: Row, values: dict[str, _Values], published: Sequence[str], asked: int
) -> list[str]:
    reference = next((other for other in table.rows if other.title == row.gain_over), row)
    cells = []
    for column in table.columns:
        ours = values[row.title][column.title]
        base = values[reference.title][column.title]
        cell = _cell(summarize(list(ours.values()), table.statistic), asked)
        gains = [value - base[seed] for seed, value in ours.items() if seed in base]
        if reference is not row and gains:
            cell += f' ({_cell(summarize(gains, table.statistic), asked, signed=True)})'
        cells.append(cell)
    for title in published:
        target, base_target = row.published.get(title), reference.published.get(title)
        cell = _MISSING if target is None else f'{target:.1f}'
        if reference is not row and target is not None and base_target is not None:
            cell += f' ({target - base_target:+.1f})'
        cells.append(cell)
    return cells


def to_rich(filled: Filled) -> RichTable:
    """A table for the terminal.

    Args:
        filled: The table.

    Returns:
        rich's table.
    """
    printed = RichTable(title=filled.title, caption=filled.caption)
    for number, heading in enumerate(filled.header):
        printed.add_column(heading, justify='right' if number else 'left')
    for line in filled.lines:
        printed.add_row(*line)
    return printed


def to_markdown(filled: Filled) -> str:
    """A table for a document.

    Args:
        filled: The table.

    Returns:
        Heading, table and caption in Markdown.
    """
    rule = ['---'] + ['---:'] * (len(filled.header) - 1)
    rows = ['| ' + ' | '.join(cells) + ' |' for cells in (filled.header, rule, *filled.lines)]
    caption = filled.caption[0].upper() + filled.caption[1:]
    notes = [caption, *([filled.table.note] if filled.table.note else [])]
    return '\n\n'.join([f'### {filled.title}', '\n'.join(rows), ' '.join(notes)]) + '\n'
