# Copyright (c) The mmpointrend authors.
"""What the semantic configs resolve to, against the paper's, detectron2's and mmseg's numbers written out."""

import pytest
import torch
import torch.nn.functional as F
from mmengine.config import Config
from mmengine.optim import build_optim_wrapper
from mmengine.registry import MODELS, DefaultScope
from mmseg.models.decode_heads.point_head import PointHead
from resolved_configs import CONFIGS, differences, images_per_iteration, pipeline, plain

from mmpointrend.analysis.shrunken_models import batch, build
from mmpointrend.engine.detectron2 import build_empty

DEEPLAB = 'deeplabv3_r103-d16_8xb2-90k_cityscapes-768x768'
DEEPLAB_OS8 = 'deeplabv3_r103-d8_8xb2-90k_cityscapes-768x768'
FPN = 'fpn_r101-caffe_8xb4-65k_cityscapes-512x1024'
FPN_P3 = 'fpn-p3-p5_r101-caffe_8xb4-65k_cityscapes-512x1024'
STUFF = 'pointrend_fpn_r50-caffe_8xb2-90k_coco-stuff'
DETECTRON2 = 'pointrend_fpn-detectron2_r101-caffe_8xb4-65k_cityscapes-512x1024'
FCN = 'pointrend_fcn_r50-d8_4xb2-80k_cityscapes-512x1024'
MMSEG = {
    'pointrend_fpn_r50_4xb2-80k_cityscapes-512x1024': 'pointrend_r50_4xb2-80k_cityscapes-512x1024',
    'pointrend_fpn_r101_4xb2-80k_cityscapes-512x1024': 'pointrend_r101_4xb2-80k_cityscapes-512x1024',
    'pointrend_fpn_r50_4xb4-160k_ade20k-512x512': 'pointrend_r50_4xb4-160k_ade20k-512x512',
    'pointrend_fpn_r101_4xb4-160k_ade20k-512x512': 'pointrend_r101_4xb4-160k_ade20k-512x512',
}
POINTREND = ['pointrend_' + name for name in (DEEPLAB, FPN, FPN_P3)] + [STUFF, DETECTRON2]

# lr, images, iterations, drops (none: polynomial decay)
POLY_90K = (0.01, 16, 90000, None)
STEP_65K = (0.01, 32, 65000, [40000, 55000])
SCHEDULES = {
    DEEPLAB: POLY_90K,
    DEEPLAB_OS8: POLY_90K,
    f'pointrend_{DEEPLAB}': POLY_90K,
    FPN: STEP_65K,
    FPN_P3: STEP_65K,
    f'pointrend_{FPN}': STEP_65K,
    f'pointrend_{FPN_P3}': STEP_65K,
    DETECTRON2: STEP_65K,
    STUFF: (0.02, 16, 90000, [60000, 80000]),
}


CROSS_ENTROPY = {
    'type': 'CrossEntropyLoss',
    'use_sigmoid': False,
    'loss_weight': 1.0,
    'avg_non_ignore': True,
}


def test_every_config_is_listed():
    names = {path.stem for path in (CONFIGS / 'semantic').glob('*.py')}
    assert names == {*SCHEDULES, *MMSEG, FCN}


@pytest.mark.parametrize('name', SCHEDULES)
def test_schedule(read, name):
    cfg = read(name)
    lr, images, iterations, drops = SCHEDULES[name]
    assert images_per_iteration(cfg) == cfg.auto_scale_lr.base_batch_size == images
    assert (cfg.train_cfg.type, cfg.train_cfg.max_iters) == ('IterBasedTrainLoop', iterations)
    wrapper = plain(cfg.optim_wrapper)
    assert wrapper['optimizer'] == {
        'type': 'SGD',
        'lr': lr,
        'momentum': 0.9,
        'weight_decay': 0.0001,
    }
    assert wrapper['paramwise_cfg']['norm_decay_mult'] == 0
    assert 'clip_grad' not in wrapper
    warm_up, decay = plain(cfg.param_scheduler)
    span = {'by_epoch': False, 'begin': 0}
    assert warm_up == {'type': 'LinearLR', 'start_factor': 0.001, 'end': 1000, **span}
    if drops is None:
        kind = {'type': 'PolyLR', 'power': 0.9, 'eta_min': 0}
    else:
        kind = {'type': 'MultiStepLR', 'milestones': drops, 'gamma': 0.1}
    assert decay == {**kind, 'end': iterations, **span}


