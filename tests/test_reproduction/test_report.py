# Copyright (c) The mmpointrend authors.
"""From figures to cells, against literal values."""

import dataclasses
import io
import math

import pytest
from rich.console import Console

from mmpointrend.reproduction import (
    Column,
    Evaluation,
    Published,
    Row,
    Table,
    Training,
    fill,
    to_markdown,
    to_rich,
)
from mmpointrend.reproduction.report import Summary, summarize

COLUMNS = (
    Column('AP', 'coco', 'segm', 100, runs=3),
    Column('mIoU', 'maps', 'iou', runs=3),
)
MEDIANS = tuple(dataclasses.replace(column, statistic='median') for column in COLUMNS)


def row(title: str, gain_over: str | None = None, **published: float) -> Row:
    training = Training(title, title)
    tests = {name: Evaluation(training, name) for name in ('coco', 'maps')}
    cells = {name: Published(value, 'Table 9') for name, value in published.items()}
    return Row(title, tests, cells, gain_over)


# What the tests of the three seeds print.
FIGURES = {
    ('conv', 'coco'): ({'segm': 0.20, 'iou': 9.0}, {'segm': 0.21}, {'segm': 0.25}),
    ('conv', 'maps'): ({'iou': 80.0}, {'iou': 82.0}, {'iou': 84.0}),
    ('pointrend', 'coco'): ({'segm': 0.30}, {'segm': 0.32}, {'segm': 0.31}),
    ('pointrend', 'maps'): ({'iou': math.nan}, None, {'iou': 85.0}),
}


def figures(test: Evaluation, seed: int):
    return FIGURES[test.training.name, test.name][seed]


def test_mean_median_and_sample_deviation():
    # Deviations from the mean of 22: -2, -1, 3; their squares 14 over 2.
    assert summarize([20, 21, 25]) == Summary(22, pytest.approx(math.sqrt(7)), 3)
    assert summarize([20, 21, 25], 'median') == Summary(21, pytest.approx(math.sqrt(7)), 3)
    assert summarize([3.5]) == Summary(3.5, None, 1)
    assert summarize([]) is None


def test_beside_the_published_figures():
    rows = (row('conv', AP=21.5), row('pointrend', AP=33, mIoU=86))
    filled = fill(Table(9, 'heads', MEDIANS, rows), (0, 1, 2), figures)
    assert filled.header == ('', 'AP', 'published', 'difference', 'mIoU', 'published', 'difference')
    assert filled.lines == (
        ('conv', '21.0 ± 2.6', '21.5', '-0.5', '82.0 ± 2.0', '-', '-'),
        ('pointrend', '31.0 ± 1.0', '33.0', '-2.0', '85.0 [1 of 3]', '86.0', '-1.0'),
    )
    assert filled.caption == (
        'median ± sample standard deviation of 3 runs (seeds 0, 1, 2); the difference is ours minus '
        'the published figure. Published: Table 9.'
    )


def test_gains_are_counted_at_equal_seed():
    rows = (row('conv', AP=35.2), row('pointrend', 'conv', AP=36.3))
    filled = fill(Table(9, 'heads', COLUMNS, rows, comparable=False), (0, 1, 2), figures)
    assert filled.header == ('', 'AP', 'mIoU', 'paper: AP')
    # Gains of AP: 10, 11, 6; their mean is 9, squares of the deviations 1 + 4 + 9 over 2.
    assert filled.lines == (
        ('conv', '22.0 ± 2.6', '82.0 ± 2.0', '35.2'),
        (
            'pointrend',
            '31.0 ± 1.0 (+9.0 ± 2.6)',
            '85.0 [1 of 3] (+1.0 [1 of 3])',
            '36.3 (+1.1)',
        ),
    )
    assert 'in brackets the gain over "conv"' in filled.caption


def test_gains_beside_the_published_figures():
    rows = (row('conv', AP=35.2), row('pointrend', 'conv', AP=36.3, mIoU=86))
    filled = fill(Table(9, 'heads', MEDIANS, rows), (0, 1, 2), figures)
    # Gains of AP: 10, 11, 6, of which 10 is the middle one, though the medians differ by 10 too; spread as above.
    assert filled.lines[1] == (
        *('pointrend', '31.0 ± 1.0 (+10.0 ± 2.6)', '36.3 (+1.1)', '-5.3'),
        *('85.0 [1 of 3] (+1.0 [1 of 3])', '86.0', '-1.0'),
    )
    assert filled.caption == (
        'median ± sample standard deviation of 3 runs (seeds 0, 1, 2); the difference is ours minus '
        'the published figure; in brackets the gain over "conv", of ours the median of the gains at '
        'equal seed. Published: Table 9.'
    )


def test_columns_have_runs_of_their_own():
    columns = (MEDIANS[0], dataclasses.replace(COLUMNS[1], runs=2))
    table = Table(9, 'heads', columns, (row('conv', AP=35.2),))
    asked = []

    def noted(test: Evaluation, seed: int):
        asked.append((test.name, seed))
        return figures(test, seed)

    filled = fill(table, None, noted)
    assert asked == [('coco', 0), ('maps', 0), ('coco', 1), ('maps', 1), ('coco', 2)]
    assert filled.lines == (('conv', '21.0 ± 2.6', '35.2', '-14.2', '81.0 ± 1.4', '-', '-'),)
    assert filled.caption.startswith(
        'AP: median ± sample standard deviation of 3 runs (seeds 0, 1, 2); '
        'mIoU: mean ± sample standard deviation of 2 runs (seeds 0, 1); '
    )
    # Seeds that are given are those of all columns.
    asked.clear()
    assert fill(table, (1,), noted).lines == (('conv', '21.0', '35.2', '-14.2', '82.0', '-', '-'),)
    assert asked == [('coco', 1), ('maps', 1)]


def test_a_figure_that_was_not_checked_is_marked():
    rows = (row('conv', AP=35.2), row('pointrend', 'conv'))
    rows[1].published['AP'] = Published(36.3, 'Table 8', checked=False)
    filled = fill(Table(9, 'heads', COLUMNS[:1], rows, comparable=False), (0,), figures)
    assert [line[-1] for line in filled.lines] == ['35.2', '36.3† (+1.1†)']
    assert filled.caption.endswith(
        "Published: Table 9; Table 8. † Not checked: the paper's text does not state this figure of its table."
    )


def test_what_is_missing_is_a_dash():
    rows = (row('conv', AP=35.2),)
    filled = fill(Table(9, 'heads', COLUMNS, rows), (0,), lambda test, seed: None)
    assert filled.lines == (('conv', '-', '35.2', '-', '-', '-', '-'),)


def test_markdown_and_terminal():
    rows = (row('conv', AP=35.2), row('pointrend', 'conv', AP=36.3))
    table = Table(9, 'heads', COLUMNS[:1], rows, comparable=False, note='A note.')
    filled = fill(table, (0,), figures)
    assert to_markdown(filled) == (
        '### Table 9: heads\n'
        '\n'
        '|  | AP | paper: AP |\n'
        '| --- | ---: | ---: |\n'
        '| conv | 20.0 | 35.2 |\n'
        '| pointrend | 30.0 (+10.0) | 36.3 (+1.1) |\n'
        '\n'
        'One run (seed 0); in brackets the gain over "conv", of ours the mean of the gains at equal '
        'seed. Published: Table 9. A note.\n'
    )
    console = Console(width=100, record=True, file=io.StringIO())
    console.print(to_rich(filled))
    screen = console.export_text()
    for text in ('Table 9: heads', '30.0 (+10.0)', '36.3 (+1.1)'):
        assert text in screen
