# Copyright (c) The mmpointrend authors.
"""What the README says that our heads serve: each detector that it names, as mmdet configures it."""

import copy
import re

import pytest
import torch
from mmdet.structures import DetDataSample
from mmengine.config import Config

from mmpointrend.analysis.shrunken_models import HEIGHT, META, WIDTH, build
from mmpointrend.engine.detectron2 import find_config

DETECTORS = {
    'Faster R-CNN': 'faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
    'Mask R-CNN': 'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
    'Panoptic FPN': 'panoptic_fpn/panoptic-fpn_r50_fpn_1x_coco.py',
}


# The family of configs that each name of the README stands for.
FAMILIES = {
    'Mask R-CNN': 'mask_rcnn',
    'Cascade Mask R-CNN': 'cascade_rcnn',
    'HTC': 'htc',
    'SCNet': 'scnet',
    'Mask Scoring R-CNN': 'ms_rcnn',
    'PISA': 'pisa',
    'GRoIE': 'groie',
    'DetectoRS': 'detectors',
    'Panoptic FPN': 'panoptic_fpn',
    'OCRNet': 'ocrnet',
    'K-Net': 'knet',
}


def test_every_model_of_the_readme_works_in_the_sweep(repo):
    page = ' '.join((repo / 'README.md').read_text().split())
    (detectors,) = re.findall(r'two-stage mask detector of mmdet \((.*?)\)', page)
    (segmentors,) = re.findall(r'a map of logits, (.*?) included', page)
    assert detectors.split(', ') + segmentors.split(' and ') == list(FAMILIES)
    table = (repo / 'docs' / 'compatibility.md').read_text()
    for family in FAMILIES.values():
        ((works, refused),) = re.findall(
            rf'^\| \w+ \| {family} \| \d+ \| (\d+) \| ([^|]*) \|', table, re.M
        )
        assert int(works) > 0 and 'fault' not in refused, family


@pytest.mark.parametrize('name', DETECTORS)
def test_a_detector_of_mmdet_takes_our_roi_head(name):
    cfg = Config.fromfile(Config._get_cfg_path(f'mmdet::{DETECTORS[name]}', '')[0])
    ours = find_config('pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco').model
    cfg.model.roi_head = copy.deepcopy(ours.roi_head)
    for part in ('train_cfg', 'test_cfg'):
        cfg.model[part].rcnn = copy.deepcopy(ours[part].rcnn)
    model = build(cfg).eval()
    assert type(model).__name__.lower() == name.replace(' ', '').replace('-', '').lower()
    with torch.no_grad():
        x = model.extract_feat(torch.randn(1, 3, HEIGHT, WIDTH))
        proposals = model.rpn_head.predict(x, [DetDataSample(metainfo=META)], rescale=False)
        rendered = model.roi_head(x, proposals)[-1]
    assert rendered.shape == (len(proposals[0]), 1, 224, 224) and len(rendered) > 0