def test_ten_times_the_rate_for_aspp_and_the_prediction_alone(read):
    cfg = read(f'pointrend_{DEEPLAB}')
    model = build(cfg)
    with DefaultScope.overwrite_default_scope('mmseg'):
        optimizer = build_optim_wrapper(model, cfg.optim_wrapper).optimizer
    groups = {id(group['params'][0]): group for group in optimizer.param_groups}
    norms = [name for name, module in model.named_modules() if hasattr(module, 'running_mean')]
    for name, parameter in model.named_parameters():
        group = groups[id(parameter)]
        new = name.startswith('decode_head.coarse_head.')
        assert group['lr'] == pytest.approx(0.1 if new else 0.01), name
        is_norm = name.rpartition('.')[0] in norms
        assert group['weight_decay'] == (0 if is_norm else 0.0001), name


@pytest.mark.parametrize('name', [DEEPLAB, f'pointrend_{DEEPLAB}', DEEPLAB_OS8])
def test_deeplab(read, name):
    cfg = read(name)
    model = cfg.model
    train = pipeline(cfg)
    assert list(train) == [
        'LoadImageFromFile',
        'LoadAnnotations',
        'RandomChoiceResize',
        'RandomCrop',
        'RandomFlip',
        'PackSegInputs',
    ]
    sides = [side for _, side in train['RandomChoiceResize']['scales']]
    assert (sides[0], sides[1], sides[-1], len(sides)) == (512, 544, 2048, 49)
    assert train['RandomCrop'] == {'crop_size': [768, 768]}
    assert train['RandomFlip'] == {'prob': 0.5}
    assert pipeline(cfg, 'test')['Resize'] == {'scale': [2048, 1024], 'keep_ratio': True}
    assert list(model.data_preprocessor.size) == [768, 768]
    backbone = model.backbone
    assert (backbone.type, backbone.depth) == ('ResNetV1c', 101)
    assert plain(backbone.norm_cfg) == {'type': 'SyncBN', 'requires_grad': True}
    assert backbone.norm_eval is False
    assert backbone.init_cfg.checkpoint == 'open-mmlab://resnet101_v1c'
    head = model.decode_head.get('coarse_head', model.decode_head)
    if name == DEEPLAB_OS8:
        strides, dilations, rates = [1, 2, 1, 1], [1, 1, 2, 4], [1, 12, 24, 36]
        last_stage, third_stage = [4, 8, 16], [1, *[2] * 22]
    else:
        strides, dilations, rates = [1, 2, 2, 1], [1, 1, 1, 2], [1, 6, 12, 18]
        last_stage, third_stage = [2, 4, 8], [1] * 23
    assert (plain(backbone.strides), plain(backbone.dilations)) == (strides, dilations)
    assert (head.type, plain(head.dilations), head.num_classes) == ('ASPPHead', rates, 19)
    # What mmseg makes of it: multi-grid of (1, 2, 4) times the rate, on the last stage alone.
    built = build_empty(cfg).backbone
    for layer, expected in ((built.layer4, last_stage), (built.layer3, third_stage)):
        assert [block.conv2.dilation for block in layer] == [(rate, rate) for rate in expected]
    assert model.auxiliary_head is None
    assert model.test_cfg.mode == 'whole'


