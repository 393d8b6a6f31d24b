# Copyright (c) The mmpointrend authors.
"""Trimap IoU, against a search of every pixel's neighbourhood, by hand, and against mIoU."""

import numpy as np
import pytest
import torch
from mmengine.evaluator import Evaluator
from mmengine.structures import PixelData
from mmseg.structures import SegDataSample

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation import TrimapIoUMetric
from mmpointrend.registry import METRICS

VOID = 255


def evaluate(pairs: list[tuple[np.ndarray, np.ndarray]], classes: int, *metrics: dict) -> dict:
    """Runs metrics as mmengine's loops do, from the registry."""
    evaluator = Evaluator([METRICS.build(metric) for metric in metrics])
    evaluator.dataset_meta = {'classes': tuple('abcdefgh'[:classes])}
    for predicted, truth in pairs:
        maps = {'pred_sem_seg': predicted, 'gt_sem_seg': truth}
        sample = SegDataSample(
            **{name: PixelData(data=torch.from_numpy(m)[None]) for name, m in maps.items()}
        )
        evaluator.process(data_samples=[sample], data_batch=None)
    return evaluator.evaluate(len(pairs))


def trimap(*widths: int, **kwargs) -> dict:
    """Config of the metric."""
    return dict(type='mmpointrend.TrimapIoUMetric', widths=widths, **kwargs)


def searched_band(truth: np.ndarray, width: int) -> np.ndarray:
    """Non-void pixels with an edge between two labels within ``width``, by walking over pixels."""
    height, length = truth.shape
    edges = [
        (y, x)
        for y in range(height)
        for x in range(length)
        if truth[y, x] != VOID
        and any(
            0 <= v < height and 0 <= u < length and truth[v, u] not in (VOID, truth[y, x])
            for v in range(y - 1, y + 2)
            for u in range(x - 1, x + 2)
        )
    ]
    band = np.zeros(truth.shape, bool)
    for y in range(height):
        for x in range(length):
            near = (max(abs(y - v), abs(x - u)) < width for v, u in edges)
            band[y, x] = truth[y, x] != VOID and any(near)
    return band


def test_equals_a_search_of_the_neighbourhood_summed_over_the_images():
    rng = np.random.default_rng(0)
    pairs = []
    for _ in range(3):
        truth = np.kron(rng.integers(0, 4, (3, 4)), np.ones((5, 5))).astype(np.int64)
        predicted = np.where(rng.random(truth.shape) < 0.2, rng.integers(0, 4, truth.shape), truth)
        truth[np.kron(rng.random((5, 5)) < 0.2, np.ones((3, 4), bool))] = VOID
        pairs.append((predicted, truth))
    figures = evaluate(pairs, 5, trimap(1, 2, 4))
    for width in (1, 2, 4):
        bands = [searched_band(truth, width) for _, truth in pairs]
        assert 0 < np.mean(bands) < 1
        predicted, truth = (
            np.concatenate([maps[band] for maps, band in zip(part, bands, strict=True)])
            for part in zip(*pairs, strict=True)
        )
        iou = [
            100 * ((predicted == k) & (truth == k)).sum() / ((predicted == k) | (truth == k)).sum()
            for k in range(4)
        ]
        # The fifth class occurs nowhere: the mean leaves it out.
        assert figures[f'mTrimapIoU_{width}px'] == pytest.approx(np.mean(iou), abs=0.006)


@pytest.mark.parametrize('shift', [1, 3])
def test_a_straight_edge_moved_by_some_pixels(shift):
    truth = np.zeros((20, 40), np.int64)
    truth[:, 20:] = 1
    predicted = np.zeros_like(truth)
    predicted[:, 20 + shift :] = 1
    figures = evaluate([(predicted, truth)], 2, trimap(4, 8))
    for r in (4, 8):
        # The band has r columns on each side; `shift` of the right ones are taken for the left.
        expected = 100 * (r / (r + shift) + (r - shift) / r) / 2
        assert figures[f'mTrimapIoU_{r}px'] == pytest.approx(expected, abs=0.006)


def test_void_makes_no_edge_and_the_rim_of_the_image_is_none():
    truth = np.zeros((30, 30), np.int64)
    truth[:, 14:16] = VOID
    truth[:, 16:] = 1  # the two classes do not touch
    figures = evaluate([(1 - np.minimum(truth, 1), truth)], 2, trimap(1, 40))
    assert all(np.isnan(value) for value in figures.values()) and len(figures) == 2
    truth[5, 14:16] = 0  # a bridge
    assert evaluate([(truth % 2, truth)], 2, trimap(2))['mTrimapIoU_2px'] == 100


def test_a_wide_band_is_miou_as_mmseg_and_as_numpy_have_it():
    rng = np.random.default_rng(1)
    truth = np.kron(rng.integers(0, 3, (4, 4)), np.ones((6, 6))).astype(np.int64)
    predicted = np.where(rng.random(truth.shape) < 0.3, 0, truth)
    truth[3:5] = VOID
    metrics = dict(type='mmseg.IoUMetric', iou_metrics=['mIoU']), trimap(1, 99, prefix='edge')
    figures = evaluate([(predicted, truth)], 3, *metrics)
    valid = truth != VOID
    confusion = np.bincount(3 * truth[valid] + predicted[valid], minlength=9).reshape(3, 3)
    union = confusion.sum(0) + confusion.sum(1) - confusion.diagonal()
    expected = round(100 * np.mean(confusion.diagonal() / union), 2)
    assert figures['edge/mTrimapIoU_99px'] == expected
    assert figures['mIoU'] == pytest.approx(expected)
    assert figures['edge/mTrimapIoU_1px'] != expected


def test_ranks_are_gathered_as_sums_not_as_means():
    metric = TrimapIoUMetric(widths=[1])
    metric.dataset_meta = {'classes': ('a',)}
    parts = [np.array([[[1], [2]]]), np.array([[[9], [10]]])]  # what two ranks would send
    assert metric.compute_metrics(parts)['mTrimapIoU_1px'] == round(100 * 10 / 12, 2)


@pytest.mark.parametrize('widths', [[], [0], [1.5], [3, -1]])
def test_widths_that_are_none_are_refused(widths):
    with pytest.raises(ConfigError, match='widths must be whole numbers of pixels from 1'):
        TrimapIoUMetric(widths=widths)


def test_maps_of_another_size_are_refused():
    pair = np.zeros((4, 4), np.int64), np.zeros((5, 4), np.int64)
    with pytest.raises(ConfigError, match='LoadAnnotations has to come after Resize'):
        evaluate([pair], 1, trimap(1))
