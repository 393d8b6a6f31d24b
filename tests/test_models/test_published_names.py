# Copyright (c) The mmpointrend authors.
"""mmdet's and mmseg's published PointRend checkpoints: what their own configs name, loads into ours strictly."""

import pytest
import torch
from mmengine.config import Config

from mmpointrend.engine.detectron2 import build_empty, find_config

PUBLISHED = {
    'mmdet::point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
    ),
    'mmdet::point_rend/point-rend_r50-caffe_fpn_ms-3x_coco.py': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco'
    ),
    'mmseg::point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py': (
        'pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024'
    ),
    'mmseg::point_rend/pointrend_r101_4xb2-80k_cityscapes-512x1024.py': (
        'pointrend_fpn_r101_4xb2-80k_cityscapes-512x1024'
    ),
    'mmseg::point_rend/pointrend_r50_4xb4-160k_ade20k-512x512.py': (
        'pointrend_fpn_r50_4xb4-160k_ade20k-512x512'
    ),
    'mmseg::point_rend/pointrend_r101_4xb4-160k_ade20k-512x512.py': (
        'pointrend_fpn_r101_4xb4-160k_ade20k-512x512'
    ),
}


def build_theirs(name, folder):
    """The neighbour's own model."""
    (folder / 'theirs.py').write_text(f"_base_ = '{name}'\n")
    return build_empty(Config.fromfile(folder / 'theirs.py'))


@pytest.mark.parametrize(('theirs', 'ours'), PUBLISHED.items())
def test_their_state_dict_loads_strictly(theirs, ours, tmp_path):
    published = {
        name: torch.zeros((), dtype=value.dtype).expand(value.shape)
        for name, value in build_theirs(theirs, tmp_path).state_dict().items()
    }
    # The names of a checkpoint, not of a config: in mmseg's the heads are numbered.
    if theirs.startswith('mmseg'):
        assert {'decode_head.0.conv_seg.weight', 'decode_head.1.fc_seg.weight'} <= published.keys()
    else:
        assert 'roi_head.point_head.fcs.2.conv.weight' in published
    model = build_empty(find_config(ours))
    model.load_state_dict(dict(published), strict=True, assign=True)
    filled = model.state_dict()
    assert len(filled) == len(published)
    assert not any(value.is_meta for value in filled.values())