def test_output_stride_8_takes_the_weights_of_16(read):
    weights = build(read(DEEPLAB)).state_dict()
    assert build(read(DEEPLAB_OS8)).load_state_dict(weights, strict=True)
    assert differences(plain(read(DEEPLAB)), plain(read(DEEPLAB_OS8))) == {
        'model.backbone.strides': [1, 2, 1, 1],
        'model.backbone.dilations': [1, 1, 2, 4],
        'model.backbone.multi_grid': [4, 8, 16],
        'model.decode_head.dilations': [1, 12, 24, 36],
    }


SEMANTIC_FPN = [FPN, FPN_P3, f'pointrend_{FPN}', f'pointrend_{FPN_P3}', STUFF, DETECTRON2]


@pytest.mark.parametrize('name', SEMANTIC_FPN)
def test_semantic_fpn(read, name):
    cfg = read(name)
    model = cfg.model
    stuff = name == STUFF
    train, test = pipeline(cfg), pipeline(cfg, 'test')
    if stuff:
        longest, sides = 1333, [640, 672, 704, 736, 768, 800]
        assert {'RandomCrop', 'PhotoMetricDistortion'}.isdisjoint(train)
        assert test['Resize'] == {'scale': [1333, 800], 'keep_ratio': True}
        assert model.data_preprocessor.size_divisor == 32
        assert plain(model.data_preprocessor.test_cfg) == {'size_divisor': 32}
    else:
        longest = 4096
        if name == DETECTRON2:
            sides = [512, 768, 1024, 1280, 1536, 1792, 2048]
        else:
            sides = list(range(512, 2080, 32))
            assert (len(sides), sides[1], sides[-1]) == (49, 544, 2048)
        assert train['RandomCrop'] == {'crop_size': [512, 1024], 'cat_max_ratio': 0.75}
        assert train['PhotoMetricDistortion'] == {}
        assert test['Resize'] == {'scale': [2048, 1024], 'keep_ratio': True}
        assert list(model.data_preprocessor.size) == [512, 1024]
    assert train['RandomChoiceResize']['scales'] == [[longest, side] for side in sides]
    assert train['RandomFlip'] == {'prob': 0.5}
    assert model.data_preprocessor.mean == [103.53, 116.28, 123.675]
    assert model.data_preprocessor.std == [1.0, 1.0, 1.0]
    assert model.data_preprocessor.bgr_to_rgb is False
    backbone = model.backbone
    depth = 50 if stuff else 101
    assert (backbone.type, backbone.depth, backbone.style) == ('ResNet', depth, 'caffe')
    assert plain(backbone.norm_cfg) == {'type': 'BN', 'requires_grad': False}
    assert (backbone.norm_eval, backbone.frozen_stages) == (True, -1)
    assert backbone.init_cfg.checkpoint == f'open-mmlab://detectron2/resnet{depth}_caffe'
    assert model.pretrained is None
    assert plain(model.neck) == {
        'type': 'FPN',
        'in_channels': [256, 512, 1024, 2048],
        'out_channels': 256,
        'num_outs': 4,
        'init_cfg': {'type': 'Caffe2Xavier', 'layer': 'Conv2d'},
    }
    levels = [1, 2, 3] if 'p3-p5' in name else [0, 1, 2, 3]
    head = plain(model.decode_head.get('coarse_head', model.decode_head))
    assert head == {
        'type': 'FPNHead',
        'in_channels': [256] * len(levels),
        'in_index': levels,
        'feature_strides': [2 ** (level + 2) for level in levels],
        'channels': 128,
        'dropout_ratio': 0,
        'num_classes': 54 if stuff else 19,
        'norm_cfg': {'type': 'GN', 'num_groups': 32, 'requires_grad': True},
        'align_corners': False,
        'init_cfg': {
            'type': 'Kaiming',
            'mode': 'fan_out',
            'nonlinearity': 'relu',
            'override': {'name': 'conv_seg'},
        },
        'loss_decode': CROSS_ENTROPY,
    }


