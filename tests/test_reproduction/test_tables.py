# Copyright (c) The mmpointrend authors.
"""The tables' definitions: of one piece, and what the paper says."""

import re

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmpointrend.models.selection import build_selection
from mmpointrend.points import BiasedSelection, RegularGridSelection, UniformSelection
from mmpointrend.reproduction import Table, Toy, paper_tables, toy_tables
from mmpointrend.reproduction.runs import HOME

PAPER, TOY = paper_tables(), toy_tables(Toy())
TABLES = [
    pytest.param(table, id=f'{kind}-{number}')
    for kind, tables in (('paper', PAPER), ('toy', TOY))
    for number, table in tables.items()
]


def trainings(table: Table) -> list:
    return [test.training for row in table.rows for test in row.tests.values()]


@pytest.mark.parametrize('table', TABLES)
def test_rows_and_columns_are_of_one_piece(table):
    titles = [row.title for row in table.rows]
    assert len(set(titles)) == len(titles)
    read = {column.test for column in table.columns}
    # One run serves all columns of a test.
    assert len({(column.test, column.runs) for column in table.columns}) == len(read)
    for row in table.rows:
        assert row.tests and set(row.tests) <= read
        assert row.gain_over is None or row.gain_over in titles
    headings = {column.title for column in table.columns}
    published = {heading for row in table.rows for heading in row.published}
    assert published and (not table.comparable or published <= headings)


@pytest.mark.parametrize('table', TABLES)
def test_configs_exist(table):
    names = {training.config for training in trainings(table)}
    names |= {test.config for row in table.rows for test in row.tests.values() if test.config}
    assert sorted(name for name in names if not (HOME / 'configs' / f'{name}.py').is_file()) == []


@pytest.mark.parametrize('tables', [PAPER, TOY], ids=['paper', 'toy'])
def test_a_folder_holds_one_run(tables):
    """Tables share runs by name: no two that differ may have the same."""
    runs: dict[tuple, object] = {}
    for table in tables.values():
        for row in table.rows:
            for test in row.tests.values():
                key = (test.training.name, test.name)
                assert runs.setdefault(key, test) == test, key


def test_numbers():
    assert list(PAPER) == [1, 3, 4, 5, 6, 7]
    assert list(TOY) == [1, 3, 4, 6, 7]


@pytest.mark.parametrize(
    ('number', 'row', 'base', 'gains'),
    [
        # Stated in the paper beside the figures.
        (1, 'PointRend, 28x28', '4x conv, 28x28', (0.9, 1.6, 2.5)),
        (1, 'PointRend, 224x224', '4x conv, 28x28', (1.1, 2.1, 2.8)),
        (5, 'R50, PointRend', 'R50, 4x conv', (1.0, 2.0)),
        (5, 'R101, PointRend', 'R101, 4x conv', (1.2, 2.1)),
        (5, 'X101-32x8d, PointRend', 'X101-32x8d, 4x conv', (1.4, 2.8)),
        (6, 'the same weights, output stride 8', 'DeepLabV3, output stride 16', (0.6,)),
        (6, 'output stride 16 + PointRend', 'DeepLabV3, output stride 16', (1.2,)),
        (7, 'P2-P5 + PointRend', 'P2-P5', (0.9,)),
        (7, 'P3-P5 + PointRend', 'P3-P5', (1.1,)),
    ],
)
def test_published_gains(number, row, base, gains):
    rows = {row.title: row.published for row in PAPER[number].rows}
    found = [rows[row][heading].value - rows[base][heading].value for heading in rows[row]]
    assert found == pytest.approx(gains)
    assert next(line for line in PAPER[number].rows if line.title == row).gain_over == base


def test_gains_are_printed_where_the_paper_prints_them():
    stated = {
        number: [r.title for r in table.rows if r.gain_over] for number, table in PAPER.items()
    }
    assert {number: len(titles) for number, titles in stated.items()} == {
        **{1: 2, 3: 0, 4: 0},
        **{5: 3, 6: 2, 7: 2},
    }


def test_medians_of_as_many_runs_as_the_papers():
    runs = {'COCO AP': 3, 'AP*': 3, 'Cityscapes AP': 5, 'mIoU': 5}
    for table in PAPER.values():
        for column in table.columns:
            assert (column.statistic, column.runs) == ('median', runs[column.title])
            assert table.seeds_of(column.test) == tuple(range(runs[column.title]))
            assert table.seeds_of(column.test, [4]) == (4,)
    assert {(c.statistic, c.runs) for t in TOY.values() for c in t.columns} == {('mean', 3)}


def test_what_the_papers_text_does_not_state_is_marked():
    unchecked = {
        (number, row.title): sorted(row.published)
        for number, table in PAPER.items()
        for row in table.rows
        if not all(figure.checked for figure in row.published.values())
    }
    all_three = ['AP*', 'COCO AP', 'Cityscapes AP']
    assert unchecked == {
        (3, '28x28, N = 28²'): all_three,
        (3, '112x112, N = 28²'): all_three,
        (3, '224x224, N = 56²'): all_three,
        (3, '224x224, N = 112²'): all_three,
        (4, 'regular grid'): ['COCO AP'],
        (4, 'uniform, k = 1, β = 0'): ['COCO AP'],
        (4, 'heavily biased, k = 10, β = 1'): ['COCO AP'],
    }
    for number, table in PAPER.items():
        for row in table.rows:
            own = {figure.source for figure in row.published.values()}
            assert own <= {f'Table {number}', 'Table 1, the same model', 'text of section 4'}


