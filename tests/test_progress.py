# Copyright (c) The mmpointrend authors.
"""Progress: lines with the time left where the output is not a terminal, a bar where it is."""

import io

import pytest
from rich.console import Console

from mmpointrend import progress
from mmpointrend.progress import ProgressReport


@pytest.fixture
def clock(monkeypatch):
    """A clock that is set by hand."""
    now = [100.0]
    monkeypatch.setattr(progress.time, 'monotonic', lambda: now[0])
    return now


def run(console, clock, total):
    with ProgressReport(console) as report:
        report._bars.get_time = lambda: clock[0]
        task = report.add('predicting', total)
        report.start(task)
        for step in range(8):
            clock[0] += 3
            report.advance(task, f'{step}.jpg')
        report.finish(task)


def test_lines_come_every_ten_seconds_with_the_time_left(clock):
    out = io.StringIO()
    run(Console(file=out), clock, 8)
    assert out.getvalue().splitlines() == [
        'predicting: 0/8',
        'predicting: 4/8, 12 s, 12 s left, 3.jpg',
        'predicting: 8/8, 24 s, 7.jpg',
        'predicting: 8/8, 24 s, done',
    ]


def test_nobody_knows_the_number_of_steps(clock):
    out = io.StringIO()
    run(Console(file=out), clock, None)
    assert out.getvalue().splitlines()[1:] == [
        'predicting: 4, 12 s, 3.jpg',
        'predicting: 8, 24 s, 7.jpg',
        'predicting: 8/8, 24 s, done',
    ]


def test_a_terminal_gets_a_bar(clock):
    out = io.StringIO()
    run(Console(file=out, force_terminal=True, width=120), clock, 8)
    assert 'predicting' in out.getvalue() and '8/8' in out.getvalue() and '━' in out.getvalue()