def test_semantic_fpn_starts_as_detectron2s(read):
    torch.manual_seed(0)
    model = build(read(f'pointrend_{FPN}'))
    head, neck = model.decode_head.coarse_head, model.neck
    with DefaultScope.overwrite_default_scope('mmseg'):
        head.init_weights()
        neck.init_weights()
    # c2_xavier_fill: a uniform distribution of variance 1 over the inputs, 128 here for 16 outputs.
    deepest = neck.lateral_convs[-1].conv
    assert deepest.weight.std().item() == pytest.approx((1 / 128) ** 0.5, rel=0.1)
    assert deepest.weight.abs().max() <= (3 / 128) ** 0.5
    # c2_msra_fill: a normal distribution of variance 2 over the outputs, 19 here; 19 x 8 numbers.
    assert head.conv_seg.weight.std().item() == pytest.approx((2 / 19) ** 0.5, rel=0.25)
    assert head.conv_seg.bias.abs().max() == 0


@pytest.mark.parametrize('name', POINTREND)
def test_pointrend_head(read, name):
    model = read(name).model
    deeplab, paper = 'deeplab' in name, name not in (STUFF, DETECTRON2)
    points = 2304 if deeplab else 1024 if name == STUFF else 2048
    assert plain(model.train_cfg) == {
        'num_points': points,
        'oversample_ratio': 3,
        'importance_sample_ratio': 0.75,
    }
    assert plain(model.test_cfg) == {
        'mode': 'whole',
        'subdivision_steps': 4 if deeplab else 3 if 'p3-p5' in name else 2,
        'subdivision_num_points': 8096 if paper else 8192,
        'scale_factor': 2,
    }
    head = model.decode_head
    assert head.uncertainty == ('probabilities' if paper else 'logits')
    assert plain(head.point_head) == {
        'in_channels': [256],
        'in_index': [0],
        'channels': 256,
        'num_fcs': 3,
        'coarse_pred_each_layer': paper,
        'loss_decode': CROSS_ENTROPY,
    }


def test_detectron2s_recipe_differs_from_the_papers_in_four_things(read):
    found = differences(plain(read(f'pointrend_{FPN}')), plain(read(DETECTRON2)))
    assert found.pop('train_pipeline') == found['train_dataloader.dataset.pipeline']
    assert found.keys() == {
        'train_dataloader.dataset.pipeline',
        'model.decode_head.point_head.coarse_pred_each_layer',
        'model.decode_head.uncertainty',
        'model.test_cfg.subdivision_num_points',
    }


@pytest.mark.parametrize('name', SCHEDULES)
def test_losses_are_means_over_labelled_pixels(read, name):
    cfg = read(name)
    model = build(cfg)
    num_classes = 54 if name == STUFF else 19
    samples = batch(cfg, num_classes)['data_samples']
    labels = torch.cat([sample.gt_sem_seg.data for sample in samples])
    assert 0 < (labels == 255).sum() < labels.numel()
    logits = torch.randn(2, num_classes, *labels.shape[1:])
    expected = F.cross_entropy(logits, labels, ignore_index=255)
    coarse = getattr(model.decode_head, 'coarse_head', model.decode_head)
    assert coarse.loss_by_feat(logits, samples)['loss_ce'].allclose(expected)
    if name.startswith('pointrend'):
        points = model.decode_head.point_head.loss(logits.flatten(2), labels.flatten(1))
        assert points['loss_ce'].allclose(expected)