@pytest.mark.parametrize('number', TOY)
def test_the_toy_has_the_papers_figures(number):
    paper = {row.title: row.published for row in PAPER[number].rows}
    for row in TOY[number].rows:
        assert row.published.items() <= paper[row.title].items()
        assert bool(row.published) == bool(paper[row.title])


def test_table_4_trains_on_196_points_on_both_datasets():
    for row in PAPER[4].rows:
        assert row.tests.keys() == {'coco', 'ap-star', 'cityscapes'}
        for test in ('coco', 'cityscapes'):
            cfg = resolved(PAPER[4], row.title, test)
            assert cfg.model.train_cfg.rcnn.num_points == 196
            dataset = cfg.train_dataloader.dataset.type
            assert dataset == {'coco': 'CocoDataset', 'cityscapes': 'CityscapesDataset'}[test]


def resolved(table: Table, title: str, test: str | None = None) -> Config:
    """Config of a test of a row, by default the first, as it is run."""
    row = next(row for row in table.rows if row.title == title)
    test = row.tests[test or next(iter(row.tests))]
    cfg = Config.fromfile(HOME / 'configs' / f'{test.config or test.training.config}.py')
    cfg.merge_from_dict({**test.training.options, **test.options})
    return cfg


@pytest.mark.parametrize(
    'table', [PAPER[1], PAPER[3], TOY[1], TOY[3]], ids=['paper-1', 'paper-3', 'toy-1', 'toy-3']
)
def test_masks_are_rendered_at_the_size_and_with_the_points_of_the_row(table):
    for row in table.rows:
        if 'conv' in row.title:
            continue
        side = int(re.search(r'(\d+)x', row.title)[1])
        points = re.search(r'N = (\d+)²', row.title)
        rcnn = resolved(table, row.title).model.test_cfg.rcnn
        assert 7 * 2**rcnn.subdivision_steps == side
        assert rcnn.subdivision_num_points == (int(points[1]) if points else 28) ** 2


@pytest.mark.parametrize(
    ('table', 'test'),
    [(PAPER[4], 'coco'), (PAPER[4], 'cityscapes'), (TOY[4], 'test')],
    ids=['paper-coco', 'paper-cityscapes', 'toy'],
)
def test_points_are_selected_as_the_row_says(table, test):
    expected = {
        'regular grid': RegularGridSelection(),
        'uniform': BiasedSelection(1, 0),
        'mildly biased': BiasedSelection(3, 0.75),
        'heavily biased': BiasedSelection(10, 1),
    }
    assert [row.title.partition(',')[0] for row in table.rows] == list(expected)
    for row, selection in zip(table.rows, expected.values(), strict=True):
        train_cfg = resolved(table, row.title, test).model.train_cfg.rcnn
        assert train_cfg.num_points == 196
        # UniformSelection and k = 1, beta = 0 are two names of one strategy.
        built = build_selection(train_cfg, 'train_cfg.rcnn')
        assert built == selection or (isinstance(built, UniformSelection) and row is table.rows[1])


def test_stride_8_takes_the_weights_of_stride_16_and_gives_maps_twice_as_large():
    titles = ('DeepLabV3, output stride 16', 'the same weights, output stride 8')
    models = []
    with DefaultScope.overwrite_default_scope('mmseg'):
        for title in titles:
            cfg = resolved(TOY[6], title)
            cfg.model.backbone.init_cfg = None
            models.append(MODELS.build(cfg.model).eval())
    models[1].load_state_dict(models[0].state_dict(), strict=True)
    maps = [model(torch.zeros(1, 3, 64, 96), mode='tensor') for model in models]
    assert [tuple(logits.shape) for logits in maps] == [(1, 2, 4, 6), (1, 2, 8, 12)]


def test_mask_heads_learn_for_equally_long():
    lengths = {}
    for number in (1, 4, 6, 7):
        for row in TOY[number].rows:
            training = next(iter(row.tests.values())).training
            cfg = Config.fromfile(HOME / 'configs' / f'{training.config}.py')
            end, saved = cfg.param_scheduler[-1].end, cfg.default_hooks.checkpoint.interval
            assert cfg.train_cfg.max_iters == end == saved, training.name
            lengths.setdefault(number, set()).add(end)
    assert lengths == {1: {600}, 4: {600}, 6: {150}, 7: {150}}


def test_fewer_iterations_end_the_schedule_with_them():
    training = TOY[7].rows[0].tests['test'].training
    short = toy_tables(Toy(iterations=3))[7].rows[0].tests['test'].training
    cfg = Config.fromfile(HOME / 'configs' / f'{short.config}.py')
    cfg.merge_from_dict(dict(short.schedule))
    assert (cfg.train_cfg.max_iters, cfg.param_scheduler[-1].end) == (3, 3)
    assert cfg.default_hooks.checkpoint.interval == 3
    assert training.schedule == {} and training.starts['SHAPES_TRUNK'].schedule == {}
