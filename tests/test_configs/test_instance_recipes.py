# Copyright (c) The mmpointrend authors.
"""What the instance configs resolve to, against the paper's and detectron2's numbers written out."""

import pytest
import torch
from mmengine.registry import DefaultScope
from resolved_configs import CONFIGS, differences, images_per_iteration, pipeline, plain

from mmpointrend.analysis.shrunken_models import build
from mmpointrend.engine.detectron2 import build_empty

COCO_1X = {'lr': 0.02, 'images': 16, 'iterations': 90000, 'drops': [60000, 80000]}
COCO_3X = {'lr': 0.02, 'images': 16, 'iterations': 270000, 'drops': [210000, 250000]}
CITYSCAPES = {'lr': 0.01, 'images': 8, 'iterations': 24000, 'drops': [18000]}
SCHEDULES = {
    'mask-rcnn_r50-caffe_fpn_8xb2-1x_coco': COCO_1X,
    'mask-rcnn-56x56_r50-caffe_fpn_8xb2-1x_coco': COCO_1X,
    'mask-rcnn_r50-caffe_fpn_8xb2-3x_coco': COCO_3X,
    'mask-rcnn_r101-caffe_fpn_8xb2-3x_coco': COCO_3X,
    'mask-rcnn_x101-32x8d_fpn_8xb2-3x_coco': COCO_3X,
    'mask-rcnn_r50-caffe_fpn_8xb1-24k_cityscapes': CITYSCAPES,
    'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco': COCO_1X,
    'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco': COCO_3X,
    'pointrend_mask-rcnn_r101-caffe_fpn_8xb2-3x_coco': COCO_3X,
    'pointrend_mask-rcnn_x101-32x8d_fpn_8xb2-3x_coco': COCO_3X,
    'pointrend_mask-rcnn_r50-caffe_fpn_8xb1-24k_cityscapes': CITYSCAPES,
    'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_lvis-v1': COCO_1X,
}
POINTREND = [name for name in SCHEDULES if name.startswith('pointrend')]
BASELINES = [name for name in SCHEDULES if not name.startswith('pointrend')]


@pytest.fixture(params=SCHEDULES)
def name(request):
    """Name of an instance config."""
    return request.param


@pytest.fixture
def cfg(read, name):
    """An instance config."""
    return read(name)


def num_classes_by(name):
    """Classes of the dataset that a config's name ends in."""
    return {'coco': 80, 'cityscapes': 8, 'lvis-v1': 1203}[name.rpartition('_')[2]]


def test_every_config_is_listed():
    names = {path.stem for path in (CONFIGS / 'instance').glob('*.py')}
    assert {name for name in names if not name.startswith('implicit-')} == set(SCHEDULES)


def test_schedule(cfg, name):
    expected = SCHEDULES[name]
    assert images_per_iteration(cfg) == cfg.auto_scale_lr.base_batch_size == expected['images']
    assert cfg.train_cfg.type == 'IterBasedTrainLoop'
    assert cfg.train_cfg.max_iters == expected['iterations']
    assert plain(cfg.optim_wrapper) == {
        'type': 'OptimWrapper',
        'optimizer': {
            'type': 'SGD',
            'lr': expected['lr'],
            'momentum': 0.9,
            'weight_decay': 0.0001,
        },
        'paramwise_cfg': {'norm_decay_mult': 0},
    }
    warm_up, drops = plain(cfg.param_scheduler)
    assert warm_up == {
        'type': 'LinearLR',
        'start_factor': 0.001,
        'by_epoch': False,
        'begin': 0,
        'end': 1000,
    }
    assert drops == {
        'type': 'MultiStepLR',
        'by_epoch': False,
        'begin': 0,
        'end': expected['iterations'],
        'milestones': expected['drops'],
        'gamma': 0.1,
    }
    # Cityscapes in mmdet starts from COCO; the paper's from ImageNet.
    assert cfg.load_from is None
    assert cfg.default_hooks.checkpoint.by_epoch is False
    assert cfg.train_dataloader.sampler.type == 'InfiniteSampler'


