# Copyright (c) The mmpointrend authors.
"""Configs of mmdet and mmseg, converted, are written, read again, and trained for two steps, small."""

import json
import subprocess
import sys

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope

from mmpointrend.analysis.shrunken_models import (
    batch,
    build,
    build_small,
    fit_channels,
    shrunken,
)
from mmpointrend.conversion import add_pointrend, convert_config
from mmpointrend.errors import ConfigError

DETECTORS = {
    'mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py': 'PointRendRoIHead',
    'mask_rcnn/mask-rcnn_r50-caffe-c4_1x_coco.py': 'PointRendRoIHead',
    'cascade_rcnn/cascade-mask-rcnn_r50_fpn_1x_coco.py': 'CascadePointRendRoIHead',
    'htc/htc-without-semantic_r50_fpn_1x_coco.py': 'HTCPointRendRoIHead',
    'htc/htc_r50_fpn_1x_coco.py': 'HTCPointRendRoIHead',
    'scnet/scnet_r50_fpn_1x_coco.py': 'SCNetPointRendRoIHead',
    'ms_rcnn/ms-rcnn_r50-caffe_fpn_1x_coco.py': 'MaskScoringPointRendRoIHead',
    'groie/mask-rcnn_r50_fpn_groie_1x_coco.py': 'PointRendRoIHead',
    'pisa/mask-rcnn_r50_fpn_pisa_1x_coco.py': 'PISAPointRendRoIHead',
    'swin/mask-rcnn_swin-t-p4-w7_fpn_1x_coco.py': 'PointRendRoIHead',
    'point_rend/point-rend_r50-caffe_fpn_ms-1x_coco.py': 'PointRendRoIHead',
}
SEGMENTORS = {
    'fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py': 'FCNHead',
    'deeplabv3plus/deeplabv3plus_r18-d8_4xb2-80k_cityscapes-512x1024.py': 'DepthwiseSeparableASPPHead',
    'ocrnet/ocrnet_hr18s_4xb2-40k_cityscapes-512x1024.py': 'CascadedHeads',
    'ddrnet/ddrnet_23-slim_in1k-pre_2xb6-120k_cityscapes-1024x1024.py': 'DDRHead',
    'segformer/segformer_mit-b0_8xb2-160k_ade20k-512x512.py': 'SegformerHead',
    'sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py': 'FPNHead',
    'knet/knet-s3_r50-d8_fcn_8xb2-adamw-80k_ade20k-512x512.py': 'IterativeDecodeHead',
    'bisenetv1/bisenetv1_r18-d32_4xb4-160k_cityscapes-1024x1024.py': 'FCNHead',
    'stdc/stdc1_4xb12-80k_cityscapes-512x1024.py': 'FCNHead',
    'twins/twins_pcpvt-s_fpn_fpnhead_8xb4-80k_ade20k-512x512.py': 'FPNHead',
    'point_rend/pointrend_r50_4xb2-80k_cityscapes-512x1024.py': 'FPNHead',
}
CASES = [
    *((f'mmdet::{name}', head) for name, head in DETECTORS.items()),
    *((f'mmseg::{name}', head) for name, head in SEGMENTORS.items()),
]


def _few_points(node):
    for key, value in node.items() if isinstance(node, dict) else enumerate(node):
        if key == 'num_points':
            node[key] = 20
        elif isinstance(value, dict | list):
            _few_points(value)


@pytest.mark.parametrize(('name', 'head'), CASES)
def test_a_converted_config_trains(tmp_path, name, head):
    out = tmp_path / 'new.py'
    written = convert_config(name, out)
    lines = out.read_text().splitlines()
    assert lines[1] == f'_base_ = {name!r}' and len(lines) < 30
    original = Config.fromfile(Config._get_cfg_path(name, '')[0])
    # What is not the model stays, and the function gives what the file says.
    assert _plain(written.train_dataloader) == _plain(original.train_dataloader)
    assert _plain(add_pointrend(original).model) == _plain(written.model)
    _few_points(written.model.train_cfg)
    model = build(written, fewer_classes=True).train()
    part = getattr(model, 'roi_head', None) or model.decode_head.coarse_head
    assert type(part).__name__ == head
    semantic = 8 if getattr(part, 'semantic_head', None) is not None else None
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-4)
    for _ in range(2):
        losses = model(**model.data_preprocessor(batch(written, 5, semantic), True), mode='loss')
        total, _ = model.parse_losses(losses)
        assert any('point' in key for key in losses) and total.isfinite()
        optimizer.zero_grad()
        total.backward()
        optimizer.step()


