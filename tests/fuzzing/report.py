# Copyright (c) The mmpointrend authors.
"""The table of a campaign, and its place in the documentation."""

from collections.abc import Mapping
from pathlib import Path

from fuzzing.campaign import Tally
from fuzzing.outcomes import FINDINGS

__all__ = ['BEGIN', 'END', 'table', 'write_report']

BEGIN = '<!-- begin: written by make fuzz -->'
END = '<!-- end: written by make fuzz -->'

_COLUMNS = (
    'format',
    'inputs',
    'a second',
    'accepted',
    'refused',
    'distinct outcomes',
    *FINDINGS,
    'distinct findings',
)


def _row(name: str, tally: Tally) -> list[str]:
    numbers = [tally.inputs, round(tally.inputs / max(tally.seconds, 1e-9))]
    numbers += [tally.verdicts.get(verdict, 0) for verdict in ('accepted', 'refused')]
    numbers += [
        len(tally.outcomes),
        *(tally.verdicts.get(verdict, 0) for verdict in FINDINGS),
        tally.findings,
    ]
    return [name.replace('_', ' '), *(f'{number:,}' for number in numbers)]


def _sum(tallies: Mapping[str, Tally]) -> Tally:
    total = Tally()
    for name, tally in tallies.items():
        total.inputs += tally.inputs
        total.seconds += tally.seconds
        for verdict, count in tally.verdicts.items():
            total.verdicts[verdict] = total.verdicts.get(verdict, 0) + count
        # A finding starts with its verdict, so that the format goes behind.
        total.outcomes.update({f'{key} [{name}]': count for key, count in tally.outcomes.items()})
    return total


def table(tallies: Mapping[str, Tally]) -> str:
    """Counts of all formats.

    Args:
        tallies: Counts by format.

    Returns:
        A table in Markdown.
    """
    rows = [list(_COLUMNS), ['---'] + ['---:'] * (len(_COLUMNS) - 1)]
    rows += [_row(name, tally) for name, tally in tallies.items()]
    rows.append(_row('all', _sum(tallies)))
    return '\n'.join(f'| {" | ".join(row)} |' for row in rows)


def write_report(page: Path, tallies: Mapping[str, Tally]) -> None:
    """Put the table into a page.

    Args:
        page: It has the two markers, ``BEGIN`` and ``END``.
        tallies: Counts by format.

    Raises:
        ValueError: A marker is missing.
    """
    text = page.read_text()
    if BEGIN not in text or END not in text:
        raise ValueError(f'{page} lacks the markers {BEGIN} and {END}')
    before, after = text.partition(BEGIN)[0], text.partition(END)[2]
    rounds = max((tally.rounds for tally in tallies.values()), default=0)
    hours = sum(tally.seconds for tally in tallies.values()) / 3600
    note = f'{rounds} {"round" if rounds == 1 else "rounds"}, {hours:.1f} hours of one core.'
    page.write_text(f'{before}{BEGIN}\n\n{table(tallies)}\n\n{note}\n\n{END}{after}')
