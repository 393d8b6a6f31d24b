# Copyright (c) The mmpointrend authors.
"""Coarse heads of more than one map: cascades, and mmseg's heads that return several."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG_MODELS
from tiny_heads import (
    HEIGHT,
    NUM_CLASSES,
    WIDTH,
    build_segmentor,
    fpn_head,
    point_head,
    pointrend,
    semantic_batch,
)

OF_ONE_LEVEL = {'in_channels': 16, 'in_index': 1, 'channels': 8, 'num_classes': NUM_CLASSES}
OCR = {'type': 'OCRHead', 'ocr_channels': 8, **OF_ONE_LEVEL, 'dropout_ratio': 0}
FCN = {'type': 'FCNHead', **OF_ONE_LEVEL, 'num_convs': 1, 'dropout_ratio': 0}
KNET = {
    'type': 'IterativeDecodeHead',
    'num_stages': 2,
    'kernel_generate_head': FCN,
    'kernel_update_head': [
        {
            'type': 'KernelUpdateHead',
            'num_classes': NUM_CLASSES,
            'num_ffn_fcs': 2,
            'num_heads': 2,
            'num_mask_fcs': 1,
            'feedforward_channels': 8,
            'in_channels': 8,
            'out_channels': 8,
            'feat_transform_cfg': {'conv_cfg': {'type': 'Conv2d'}, 'act_cfg': None},
            'kernel_updator_cfg': {
                'type': 'KernelUpdator',
                'in_channels': 8,
                'feat_channels': 8,
                'out_channels': 8,
            },
        }
    ]
    * 2,
}
SEVERAL_MAPS = {
    'DANet': {'type': 'DAHead', 'pam_channels': 4, **OF_ONE_LEVEL},
    'EncNet': {
        'type': 'EncHead',
        'in_channels': [16] * 3,
        'in_index': [0, 1, 2],
        'channels': 8,
        'num_codes': 4,
        'num_classes': NUM_CLASSES,
        'loss_se_decode': {'type': 'CrossEntropyLoss', 'use_sigmoid': True},
    },
    'K-Net': KNET,
}


@pytest.mark.parametrize('name', SEVERAL_MAPS)
def test_heads_of_several_maps_train_with_all_their_losses_and_refine_their_prediction(name):
    config = SEVERAL_MAPS[name]
    model = build_segmentor(
        pointrend(copy.deepcopy(config)), test_cfg={'mode': 'whole', 'subdivision_steps': 0}
    )
    head, (inputs, samples) = model.decode_head, semantic_batch()
    losses = model.loss(inputs, samples)
    with DefaultScope.overwrite_default_scope('mmseg'):
        alone = MMSEG_MODELS.build(copy.deepcopy(config))
    alone.load_state_dict(head.coarse_head.state_dict(), strict=True)
    model.eval(), alone.eval()
    levels = model.extract_feat(inputs)
    # Without a step of subdivision the answer is the head's own.
    with torch.no_grad():
        theirs = alone.predict(levels, [sample.metainfo for sample in samples], {})
        ours = head.predict(levels, [sample.metainfo for sample in samples], model.test_cfg)
    torch.testing.assert_close(ours, theirs)
    names = {key.removeprefix('decode.coarse.') for key in losses if '.coarse.' in key}
    alone.train()
    assert names == set(alone.loss(levels, samples, {})) and len(names) > 2
    assert losses['decode.point.loss_ce'] > 0


def _without_pointrend(model):
    return {
        key.replace('decode_head.coarse_head.', 'decode_head.'): value
        for key, value in model.state_dict().items()
        if '.point_head.' not in key
    }


def _cascade(**changes):
    return build_segmentor(pointrend([copy.deepcopy(FCN), copy.deepcopy(OCR)]), **changes)


def _ocrnet():
    config = ConfigDict(
        type='CascadeEncoderDecoder',
        num_stages=2,
        backbone={'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'norm_cfg': {'type': 'BN'}},
        neck={'type': 'FPN', 'in_channels': [8, 16, 32, 64], 'out_channels': 16, 'num_outs': 4},
        decode_head=[copy.deepcopy(FCN), copy.deepcopy(OCR)],
        train_cfg={},
        test_cfg={'mode': 'whole'},
    )
    with DefaultScope.overwrite_default_scope('mmseg'):
        return MMSEG_MODELS.build(config)


def test_a_cascade_has_the_losses_and_the_map_of_mmsegs():
    theirs, ours = _ocrnet(), _cascade(test_cfg={'mode': 'whole', 'subdivision_steps': 0})
    missing = ours.load_state_dict(theirs.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all('point_head' in key for key in missing.missing_keys)
    inputs, samples = semantic_batch()
    expected, losses = theirs.loss(inputs, samples), ours.loss(inputs, samples)
    for stage, name in (('decode_0', 'decode.coarse_0'), ('decode_1', 'decode.coarse')):
        for key in ('loss_ce', 'acc_seg'):
            torch.testing.assert_close(losses[f'{name}.{key}'], expected[f'{stage}.{key}'])
    # Running means of the first head moved twice in theirs, which runs it twice a step.
    theirs.load_state_dict(_without_pointrend(ours))
    theirs.eval(), ours.eval()
    with torch.no_grad():
        maps = [
            model.encode_decode(inputs, [sample.metainfo for sample in samples])
            for model in (theirs, ours)
        ]
    torch.testing.assert_close(*maps)


def test_a_cascade_renders_and_predicts_points():
    model = _cascade().eval()
    inputs, samples = semantic_batch()
    logits = model.predict(inputs, samples)[0].seg_logits.data
    assert logits.shape == (NUM_CLASSES, HEIGHT, WIDTH)
    with torch.no_grad():
        levels = model.extract_feat(inputs)
        assert model.decode_head.predict_points(levels, torch.rand(2, 7, 2)).shape == (2, 5, 7)


def test_weights_of_the_model_without_pointrend_load_into_the_coarse_head():
    plain = build_segmentor(fpn_head(), train_cfg={}, test_cfg={'mode': 'whole'})
    model = build_segmentor(pointrend())
    missing = model.load_state_dict(plain.state_dict(), strict=False)
    assert not missing.unexpected_keys
    assert all(key.startswith('decode_head.point_head.') for key in missing.missing_keys)
    for key, value in plain.decode_head.state_dict().items():
        assert torch.equal(model.decode_head.coarse_head.state_dict()[key], value)


@pytest.mark.parametrize('ignored', [255, 4])
def test_hard_example_mining_at_points(ignored):
    loss = {'type': 'OhemCrossEntropy', 'thres': 0.9, 'min_kept': 20, 'ignore_label': ignored}
    config = {**point_head(), 'loss_decode': loss}
    if ignored != 255:
        with pytest.raises(Exception, match='ignores label 4, but the ignore_index'):
            build_segmentor(pointrend(None, config))
        return
    assert (
        build_segmentor(pointrend(None, config)).loss(*semantic_batch())['decode.point.loss_ohem']
        > 0
    )
