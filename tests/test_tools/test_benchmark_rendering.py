# Copyright (c) The mmpointrend authors.
"""``tools/analysis_tools/benchmark_rendering.py`` at small sizes: what it runs and reports, not how fast."""

import importlib
import json
import time

import numpy as np
import pytest
import torch
from mmdet.registry import MODELS
from mmengine.registry import DefaultScope

SHRINK = 16


@pytest.fixture
def tool(repo, monkeypatch):
    """The tool as a module, with its folder where Python looks."""
    monkeypatch.syspath_prepend(str(repo / 'tools' / 'analysis_tools'))
    return importlib.import_module('benchmark_rendering')


@pytest.fixture
def workloads(tool):
    """The cases."""
    return importlib.import_module('rendering_workloads')


CASES = (
    'instance-coco',
    'instance-cityscapes',
    'instance-lvis',
    'semantic-s4-smooth',
    'semantic-s4-random',
    'semantic-s16-smooth',
    'semantic-s16-random',
    'training-instance',
    'training-semantic',
    'training-mask2former',
    'model-instance',
    'model-semantic',
    'rle-coco',
    'labels-s4-smooth',
    'labels-s16-random',
    'model-instance-json',
    'model-semantic-labels',
)


@pytest.mark.parametrize('name', CASES)
def test_lossless_is_the_peers_answer(tool, workloads, name):
    case = workloads.make_case(name, 'cpu', SHRINK)
    rows = {r['implementation']: r for r in tool.measure(case, ['lossless'], 1, 'cpu')}
    assert {'peer', 'lossless'} <= rows.keys() <= {'peer', 'lossless', 'floor'}
    assert all(row['median'] > 0 for row in rows.values())
    assert all(('images_per_second' in row) == name.startswith('model') for row in rows.values())
    ours = rows['lossless']
    if name.startswith('training'):
        assert ours['relative_loss'] < 1e-3 and ours['relative_gradient'] < 1e-3
    else:
        assert ours['differing_pixels'] < 1e-3


def test_outputs_are_neither_empty_nor_full(workloads):
    masks = workloads.make_case('instance-coco', 'cpu', SHRINK).build('peer')()
    assert 0 < masks.float().mean() < 0.9
    labels = workloads.make_case('semantic-s4-smooth', 'cpu', SHRINK).build('peer')().argmax(dim=1)
    assert len(labels.unique()) > 1


def test_every_variant_of_ours(tool, workloads):
    case = workloads.make_case('instance-coco', 'cpu', SHRINK)
    rows = {r['implementation']: r for r in tool.measure(case, case.variants, 1, 'cpu')}
    assert rows.keys() == {'peer', *case.variants, 'floor', 'floor-bf16'}
    assert all(rows[variant]['mean_iou'] > 0.5 for variant in case.variants)


def test_the_standard_head_beside_pointrend(tool, workloads):
    case = workloads.make_case('model-instance', 'cpu', SHRINK)
    assert case.variants == ('lossless', 'adaptive', 'conv-28', 'conv-56')
    pointrend, *heads = (case.build(name) for name in ('lossless', 'conv-28', 'conv-56'))
    expected = pointrend()
    for run in heads:
        found = run()
        # The same detections, with masks of another head.
        torch.testing.assert_close(found.bboxes, expected.bboxes)
        assert found.masks.shape == expected.masks.shape
        assert not torch.equal(found.masks, expected.masks)
    inputs = importlib.import_module('rendering_instances')
    for name, side in (('conv-28', 28), ('conv-56', 56)):
        model = inputs._conv_model(inputs.CONV[name])
        with DefaultScope.overwrite_default_scope('mmdet'):
            head = MODELS.build(model.roi_head.mask_head)
        size = model.roi_head.mask_roi_extractor.roi_layer.output_size
        assert head(torch.zeros(1, 256, size, size)).shape == (1, 80, side, side)
    rows = {r['implementation']: r for r in tool.measure(case, ['conv-28', 'conv-56'], 1, 'cpu')}
    assert rows.keys() == {'peer', 'conv-28', 'conv-56'}
    for name in ('conv-28', 'conv-56'):
        assert rows[name]['images_per_second'] == 1 / rows[name]['median']
        assert 'differing_pixels' not in rows[name]