def test_images(cfg, name):
    train, test = pipeline(cfg), pipeline(cfg, 'test')
    if name.endswith('cityscapes'):
        sides, longest = (800, 832, 864, 896, 928, 960, 992, 1024), 2048
    else:
        sides, longest = (640, 672, 704, 736, 768, 800), 1333
    assert list(train) == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomChoiceResize',
        'RandomFlip',
        'PackDetInputs',
    ]
    assert train['RandomChoiceResize'] == {
        'scales': [[longest, side] for side in sides],
        'keep_ratio': True,
    }
    assert train['RandomFlip'] == {'prob': 0.5}
    assert test['Resize'] == {'scale': [longest, sides[-1]], 'keep_ratio': True}
    assert train['LoadAnnotations'] == {'with_bbox': True, 'with_mask': True, 'poly2mask': False}
    preprocessor = cfg.model.data_preprocessor
    assert preprocessor.mean == [103.53, 116.28, 123.675]
    x101 = 'x101' in name
    assert preprocessor.std == ([57.375, 57.12, 58.395] if x101 else [1.0, 1.0, 1.0])
    assert preprocessor.bgr_to_rgb is False
    assert (preprocessor.pad_mask, preprocessor.pad_size_divisor) == (True, 32)


def test_backbone(cfg, name):
    backbone = cfg.model.backbone
    weights = {
        'r50': 'resnet50_caffe',
        'r101': 'resnet101_caffe',
        'x101': 'resnext101_32x8d',
    }[name.removeprefix('pointrend_').split('_')[1].split('-')[0]]
    assert backbone.depth == (50 if weights == 'resnet50_caffe' else 101)
    assert plain(backbone.init_cfg) == {
        'type': 'Pretrained',
        'checkpoint': f'open-mmlab://detectron2/{weights}',
    }
    assert plain(backbone.norm_cfg) == {'type': 'BN', 'requires_grad': False}
    assert (backbone.norm_eval, backbone.frozen_stages) == (True, 1)
    if weights.startswith('resnext'):
        assert (backbone.type, backbone.style) == ('ResNeXt', 'pytorch')
        assert (backbone.groups, backbone.base_width) == (32, 8)
    else:
        assert (backbone.type, backbone.style) == ('ResNet', 'caffe')


def test_detector(cfg, name):
    model = cfg.model
    lvis = name.endswith('lvis-v1')
    proposals = {'nms': {'type': 'nms', 'iou_threshold': 0.7}, 'min_bbox_size': 0}
    assert plain(model.train_cfg.rpn_proposal) == {
        'nms_pre': 2000,
        'max_per_img': 1000,
        **proposals,
    }
    assert plain(model.test_cfg.rpn) == {'nms_pre': 1000, 'max_per_img': 1000, **proposals}
    rcnn = model.train_cfg.rcnn
    assert (rcnn.sampler.num, rcnn.sampler.pos_fraction) == (512, 0.25)
    assert rcnn.sampler.add_gt_as_proposals is True
    assigner = rcnn.assigner
    assert assigner.pos_iou_thr == assigner.neg_iou_thr == assigner.min_pos_iou == 0.5
    assert assigner.match_low_quality is False
    assert model.roi_head.bbox_head.num_classes == num_classes_by(name)
    for head in (model.rpn_head, model.roi_head.bbox_head):
        assert plain(head.loss_bbox) == {'type': 'L1Loss', 'loss_weight': 1.0}
    rcnn = model.test_cfg.rcnn
    assert rcnn.score_thr == (0.0001 if lvis else 0.05)
    assert rcnn.max_per_img == (300 if lvis else 100)
    assert plain(rcnn.nms) == {'type': 'nms', 'iou_threshold': 0.5}
    assert rcnn.mask_thr_binary == 0.5


@pytest.mark.parametrize('name', POINTREND)
def test_pointrend_head(cfg, name):
    num_classes = num_classes_by(name)
    roi_head = cfg.model.roi_head
    loss = {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 1.0}
    assert roi_head.type == 'mmpointrend.PointRendRoIHead'
    assert plain(roi_head.mask_roi_extractor) == {
        'type': 'GenericRoIExtractor',
        'aggregation': 'concat',
        'roi_layer': {'type': 'SimpleRoIAlign', 'output_size': 14},
        'featmap_strides': [4],
    }
    assert plain(roi_head.mask_head) == {
        'type': 'mmpointrend.CoarseMaskHead',
        'num_fcs': 2,
        'conv_out_channels': 256,
        'fc_out_channels': 1024,
        'loss_mask': loss,
    }
    assert plain(roi_head.point_head) == {
        'type': 'mmpointrend.MaskPointHead',
        'num_fcs': 3,
        'fc_channels': 256,
        'coarse_pred_each_layer': True,
        'loss_point': loss,
    }
    train, test = cfg.model.train_cfg.rcnn, cfg.model.test_cfg.rcnn
    # What the config leaves to the other parts.
    built = build_empty(cfg).roi_head
    channels = 256, num_classes
    assert built.mask_roi_extractor.out_channels == 256
    assert (built.mask_head.in_channels, built.mask_head.num_classes) == channels
    assert (built.point_head.in_channels, built.point_head.num_classes) == channels
    assert (built.train_cfg.mask_size, train.num_points) == (7, 196)
    assert (train.oversample_ratio, train.importance_sample_ratio) == (3, 0.75)
    assert train.train_on_pred_boxes is True
    assert test.subdivision_steps == 5
    assert (test.subdivision_num_points, test.scale_factor) == (784, 2)