def _plain(node):
    """Values without mmengine's scopes, tuples as lists."""
    if isinstance(node, dict):
        return {key: _plain(value) for key, value in node.items() if key != '_scope_'}
    return [_plain(item) for item in node] if isinstance(node, list | tuple) else node


def test_a_config_of_ones_own_is_inherited_by_its_way(tmp_path):
    base = tmp_path / 'bases' / 'mine.py'
    base.parent.mkdir()
    base.write_text(
        "_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\n"
        'model = dict(roi_head=dict(bbox_head=dict(num_classes=3), mask_head=dict(class_agnostic=True)))\n'
    )
    out = tmp_path / 'new' / 'mine.py'
    cfg = convert_config(base, out)
    assert "_base_ = '../bases/mine.py'" in out.read_text()
    with DefaultScope.overwrite_default_scope('mmdet'):
        cfg.model.backbone.init_cfg = None
        head = MODELS.build(cfg.model).roi_head
    assert head.bbox_head.num_classes == 3
    assert head.mask_head.class_agnostic and head.point_head.class_agnostic


SWAPPED = {
    'PAFPN': "neck=dict(type='PAFPN')",
    'NAS-FPN': "neck=dict(_delete_=True, type='NASFPN', in_channels=[256, 512, 1024, 2048], out_channels=256,"
    " num_outs=5, stack_times=1, norm_cfg=dict(type='BN'))",
    'MobileNetV2': "backbone=dict(_delete_=True, type='MobileNetV2', out_indices=(1, 2, 4, 7)),"
    ' neck=dict(in_channels=[24, 32, 96, 1280])',
    'deformable': "backbone=dict(dcn=dict(type='DCNv2', deform_groups=1, fallback_on_stride=False),"
    ' stage_with_dcn=(False, True, True, True))',
}