def test_a_peer_that_does_not_fit_is_not_run(tool, workloads):
    case = workloads.make_case('instance-coco', 'cpu', SHRINK)
    case.peer_bytes = 1e18
    peer, ours, _ = tool.measure(case, ['lossless'], 1, 'cpu')
    assert peer['note'].startswith('does not fit: about 1000000000 GB') and 'median' not in peer
    assert ours['median'] > 0 and 'ratio' not in ours


@pytest.mark.parametrize(
    ('num_points', 'steps', 'expected'),
    # Of 14, 28, 56, 112 and 224 a side, 14 is predicted anew at 28.
    [(784, 5, 4 * 784), (784, 1, 196), (783, 2, 196 + 783), (10**6, 5, 224**2)],
)
def test_points_that_must_be_predicted(tool, num_points, steps, expected):
    inputs = importlib.import_module('rendering_inputs')
    assert inputs.predicted_points((7, 7), num_points, steps) == expected


def test_boxes_have_the_mix_of_coco(tool):
    instances = importlib.import_module('rendering_instances')
    boxes = instances.box_mix(100, (800, 1216)).double().numpy()
    assert (boxes >= 0).all() and (boxes <= [1216, 800, 1216, 800]).all()
    width, height = (boxes[:, 2:] - boxes[:, :2]).T
    size = np.sqrt(width * height)
    assert ((size < 32).sum(), (size > 96).sum()) == (41, 25)
    assert (np.abs(np.log2(width / height)) < 1.001).all()


@pytest.mark.parametrize('implementation', ['peer', 'lossless'])
def test_memory_of_a_process_of_its_own(tool, implementation):
    # Masks of 25 RoIs at 56x56 or more, in megabytes: more than a run leaves lying about.
    assert tool.memory_of('instance-coco', implementation, 'cpu', 4) > 1e6


def test_peak_counts_what_is_allocated(tool):
    assert tool.peak_bytes(lambda: torch.ones(25_000_000), 'cpu') > 9e7


def test_a_slow_row_is_called_less(tool):
    timing = importlib.import_module('rendering_timing')
    calls = {'slow': 0, 'quick': 0}

    def run(name, seconds):
        calls[name] += 1
        time.sleep(seconds)

    rows = timing.alternate(
        {'slow': lambda: run('slow', 0.05), 'quick': lambda: run('quick', 0.0)}, 6, 'cpu', 0.08
    )
    assert calls == {'slow': 2, 'quick': 6}
    assert [rows[name]['rounds'] for name in calls] == [2, 6]


def test_end_products_are_cases(tool, workloads):
    assert set(workloads.END_PRODUCTS) <= set(workloads.CASES)
    assert tool.parse_args(['--end-products']).cases == list(workloads.END_PRODUCTS)


def test_command(tool, tmp_path, monkeypatch, capsys):
    out, curves, picture = (tmp_path / name for name in ('out.json', 'curves.json', 'curves.png'))
    arguments = ['--cases', 'semantic-s4-smooth', '--variants', 'lossless', '--rounds', '2']
    files = ['--out', str(out), '--curves', str(curves), '--plot', str(picture)]
    small = ['--shrink', str(SHRINK), '--threads', '1']
    monkeypatch.setattr('sys.argv', ['benchmark_rendering.py', *arguments, *files, *small])
    tool.main()
    printed = capsys.readouterr().out
    result = json.loads(out.read_text())
    assert result['environment']['threads'] == 1 and result['environment']['torch']
    assert [row['implementation'] for row in result['rows']] == ['peer', 'lossless', 'floor']
    for row in result['rows']:
        assert row['q1'] <= row['median'] <= row['q3']
        assert f'{row["median"]:.4f}' in printed
        assert row['cpu'] and isinstance(row['bf16_units'], bool)
    assert 'bf16 units, 1 threads' in printed
    panels = json.loads(curves.read_text())['curves']
    assert panels.keys() == {'RoIs', 'classes', 'output side', 'N'}
    for points in panels.values():
        assert all(point['peer'] > 0 and point['lossless'] > 0 for point in points)
    assert picture.stat().st_size > 10_000


def test_the_clock_may_be_the_process_own(tool):
    timing = importlib.import_module('rendering_timing')
    wall, cpu = (timing.timed(lambda: time.sleep(0.2), 'cpu', clock) for clock in ('wall', 'cpu'))
    assert cpu < 0.1 < 0.2 <= wall
    assert tool.parse_args(['--clock', 'cpu']).clock == 'cpu'
