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


def test_every_detector_is_tested(repo):
    page = (repo / 'README.md').read_text().replace('\n  ', ' ')
    (named,) = re.findall(r"RoI head for mmdet's .*? with one box stage \((.*?); not", page)
    assert named.split(', ') == list(DETECTORS)


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