@pytest.mark.parametrize('name', MMSEG)
def test_mmsegs_own_recipe(read, name):
    ours = plain(read(name))
    path = Config._get_cfg_path(f'mmseg::point_rend/{MMSEG[name]}.py', '')[0]
    theirs = plain(Config.fromfile(path))
    model, their_model = ours.pop('model'), theirs.pop('model')
    # mmseg's configs leave a copy of the data preprocessor beside the model.
    size = theirs.pop('data_preprocessor')['size']
    ours.pop('data_preprocessor')
    crop = [512, 512] if 'ade20k' in name else [512, 1024]
    assert size == theirs['crop_size'] == model['data_preprocessor']['size'] == crop
    assert ours == theirs
    coarse, point = their_model.pop('decode_head')
    assert model['decode_head']['coarse_head'] == coarse
    for key in ('type', 'num_classes', 'align_corners', 'dropout_ratio'):
        point.pop(key)
    init = model['decode_head']['point_head'].pop('init_cfg')
    assert model['decode_head']['point_head'] == point
    # mmseg's head has it as a default.
    with DefaultScope.overwrite_default_scope('mmseg'):
        theirs = MODELS.build({'type': 'PointHead', 'num_classes': 19, **point})
    assert isinstance(theirs, PointHead)
    assert init['override']['std'] == theirs.init_cfg['std'] == 0.01
    for key in ('train_cfg', 'test_cfg', 'backbone', 'neck', 'pretrained', 'data_preprocessor'):
        assert model[key] == their_model[key]
    assert coarse['num_classes'] == (150 if 'ade20k' in name else 19)
    assert images_per_iteration(read(name)) == (16 if 'ade20k' in name else 8)
    assert ours['optim_wrapper']['optimizer']['lr'] == 0.01
    assert model['test_cfg']['subdivision_num_points'] == 8196


def test_mmsegs_predictor_starts_ten_times_as_wide_as_detectron2s(read):
    torch.manual_seed(0)
    for name, std in ((next(iter(MMSEG)), 0.01), (DETECTRON2, 0.001)):
        head = build(read(name)).decode_head.point_head
        head.init_weights()
        # 19 x (16 and 19 more inputs or none) numbers; the hidden layers as all others of ReLU.
        assert head.fc_logits.weight.std().item() == pytest.approx(std, rel=0.2)
        assert head.fcs[0].conv.weight.std().item() == pytest.approx((2 / 16) ** 0.5, rel=0.2)


def test_fcn_is_mmsegs_but_for_pointrend(read):
    path = Config._get_cfg_path('mmseg::fcn/fcn_r50-d8_4xb2-80k_cityscapes-512x1024.py', '')[0]
    theirs, ours = plain(Config.fromfile(path)), plain(read(FCN))
    coarse = theirs['model'].pop('decode_head')
    head = ours['model'].pop('decode_head')
    assert head['coarse_head'] == coarse
    assert head['point_head'] == {
        'in_channels': [256],
        'in_index': [0],
        'channels': 256,
        'num_fcs': 3,
        'coarse_pred_each_layer': True,
        'loss_decode': {'type': 'CrossEntropyLoss', 'use_sigmoid': False, 'loss_weight': 1.0},
    }
    assert head['uncertainty'] == 'probabilities'
    assert ours['model'].pop('train_cfg') == {
        'num_points': 2048,
        'oversample_ratio': 3,
        'importance_sample_ratio': 0.75,
    }
    assert ours['model'].pop('test_cfg') == {
        'mode': 'whole',
        'subdivision_steps': 3,
        'subdivision_num_points': 8096,
        'scale_factor': 2,
    }
    del theirs['model']['train_cfg'], theirs['model']['test_cfg']
    # mmseg's configs leave these beside the model, ours the head block.
    for cfg in (ours, theirs):
        cfg.pop('data_preprocessor'), cfg.pop('crop_size')
    del ours['pointrend']
    assert ours == theirs


def test_metrics(read):
    for name in (DEEPLAB, FPN, STUFF):
        mean_iou, boundary = plain(read(name).test_evaluator)
        assert mean_iou == {'type': 'IoUMetric', 'iou_metrics': ['mIoU']}
        assert boundary['dilation_ratio'] == (0.02 if name == STUFF else 0.005)
