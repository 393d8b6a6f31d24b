# Copyright (c) The mmpointrend authors.
"""Fine features from the backbone behind a neck, and from layers that a backbone does not return."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG_MODELS
from tiny_heads import build_segmentor, fpn_head, point_head, pointrend, semantic_batch

from mmpointrend.engine.checks.settings import check_model, single_pixel_norms
from mmpointrend.errors import ConfigError

BACKBONE = {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'norm_cfg': {'type': 'BN'}}
NECK = {'type': 'FPN', 'in_channels': [8, 16, 32, 64], 'out_channels': 16, 'num_outs': 4}


def _tapped(part, kind, **keys):
    return {**part, 'type': f'mmpointrend.{kind}', 'of': f'mmseg.{part["type"]}', **keys}


def _points_of(name, channels=8):
    return {**point_head(), 'in_index': name, 'in_channels': channels}


@pytest.mark.parametrize(
    ('name', 'parts'),
    [
        ('backbone.0', {'neck': _tapped(NECK, 'TappedNeck')}),
        (
            'backbone.layer1',
            {
                'backbone': _tapped(BACKBONE, 'TappedBackbone', layers=['layer1']),
                'neck': _tapped(NECK, 'TappedNeck'),
            },
        ),
    ],
)
def test_the_first_stage_behind_a_neck(name, parts):
    model = build_segmentor(pointrend(fpn_head(), _points_of(name)), **parts)
    plain = build_segmentor(fpn_head(), train_cfg={}, test_cfg={'mode': 'whole'})
    assert [key for key in model.state_dict() if 'decode' not in key] == [
        key for key in plain.state_dict() if 'decode' not in key
    ]
    inputs, samples = semantic_batch()
    losses = model.loss(inputs, samples)
    assert losses['decode.point.loss_ce'] > 0
    copied = copy.deepcopy(model).eval()
    for one in (model.eval(), copied):
        levels = one.extract_feat(inputs)
        torch.testing.assert_close(levels.kept[name], one.backbone(inputs)[0])
        assert one.decode_head._fine_levels(levels)[0] is levels.kept[name]
        assert len(levels) == 4 and levels[0].shape[1] == 16
        assert one.predict(inputs, copy.deepcopy(samples))[0].seg_logits.data.isfinite().all()
    # Nothing of an image lives on in the model.
    assert not [
        hook for hook in model.backbone._forward_hooks.values() if getattr(hook, 'kept', None)
    ]


def test_a_backbone_that_returns_one_map_when_it_is_tested():
    """DDRNet gives its head a pair in training and one map in testing."""
    config = ConfigDict(
        type='EncoderDecoder',
        backbone={
            'type': 'mmpointrend.TappedBackbone', 'of': 'mmseg.DDRNet', 'layers': ['stem.2'],
            'in_channels': 3, 'channels': 8, 'ppm_channels': 8, 'norm_cfg': {'type': 'BN'},
        },
        decode_head=pointrend(
            {
                'type': 'DDRHead', 'in_channels': 32, 'channels': 8, 'num_classes': 5,
                'loss_decode': [{'type': 'OhemCrossEntropy', 'loss_weight': w} for w in (1.0, 0.4)],
            },
            _points_of('backbone.stem.2'),
        ),
        train_cfg={'num_points': 30},
        test_cfg={'mode': 'whole', 'subdivision_steps': 3, 'subdivision_num_points': 50},
    )  # fmt: skip
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG_MODELS.build(config)
    inputs, samples = semantic_batch()
    losses = model.loss(inputs, samples)
    assert {'decode.coarse.loss_context', 'decode.coarse.loss_spatial'} < losses.keys()
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    assert model.backbone.stem[0].conv.weight.grad.abs().sum() > 0
    assert model.eval().predict(inputs, samples)[0].seg_logits.data.isfinite().all()


@pytest.mark.parametrize(
    ('parts', 'name', 'message'),
    [
        (
            {},
            'backbone.0',
            r"in_index names 'backbone\.0', but nothing is kept: set model\.neck\.type",
        ),
        (
            {'neck': _tapped(NECK, 'TappedNeck')},
            'backbone.layer1',
            r"names 'backbone\.layer1', but kept are backbone\.0, backbone\.1",
        ),
    ],
)
def test_a_level_that_nobody_keeps_is_refused(parts, name, message):
    model = build_segmentor(pointrend(fpn_head(), _points_of(name)), **parts)
    with pytest.raises(ConfigError, match=message):
        model.loss(*semantic_batch())


def test_a_layer_that_the_backbone_lacks_is_refused():
    backbone = _tapped(BACKBONE, 'TappedBackbone', layers=['res2'])
    with pytest.raises(ConfigError, match=r"layers names 'res2', which ResNet.*layer1"):
        build_segmentor(pointrend(), backbone=backbone)


def test_the_runners_look_at_a_model_sees_levels_that_are_kept():
    neck = _tapped(NECK, 'TappedNeck')
    model = build_segmentor(pointrend(fpn_head(), _points_of('backbone.0')), neck=neck)
    check_model(model)
    assert single_pixel_norms(model) == []
    model = build_segmentor(pointrend(fpn_head(), _points_of('backbone.0', 16)), neck=neck)
    with pytest.raises(ConfigError, match=r'set in_channels to \[8\]'):
        check_model(model)