@pytest.mark.parametrize('part', SWAPPED)
def test_parts_of_a_detector_may_be_swapped(tmp_path, part):
    base = tmp_path / 'base.py'
    base.write_text(
        f"_base_ = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'\nmodel = dict({SWAPPED[part]})\n"
    )
    cfg = convert_config(base, tmp_path / 'new.py')
    _few_points(cfg.model.train_cfg)
    small = shrunken(cfg.model, fewer_classes=True)
    fit_channels(small, 'mmdet')
    model = build_small(small, 'mmdet').train()
    losses = model(**model.data_preprocessor(batch(cfg, 5), True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert losses['loss_point'] > 0 and total.isfinite()


@pytest.mark.parametrize(
    ('name', 'head', 'level'),
    [
        (
            'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py',
            {'in_index': ['backbone.0'], 'featmap_strides': [4], 'in_channels': 256},
            'mmdet.FPN',
        ),
        (
            'mmseg::sem_fpn/fpn_r50_4xb2-80k_cityscapes-512x1024.py',
            {'in_index': ['backbone.0'], 'in_channels': [256]},
            'mmseg.FPN',
        ),
    ],
)
def test_fine_features_of_the_backbone(tmp_path, name, head, level):
    cfg = convert_config(name, tmp_path / 'new.py', fine_from='backbone')
    part = cfg.model.get('roi_head') or cfg.model.decode_head
    assert head.items() <= part.point_head.to_dict().items()
    assert cfg.model.neck.type == 'mmpointrend.TappedNeck' and cfg.model.neck.of == level
    _few_points(cfg.model.train_cfg)
    model = build(cfg, fewer_classes=True).train()
    losses = model(**model.data_preprocessor(batch(cfg, 5), True), mode='loss')
    total, _ = model.parse_losses(losses)
    assert total.isfinite()


def test_losses_of_the_coarse_head_are_those_of_points(tmp_path):
    base = tmp_path / 'base.py'
    base.write_text(
        "_base_ = 'mmseg::fcn/fcn_r18-d8_4xb2-80k_cityscapes-512x1024.py'\n"
        'model = dict(decode_head=dict(\n'
        "    sampler=dict(type='OHEMPixelSampler', thresh=0.7, min_kept=100),\n"
        '    loss_decode=[\n'
        "        dict(type='CrossEntropyLoss', class_weight=[1.0] * 18 + [2.0]),\n"
        "        dict(type='DiceLoss', loss_weight=0.5), dict(type='BoundaryLoss')]))\n"
    )
    cfg = convert_config(base, tmp_path / 'new.py')
    assert (
        'class_weight=_base_.model.decode_head.loss_decode[0].class_weight'
        in (tmp_path / 'new.py').read_text()
    )
    assert _plain(cfg.model.decode_head.point_head.loss_decode) == [
        {'type': 'CrossEntropyLoss', 'class_weight': [1.0] * 18 + [2.0]},
        {'type': 'DiceLoss', 'loss_weight': 0.5},
    ]


@pytest.mark.parametrize(
    ('name', 'message'),
    [
        (
            'mmdet::faster_rcnn/faster-rcnn_r50_fpn_1x_coco.py',
            'of type StandardRoIHead has no mask_head',
        ),
        (
            'mmdet::queryinst/queryinst_r50_fpn_1x_coco.py',
            r'SparseRoIHead, which makes masks of queries',
        ),
        (
            'mmdet::retinanet/retinanet_r50_fpn_1x_coco.py',
            'RetinaNet, which has neither an RoI head',
        ),
        (
            'mmdet::mask2former/mask2former_r50_8xb2-lsj-50e_coco.py',
            r"panoptic_head\.type to 'mmpointrend\.Mask2FormerHead'",
        ),
        (
            'mmseg::mask2former/mask2former_r50_8xb2-90k_cityscapes-512x1024.py',
            'Mask2FormerHead, which predicts a set of masks',
        ),
        (
            'mmseg::unet/unet-s5-d16_fcn_4xb4-40k_drive-64x64.py',
            r'FCNHead, which predicts every pixel of the image \(stride 1\)',
        ),
        ('mmseg::_base_/default_runtime.py', 'has no model'),
        ('mmseg::nothing.py', 'does not exist'),
        ('nopackage::nothing.py', 'nopackage, which is not installed'),
        ('mmpointrend::shapes/pointrend_fpn_r18-w16_1xb4-150i_shapes.py', 'has PointRend already'),
        (
            'mmpointrend::shapes/pointrend_mask-rcnn_r18-w16_fpn_1xb4-600i_shapes.py',
            'has PointRend already',
        ),
    ],
)
def test_what_cannot_have_pointrend_is_refused_in_a_sentence(tmp_path, name, message):
    with pytest.raises(ConfigError, match=message):
        convert_config(name, tmp_path / 'new.py')
    assert not (tmp_path / 'new.py').exists()


def test_files_that_cannot_be_written_or_inherited_are_refused(tmp_path):
    name = 'mmdet::mask_rcnn/mask-rcnn_r50_fpn_1x_coco.py'
    with pytest.raises(ConfigError, match=r'does not end in \.py'):
        convert_config(name, tmp_path / 'new.json')
    path = Config._get_cfg_path(name, '')[0]
    with pytest.raises(ConfigError, match='is the config itself'):
        convert_config(path, path)
    (tmp_path / 'lazy.py').write_text(
        'from mmengine.config import read_base\n\nwith read_base():\n    from .other import *\n'
    )
    with pytest.raises(ConfigError, match='style of Python modules'):
        convert_config(tmp_path / 'lazy.py', tmp_path / 'new.py')
    with pytest.raises(ConfigError, match="fine_from is 'res2': set it to 'neck' or 'backbone'"):
        convert_config(name, tmp_path / 'new.py', fine_from='res2')


def test_the_command_writes_and_prints_the_config(repo, tmp_path):
    tool = repo / 'tools' / 'model_converters' / 'add_pointrend.py'
    name, out = 'mmdet::htc/htc_r50_fpn_1x_coco.py', tmp_path / 'folder' / 'new.py'
    done = subprocess.run(
        [sys.executable, tool, name, '--out', out], capture_output=True, text=True, check=True
    )
    assert done.stdout == out.read_text() and 'HTCPointRendRoIHead' in done.stdout
    assert json.dumps(name)[1:-1] in done.stdout
