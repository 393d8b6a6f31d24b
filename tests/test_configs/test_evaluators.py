# Copyright (c) The mmpointrend authors.
"""The evaluator of every config runs, and gives perfect predictions a perfect figure."""

import json

import cv2
import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.registry import DATASETS, METRICS, DefaultScope
from resolved_configs import CONFIGS, plain
from tiny_annotations import figures_of, perfect_samples, rectangles, write

from mmpointrend.engine.checks import leaves

NAMES = sorted(path.stem for path in CONFIGS.glob('[!_]*/*.py'))
CITYSCAPES = {'car': 26, 'person': 24, 'bicycle': 33}
SHAPE = 96, 160


def annotations(classes, **image_keys):
    """Annotations of three of the classes, with the categories of all."""
    content = rectangles(classes[-3:], **image_keys)
    first = len(content['categories']) + 10
    rest = [
        dict(id=first + n, name=name, frequency='c', synset=name)
        for n, name in enumerate(classes[:-3])
    ]
    # As LVIS's files have it.
    for category in rest:
        category['name'] = category['name'].replace('speaker_(stereo', 'speaker_(stero')
    content['categories'] = rest + content['categories']
    return content


def coco(settings, classes, folder):
    """A COCO or LVIS metric on annotations of its classes, the first of id 0."""
    content = annotations(classes, neg_category_ids=[], not_exhaustive_category_ids=[])
    for number, annotation in enumerate(content['annotations']):
        annotation['id'] = number
    settings['ann_file'] = write(content, folder / 'annotations.json')
    return settings, perfect_samples(content, classes)


def cityscapes(settings, classes, folder):
    """A Cityscapes metric on one image."""
    ids = np.full(SHAPE, 7, np.uint16)
    masks = np.zeros((3, *SHAPE), bool)
    for n, number in enumerate(CITYSCAPES.values()):
        masks[n, 20:80, 10 + 50 * n : 45 + 50 * n] = True
        ids[masks[n]] = 1000 * number
    (folder / 'val' / 'ulm').mkdir(parents=True)
    cv2.imwrite(str(folder / 'val' / 'ulm' / 'a_gtFine_instanceIds.png'), ids)
    settings['seg_prefix'] = str(folder / 'val')
    found = dict(
        labels=torch.tensor([classes.index(name) for name in CITYSCAPES]),
        scores=torch.ones(3),
        masks=torch.from_numpy(masks),
    )
    return settings, [dict(img_path='images/ulm/a_leftImg8bit.png', pred_instances=found)]


def semantic(settings, classes, folder):
    """A metric of label maps on one map with a corner of void."""
    truth = torch.arange(64 * 64).reshape(1, 64, 64) // 20 % len(classes)
    predicted = truth.clone()
    truth[:, :10, :10] = 255
    return settings, [dict(pred_sem_seg=dict(data=predicted), gt_sem_seg=dict(data=truth))]


def metrics_of(cfg):
    """Configs of the metrics, each once."""
    found = {}
    for key in ('val_evaluator', 'test_evaluator'):
        listed = cfg.get(key) or []
        for settings in listed if isinstance(listed, list) else [listed]:
            found[json.dumps(plain(settings), sort_keys=True)] = dict(settings)
    return found


def classes_of(dataset, scope):
    """Classes of a dataset's config."""
    if 'metainfo' in dataset:
        return dataset['metainfo']['classes']
    with DATASETS.switch_scope_and_registry(scope) as registry:
        return registry.get(dataset['type']).METAINFO['classes']


@pytest.fixture(scope='module')
def done():
    """Metrics that have run, which many configs share."""
    return set()


@pytest.mark.parametrize('name', NAMES)
def test_perfect_predictions(name, read, done, tmp_path):
    cfg = read(name)
    (leaf, *_) = leaves(cfg.test_dataloader.dataset) if cfg.get('test_dataloader') else [None]
    for number, (key, settings) in enumerate(metrics_of(cfg).items()):
        if key in done:
            continue
        folder = tmp_path / str(number)
        folder.mkdir()
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            classes = classes_of(leaf, cfg.default_scope)
            kind = settings['type'].rpartition('.')[2]
            if kind == 'CityscapesMetric':
                pytest.importorskip('cityscapesscripts')
            make = (
                cityscapes
                if kind == 'CityscapesMetric'
                else semantic
                if cfg.default_scope == 'mmseg'
                else coco
            )
            settings, samples = make(settings, tuple(classes), folder)
            figures = figures_of(METRICS.build(settings), samples, tuple(classes))
        expected = dict.fromkeys(('mIoU', 'mBoundaryIoU'), 100)
        expected |= {'mAP': 1} if kind == 'CityscapesMetric' else {}
        expected |= {f'{m}_{ap}': 1 for m in settings.get('metric', ()) for ap in ('mAP', 'AP')}
        shared = expected.keys() & figures.keys()
        assert len(shared) == len(settings.get('metric', [kind])), figures
        assert {key: figures[key] for key in shared} == {key: expected[key] for key in shared}
        done.add(key)


def test_ap_star(tmp_path):
    path = CONFIGS / '_base_' / 'evaluators' / 'ap-star.py'
    _, settings = Config.fromfile(path).ap_star_evaluator
    keys = dict(neg_category_ids=[], not_exhaustive_category_ids=[])
    content = rectangles(('dog', 'cat', 'person'), coco_url='http://images/val2017/1.jpg', **keys)
    for category in content['categories']:
        category['synset'] += '.n.01'
    for number, annotation in enumerate(content['annotations']):
        annotation['id'] = number
    settings['ann_file'] = write(content, tmp_path / 'lvis.json')
    classes = ('person', 'car', 'dog', 'cat')
    samples = perfect_samples(content, classes)
    assert figures_of(METRICS.build(settings), samples, classes)['segm_mAP'] == 1
