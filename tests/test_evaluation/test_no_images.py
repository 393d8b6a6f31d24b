# Copyright (c) The mmpointrend authors.
"""Every metric of no image: nan under its usual names, and one warning that says so."""

import logging
import math

import pytest
from mmengine.logging import MMLogger
from tiny_annotations import perfect_samples, rectangles, write

from mmpointrend.registry import METRICS

CLASSES = ('person', 'car')


@pytest.fixture
def annotations(tmp_path):
    """A file that is COCO's and LVIS's, and its predictions."""
    keys = dict(neg_category_ids=[], not_exhaustive_category_ids=[])
    content = rectangles(CLASSES, coco_url='http://images/val2017/1.jpg', **keys)
    for category in content['categories']:
        category['synset'] += '.n.01'
    return write(content, tmp_path / 'annotations.json'), perfect_samples(content, CLASSES)


@pytest.mark.parametrize(
    ('settings', 'figure', 'count'),
    [
        (dict(type='CocoBoundaryMetric', ann_file='...'), 'coco/boundary_mAP', 18),
        (dict(type='CocoBoundaryMetric'), 'coco/segm_mAP_50', 18),
        (dict(type='LVISMetric', ann_file='...'), 'lvis/segm_APr', 18),
        (dict(type='APStarMetric', ann_file='...'), 'ap_star/segm_mAP', 6),
        (dict(type='CityscapesMetric', seg_prefix='gtFine/val'), 'cityscapes/car_mAP', 10),
        (dict(type='GTBoxMaskMetric'), 'gt_box/boundary_IoU_s', 8),
        (dict(type='BoundaryIoUMetric'), 'BoundaryIoU.car', 3),
        (dict(type='BoundaryIoUMetric', prefix='wide'), 'wide/mBoundaryIoU', 3),
        (dict(type='TrimapIoUMetric', widths=[1, 3]), 'mTrimapIoU_3px', 2),
    ],
)
def test_figures_are_nan(settings, figure, count, annotations, monkeypatch):
    if settings['type'] == 'CityscapesMetric':
        pytest.importorskip('cityscapesscripts')
    path, samples = annotations
    settings = dict(settings, type='mmpointrend.' + settings['type'])
    if 'ann_file' in settings:
        settings['ann_file'] = path
    warnings = []
    monkeypatch.setattr(MMLogger.get_current_instance(), 'handle', warnings.append)
    metric = METRICS.build(settings)
    metric.dataset_meta = dict(classes=CLASSES)
    figures = metric.evaluate(0)
    assert figure in figures and len(figures) == count
    assert all(map(math.isnan, figures.values()))
    ours = [r for r in warnings if r.levelno == logging.WARNING and 'nan' in r.getMessage()]
    assert len(ours) == 1
    assert 'No image was tested, so that the figures of ' in ours[0].getMessage()
    if 'ann_file' in settings:
        # The names are those of an evaluation.
        metric.process({}, samples)
        assert metric.evaluate(len(samples)).keys() == figures.keys()
