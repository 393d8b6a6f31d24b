# Copyright (c) The mmpointrend authors.
"""From the figures of the runs to a table: center and spread over the seeds, gains, differences, printing."""

import math
import statistics
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from rich.table import Table as RichTable

from mmpointrend.engine.results import Figures
from mmpointrend.reproduction.definitions import Column, Evaluation, Row, Table

__all__ = ['Filled', 'Summary', 'fill', 'summarize', 'to_markdown', 'to_rich']

_MISSING, _UNCHECKED = '-', '†'


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
        seeds: Seeds that its tests were asked for, by test.
        header: Headings; the first is empty.
        lines: Cells of each row, as many as headings.
    """

    table: Table
    seeds: Mapping[str, tuple[int, ...]]
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]

    @property
    def title(self) -> str:
        """Heading of the table."""
        return f'Table {self.table.number}: {self.table.title}'

    @property
    def caption(self) -> str:
        """What the figures are."""
        sentences = [self._runs()]
        if self.table.comparable:
            sentences[0] += '; the difference is ours minus the published figure'
        bases = _bases(self.table)
        if bases:
            sentences[0] += f'; in brackets the gain over {bases}, {self._statistic_of_gains()}'
        figures = [figure for row in self.table.rows for figure in row.published.values()]
        sources = dict.fromkeys(figure.source for figure in figures)
        sentences.append(f'Published: {"; ".join(sources)}')
        if not all(figure.checked for figure in figures):
            sentences.append(
                f"{_UNCHECKED} Not checked: the paper's text does not state this figure of its table"
            )
        return '. '.join(sentences) + '.'

    def _runs(self) -> str:
        """What the figures are made of, column by column where they differ."""
        made: dict[str, list[str]] = {}
        for column in self.table.columns:
            seeds = self.seeds[column.test]
            if len(seeds) == 1:
                what = f'one run (seed {seeds[0]})'
            else:
                what = (
                    f'{column.statistic} ± sample standard deviation of {len(seeds)} runs '
                    f'(seeds {", ".join(map(str, seeds))})'
                )
            made.setdefault(what, []).append(column.title)
        if len(made) == 1:
            return next(iter(made))
        return '; '.join(f'{", ".join(titles)}: {what}' for what, titles in made.items())

    def _statistic_of_gains(self) -> str:
        names = dict.fromkeys(column.statistic for column in self.table.columns)
        return f'of ours the {" or ".join(names)} of the gains at equal seed'


def fill(
    table: Table, seeds: Sequence[int] | None, figures: Callable[[Evaluation, int], Figures | None]
) -> Filled:
    """Gather the figures of a table.

    Args:
        table: The table.
        seeds: Seeds of the runs; None takes as many as the columns say.
        figures: Gives the figures of a test of one seed, or None where they could not be had.

    Returns:
        The table with its cells: ours, published and difference of every column where they are
        comparable; else ours, and behind them the published figures. Both with the gain where the
        row has one. Cells of figures that are missing hold a dash; runs that are missing are
        counted.
    """
    asked = {column.test: table.seeds_of(column.test, seeds) for column in table.columns}
    values = {row.title: _values(table, row, asked, figures) for row in table.rows}
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
        base = next((other for other in table.rows if other.title == row.gain_over), None)
        cells = [row.title]
        for column in table.columns:
            of_base = None if base is None else values[base.title][column.title]
            ours = values[row.title][column.title]
            cells.append(_ours(column, ours, of_base, len(asked[column.test])))
            if table.comparable:
                cells.append(_published(row, base, column.title))
                cells.append(_difference(row, column, ours))
        if not table.comparable:
            cells += [_published(row, base, title) for title in published]
        lines.append(tuple(cells))
    return Filled(table, asked, tuple(header), tuple(lines))


def _bases(table: Table) -> str:
    """The rows that gains are counted from, in words; empty where there are none."""
    bases = dict.fromkeys(row.gain_over for row in table.rows if row.gain_over is not None)
    if len(bases) <= 1:
        return ''.join(f'"{base}"' for base in bases)
    return 'the row without, ' + ' and '.join(f'"{base}"' for base in bases)


_Values = dict[str, dict[int, float]]
"""Heading -> seed -> figure."""


def _values(
    table: Table,
    row: Row,
    asked: Mapping[str, tuple[int, ...]],
    figures: Callable[[Evaluation, int], Figures | None],
) -> _Values:
    """Every figure of a row that could be had, in the units of the table."""
    found: _Values = {column.title: {} for column in table.columns}
    for seed in sorted({seed for seeds in asked.values() for seed in seeds}):
        for name, test in row.tests.items():
            if seed not in asked.get(name, ()):
                continue
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


def _ours(
    column: Column, ours: Mapping[int, float], of_base: Mapping[int, float] | None, asked: int
) -> str:
    """Our figure, with the gain over another row's at equal seed."""
    cell = _cell(summarize(list(ours.values()), column.statistic), asked)
    if of_base is None:
        return cell
    gains = [value - of_base[seed] for seed, value in ours.items() if seed in of_base]
    if not gains:
        return cell
    return f'{cell} ({_cell(summarize(gains, column.statistic), asked, signed=True)})'


def _published(row: Row, base: Row | None, title: str) -> str:
    """The published figure, with its gain over another row's."""
    figure = row.published.get(title)
    if figure is None:
        return _MISSING
    cell = f'{figure.value:.1f}{"" if figure.checked else _UNCHECKED}'
    of_base = None if base is None else base.published.get(title)
    if of_base is None:
        return cell
    mark = '' if figure.checked and of_base.checked else _UNCHECKED
    return f'{cell} ({figure.value - of_base.value:+.1f}{mark})'


def _difference(row: Row, column: Column, ours: Mapping[int, float]) -> str:
    """Ours minus the published figure."""
    summary, figure = (
        summarize(list(ours.values()), column.statistic),
        row.published.get(column.title),
    )
    if summary is None or figure is None:
        return _MISSING
    return f'{summary.center - figure.value:+.1f}'


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