@pytest.mark.parametrize('name', BASELINES)
def test_standard_mask_head(cfg, name):
    roi, mask = (28, 56) if '56x56' in name else (14, 28)
    roi_head = cfg.model.roi_head
    assert roi_head.type == 'StandardRoIHead'
    assert plain(roi_head.mask_roi_extractor) == {
        'type': 'SingleRoIExtractor',
        'roi_layer': {'type': 'RoIAlign', 'output_size': roi, 'sampling_ratio': 0},
        'out_channels': 256,
        'featmap_strides': [4, 8, 16, 32],
    }
    head = roi_head.mask_head
    assert (head.type, head.num_convs, head.conv_out_channels) == (
        'mmpointrend.FCNMaskHead',
        4,
        256,
    )
    assert head.num_classes == num_classes_by(name)
    assert cfg.model.train_cfg.rcnn.mask_size == mask


@pytest.mark.parametrize('name', [BASELINES[0], POINTREND[0], 'implicit-' + POINTREND[0]])
def test_starts_as_detectron2s(read, name):
    """c2_xavier_fill: uniform, of variance 1 over the inputs; c2_msra_fill: normal, of 2 over the outputs."""
    torch.manual_seed(0)
    model = build(read(name))
    heads = model.roi_head
    with DefaultScope.overwrite_default_scope('mmdet'):
        for part in (model.neck, model.rpn_head, heads.bbox_head, heads.mask_head):
            part.init_weights()
    deepest, fc = model.neck.lateral_convs[-1].conv, heads.bbox_head.shared_fcs[0]
    expected = [
        (deepest, (1 / deepest.in_channels) ** 0.5),
        (model.neck.fpn_convs[0].conv, (1 / 144) ** 0.5),
        (fc, (1 / (16 * 49)) ** 0.5),
        (heads.bbox_head.fc_cls, 0.01),
        (heads.bbox_head.fc_reg, 0.001),
        (model.rpn_head.rpn_conv, 0.01),
    ]
    if name in BASELINES:
        head = heads.mask_head
        assert head.upsample.weight.shape == (16, 16, 2, 2)
        expected += [(head.conv_logits, 0.001), (head.upsample, (2 / 64) ** 0.5)]
        expected += [(layer.conv, (2 / 144) ** 0.5) for layer in head.convs]
    for layer, std in expected:
        assert layer.weight.std().item() == pytest.approx(std, rel=0.1)
        assert layer.bias.abs().max() == 0
    # Uniform, and not normal of the same variance.
    assert deepest.weight.abs().max() <= (3 / deepest.in_channels) ** 0.5
    assert fc.weight.abs().max() <= (3 / (16 * 49)) ** 0.5


@pytest.mark.parametrize('name', [name for name in POINTREND if 'lvis' not in name])
def test_differs_from_its_baseline_in_the_mask_branch_alone(read, name):
    changed = differences(plain(read(name.removeprefix('pointrend_'))), plain(read(name)))
    allowed = (
        'model.roi_head.type',
        'model.roi_head.mask_',
        'model.roi_head.point_head',
        'model.train_cfg.rcnn.',
        'model.test_cfg.rcnn.',
        # The head block that the config has taken.
        'pointrend',
    )
    assert [path for path in changed if not path.startswith(allowed)] == []


def test_data(read):
    coco = read('pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco')
    assert coco.train_dataloader.dataset.ann_file == 'annotations/instances_train2017.json'
    assert plain(coco.val_evaluator)['metric'] == ['bbox', 'segm', 'boundary']
    cityscapes = read('pointrend_mask-rcnn_r50-caffe_fpn_8xb1-24k_cityscapes')
    dataset = cityscapes.train_dataloader.dataset
    assert dataset.type == 'CityscapesDataset'
    assert dataset.ann_file == 'annotations/instancesonly_filtered_gtFine_train.json'
    (boundary,) = (
        m for m in cityscapes.val_evaluator if m.type == 'mmpointrend.CocoBoundaryMetric'
    )
    assert boundary.dilation_ratio == 0.005
    lvis = read('pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_lvis-v1').train_dataloader.dataset
    assert (lvis.type, lvis.oversample_thr) == ('ClassBalancedDataset', 0.001)
    assert (lvis.dataset.type, lvis.dataset.ann_file) == (
        'LVISV1Dataset',
        'annotations/lvis_v1_train.json',
    )
