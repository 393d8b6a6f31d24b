# Copyright (c) The mmpointrend authors.
"""Semantic boundary IoU, against set operations on pixels and by hand."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import BoundaryIoUMetric, boundary_width
from mmpointrend.registry import METRICS

VOID = 255


def sample(predicted: np.ndarray, truth: np.ndarray) -> SegDataSample:
    """What mmseg hands to a metric."""
    maps = {'pred_sem_seg': predicted, 'gt_sem_seg': truth}
    return SegDataSample(
        **{name: PixelData(data=torch.from_numpy(m)[None]) for name, m in maps.items()}
    )


def evaluate(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int, **kwargs) -> dict:
    """Runs the metric as mmengine's loops do, from the registry."""
    metric = METRICS.build(dict(type='mmpointrend.BoundaryIoUMetric', **kwargs))
    evaluator = Evaluator([metric])
    evaluator.dataset_meta = {'classes': tuple('abcdefgh'[:classes])}
    for predicted, truth in pairs:
        evaluator.process(data_samples=[sample(predicted, truth)], data_batch=None)
    return evaluator.evaluate(len(pairs))


def rim(labels: np.ndarray, label: int, truth: np.ndarray, width: int) -> set[tuple[int, int]]:
    """Pixels of a class with another class or the outside within ``width``, void left out."""
    height, length = labels.shape
    found = set()
    for y, x in zip(*np.nonzero((labels == label) & (truth != VOID)), strict=True):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                inside = 0 <= v < height and 0 <= u < length
                if not inside or (truth[v, u] != VOID and labels[v, u] != label):
                    found.add((y, x))
    return found


@pytest.mark.parametrize('ratio', [0.02, 0.1])
def test_equals_set_operations_summed_over_the_images(ratio):
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(3):
        truth = np.kron(rng.integers(0, 4, (4, 5)), np.ones((5, 5))).astype(np.int64)
        predicted = np.where(rng.random(truth.shape) < 0.1, rng.integers(0, 4, truth.shape), truth)
        truth[rng.random(truth.shape) < 0.1] = VOID
        pairs.append((predicted, truth))
    width = boundary_width(20, 25, ratio)
    figures = evaluate(pairs, 5, dilation_ratio=ratio)
    expected = []
    for label, name in enumerate('abcd'):
        both = either = 0
        for predicted, truth in pairs:
            sets = rim(truth, label, truth, width), rim(predicted, label, truth, width)
            both, either = both + len(sets[0] & sets[1]), either + len(sets[0] | sets[1])
        expected.append(100 * both / either)
        assert figures[f'BoundaryIoU.{name}'] == pytest.approx(expected[-1], abs=0.006)
    assert figures['mBoundaryIoU'] == pytest.approx(np.mean(expected), abs=0.006)
    assert np.isnan(figures['BoundaryIoU.e'])  # occurs nowhere, so the mean leaves it out


def test_an_edge_moved_by_one_pixel():
    truth = np.zeros((20, 20), np.int64)
    truth[:, 10:] = 1
    predicted = np.zeros_like(truth)
    predicted[:, 11:] = 1
    # d = 1. Left class: a ring of 20 x 10 (56 pixels) and one of 20 x 11 (58) share all but their
    # right sides' 18 inner pixels each: 38 of 56 + 58 - 38. The right class: 20 x 10 and 20 x 9.
    figures = evaluate([(predicted, truth)], 2)
    assert figures['BoundaryIoU.a'] == round(100 * 38 / 76, 2)
    assert figures['BoundaryIoU.b'] == round(100 * 36 / 74, 2)


def test_void_makes_no_boundary_and_counts_nothing():
    truth = np.zeros((40, 40), np.int64)
    truth[10:30, 10:30] = VOID
    predicted = np.zeros_like(truth)
    predicted[12:28, 12:28] = 1  # all of it in void
    figures = evaluate([(predicted, truth)], 2)
    assert figures['BoundaryIoU.a'] == 100
    assert np.isnan(figures['BoundaryIoU.b'])
    truth[10:30, 10:30] = 0
    assert evaluate([(predicted, truth)], 2)['BoundaryIoU.a'] < 100


def test_ranks_are_gathered_as_sums_not_as_means():
    metric = BoundaryIoUMetric()
    metric.dataset_meta = {'classes': ('a',)}
    parts = [np.array([[1, 2]]), np.array([[9, 10]])]  # the rows that two ranks would send
    assert metric.compute_metrics(parts)['mBoundaryIoU'] == round(100 * 10 / 12, 2)


def test_maps_of_another_size_are_refused():
    with pytest.raises(ConfigError, match='LoadAnnotations has to come after Resize'):
        evaluate([(np.zeros((4, 4), np.int64), np.zeros((5, 4), np.int64))], 1)


def test_a_ratio_of_zero_is_refused():
    with pytest.raises(ConfigError, match='dilation_ratio must lie between 0 and 1'):
        BoundaryIoUMetric(dilation_ratio=0)


@pytest.mark.parametrize(
    ('size', 'error', 'message'),
    [
        ((4, 5), ConfigError, r'LoadAnnotations has to come after Resize\.$'),
        ((6, 6), InputError, r'the label map b/a\.png has another size than its image a\.jpg'),
    ],
)
def test_a_truth_of_another_size_is_named(size, error, message):
    found = sample(np.zeros((8, 10), int), np.zeros(size, int))
    found.set_metainfo(dict(img_shape=(4, 5), img_path='a.jpg', seg_map_path='b/a.png'))
    with pytest.raises(error, match=message):
        BoundaryIoUMetric().process(None, [found.to_dict()])
