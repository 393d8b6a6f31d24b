# Copyright (c) The mmpointrend authors.
"""LVIS's AP, against the ``lvis`` package, which is given the ``np.float`` that it wants of older numpy."""

import copy
import logging
import math

import numpy as np
import pytest
import torch
from pycocotools import mask as mask_api
from tiny_annotations import figures_of, mask_of, perfect_samples, rectangles, write

from mmpointrend.errors import ConfigError, InputError
from mmpointrend.evaluation import LVISMetric
from mmpointrend.registry import METRICS

CLASSES = ('acorn', 'bell', 'cat', 'drum', 'egg', 'fig')
FEDERATED = dict(neg_category_ids=[], not_exhaustive_category_ids=[])


def annotations(images=6):
    """LVIS annotations in which each image lacks a class, as negative or as unknown, and knows another in part."""
    content = rectangles(CLASSES, images, **FEDERATED)
    ids = [category['id'] for category in content['categories']]
    for n, image in enumerate(content['images']):
        lacks = ids[n % len(ids)]
        image.update(
            neg_category_ids=[lacks] if n % 2 else [],
            not_exhaustive_category_ids=[ids[(n + 2) % len(ids)]],
        )
        content['annotations'] = [
            a
            for a in content['annotations']
            if (a['image_id'], a['category_id']) != (image['id'], lacks)
        ]
    return content


def noisy(content, count, seed=0):
    """Detections: true masks moved about, some under other names, ``count`` in an image."""
    rng = np.random.default_rng(seed)
    samples = perfect_samples(content, CLASSES)
    for image, sample in zip(content['images'], samples, strict=True):
        own = [mask_of(a) for a in content['annotations'] if a['image_id'] == image['id']]
        names = sample['pred_instances']['labels'].numpy()
        picks = rng.integers(len(own), size=count)
        masks = np.array([np.roll(own[n], rng.integers(0, 4, 2), (0, 1)) for n in picks])
        labels = np.where(rng.random(count) < 0.3, rng.integers(6, size=count), names[picks])
        boxes = mask_api.toBbox([mask_api.encode(np.asfortranarray(m, np.uint8)) for m in masks])
        boxes[:, 2:] += boxes[:, :2]
        scores = rng.random(count).round(2)
        sample['pred_instances'] = dict(
            bboxes=torch.from_numpy(boxes),
            scores=torch.from_numpy(scores),
            labels=torch.from_numpy(labels),
            masks=torch.from_numpy(masks),
        )
    return samples


def by_lvis(content, samples, kind, monkeypatch):
    """Figures of the ``lvis`` package."""
    lvis = pytest.importorskip('lvis')
    monkeypatch.setattr(np, 'float', float, raising=False)
    truth = lvis.LVIS.__new__(lvis.LVIS)
    truth.dataset, truth.logger = copy.deepcopy(content), logging.getLogger()
    truth._create_index()
    ids = {category['name']: category['id'] for category in content['categories']}
    records = []
    for sample in samples:
        found = sample['pred_instances']
        for n, label in enumerate(found['labels'].tolist()):
            x, y, right, bottom = found['bboxes'][n].tolist()
            mask = mask_api.encode(np.asfortranarray(found['masks'][n].numpy(), np.uint8))
            shape = (
                dict(bbox=[x, y, right - x, bottom - y])
                if kind == 'bbox'
                else dict(segmentation=mask)
            )
            records.append(
                dict(
                    shape,
                    image_id=sample['img_id'],
                    category_id=ids[CLASSES[label]],
                    score=float(found['scores'][n]),
                )
            )
    evaluation = lvis.LVISEval(truth, lvis.LVISResults(truth, records), kind)
    evaluation.run()
    return evaluation.get_results()


@pytest.mark.parametrize('count', [9, 330])
def test_equals_lvis_own_evaluation(count, tmp_path, monkeypatch):
    content = annotations(6 if count < 300 else 2)
    samples = noisy(content, count)
    items = [*LVISMetric.default_items, 'AR@300', 'ARs@300', 'ARm@300', 'ARl@300']
    metric = METRICS.build(
        dict(
            type='mmpointrend.LVISMetric',
            ann_file=write(content, tmp_path / 'lvis.json'),
            metric=['bbox', 'segm'],
            metric_items=items,
        )
    )
    figures = figures_of(metric, samples, CLASSES)
    assert len(figures) == 2 * 13
    for kind in ('bbox', 'segm'):
        expected = by_lvis(content, samples, kind, monkeypatch)
        assert 0 < expected['AP'] < 1 and len({expected[f'AP{k}'] for k in 'rcf'}) == 3
        for name in items:
            assert figures[f'{kind}_{name}'] == pytest.approx(expected[name], abs=1e-12), name


@pytest.mark.parametrize('classes', [CLASSES, CLASSES[::-1], ('fig', 'bell')])
def test_perfect_predictions_whatever_the_order_of_names(classes, tmp_path):
    content = annotations()
    for number, annotation in enumerate(content['annotations']):
        annotation['id'] = number
        del annotation['iscrowd']  # which LVIS does not have
    metric = LVISMetric(write(content, tmp_path / 'lvis.json'), metric=['bbox', 'segm', 'boundary'])
    assert metric.prefix == 'lvis'
    figures = figures_of(metric, perfect_samples(content, classes), classes)
    assert [figures[f'{kind}_AP'] for kind in ('bbox', 'segm', 'boundary')] == [1, 1, 1]


def test_no_image(tmp_path):
    figures = figures_of(LVISMetric(write(annotations(), tmp_path / 'lvis.json')), [], CLASSES)
    assert len(figures) == 2 * 9 and all(map(math.isnan, figures.values()))
    assert {'bbox_APr', 'segm_AP'} <= figures.keys()


def test_what_is_wrong_is_said(tmp_path):
    content = annotations()
    path = write(content, tmp_path / 'lvis.json')
    with pytest.raises(ConfigError, match=r"metric of LVIS must be some of .* got \{'proposal'\}"):
        LVISMetric(path, metric='proposal')
    with pytest.raises(ConfigError, match=r'metric_items .* are AP, AP50, .*; it has no mAP\.'):
        LVISMetric(path, metric_items=['mAP'])
    content['images'][3]['neg_category_ids'] = 'none'
    with pytest.raises(InputError, match="neg_category_ids in images is 'none'"):
        LVISMetric(write(content, tmp_path / 'lvis.json'))
    del content['categories'][0]['frequency']
    content['images'][3]['neg_category_ids'] = []
    with pytest.raises(
        InputError, match=r'lvis\.json of LVIS: .* frequency is missing in categories'
    ):
        LVISMetric(write(content, tmp_path / 'lvis.json'))
