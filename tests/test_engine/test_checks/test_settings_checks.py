# Copyright (c) The mmpointrend authors.
"""Settings of a whole model, which its parts do not see when they are built."""

import copy

import pytest
import torch
from mmengine.config import ConfigDict
from tiny_heads import build_segmentor, fpn_head, point_head, pointrend, semantic_batch

from mmpointrend.engine.checks import (
    check_model,
    check_model_config,
    check_test_settings,
    check_train_settings,
)
from mmpointrend.engine.checks.settings import single_pixel_norms
from mmpointrend.errors import ConfigError

RCNN = {'type': 'mmpointrend.PointRendRoIHead'}


@pytest.mark.parametrize(
    ('cfg', 'message'),
    [
        (
            {'decode_head': [{'type': 'FPNHead'}, {'type': 'mmpointrend.PointRendHead'}]},
            r'model\.decode_head is a list of 2, as in the CascadeEncoderDecoder of mmseg: set it to',
        ),
        (
            {'roi_head': RCNN, 'test_cfg': {'rcnn': [{}, {}, {}]}},
            r'test_cfg\.rcnn is a list of 3, as for a cascade of heads',
        ),
        (
            {'roi_head': RCNN, 'test_cfg': {'rcnn': {}}, 'train_cfg': {'rcnn': [{}]}},
            r'train_cfg\.rcnn is a list of 1, as for a cascade',
        ),
        ({'roi_head': RCNN}, r'model\.test_cfg is None: set it to a dict with rcnn'),
        (
            {'roi_head': RCNN, 'rpn_head': {}, 'test_cfg': {'rcnn': {}}},
            r"model\.test_cfg is \{'rcnn': \{\}\}: set it to a dict with rpn and rcnn",
        ),
    ],
)
def test_a_models_config_is_checked_before_it_is_built(cfg, message):
    with pytest.raises(ConfigError, match=message):
        check_model_config(ConfigDict(cfg))
    with pytest.raises(ConfigError, match=message):
        check_model_config(ConfigDict(type='SegTTAModel', module=cfg))


@pytest.mark.parametrize(
    'cfg',
    [
        {'decode_head': [{'type': 'FCNHead'}, {'type': 'PointHead'}]},
        {'decode_head': {'type': 'mmpointrend.PointRendHead'}},
        {'roi_head': {'type': 'CascadeRoIHead'}, 'test_cfg': {'rcnn': [{}]}},
        {
            'roi_head': {'type': 'mmpointrend.CascadePointRendRoIHead', 'num_stages': 2},
            'train_cfg': {'rcnn': [{}, {}]},
            'test_cfg': {'rcnn': {}},
        },
        {'roi_head': RCNN, 'test_cfg': {'rcnn': {}}},
    ],
)
def test_other_models_pass(cfg):
    check_model_config(ConfigDict(cfg))


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'in_index': [4]}, r'point_head\.in_index is \[4\].*4 feature levels: choose from 0 to 3'),
        ({'in_channels': [32]}, r'point_head\.in_channels is \[32\].*set in_channels to \[16\]'),
    ],
)
def test_feature_levels_are_looked_at_when_the_model_is_built(changes, message):
    with pytest.raises(ConfigError, match=message):
        check_model(build_segmentor(pointrend(None, {**point_head(), **changes})))


def test_looking_changes_nothing():
    model = build_segmentor(pointrend())
    model.backbone.eval()
    before = copy.deepcopy(model.state_dict())
    flags = [module.training for module in model.modules()]
    state = torch.get_rng_state()
    check_model(model)
    assert torch.equal(state, torch.get_rng_state())
    assert flags == [module.training for module in model.modules()]
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())


def test_a_backbone_that_fails_says_so_itself():
    model = build_segmentor(pointrend())
    model.backbone = torch.nn.Linear(3, 3)
    check_model(model)


WHOLE = {'mode': 'whole'}
SLIDE = {'mode': 'slide', 'crop_size': (64, 64), 'stride': (48, 48)}


@pytest.mark.parametrize(
    ('test_cfg', 'message'),
    [
        ({}, r"model\.test_cfg\.mode is None: set it to 'whole' or 'slide'"),
        ({'modes': 'whole'}, r'mode is None \(there is modes\)'),
        (None, r'model\.test_cfg is None: set it to one dict'),
        (
            {**WHOLE, 'subdivision_steps': -1},
            r'model\.test_cfg\.subdivision_steps is -1: set it to',
        ),
        (
            {**WHOLE, 'subdivision_steps': 40},
            r'steps is 40 with a scale_factor of 2: sides of more',
        ),
        ({**WHOLE, 'scale_factor': 2.5}, r'model\.test_cfg\.scale_factor is 2\.5'),
        (
            {'mode': 'slide', 'stride': (1, 1)},
            r'model\.test_cfg\.crop_size is None: set it to a list',
        ),
        ({**SLIDE, 'stride': 48}, r'model\.test_cfg\.stride is 48: set it to a list of 2 values'),
        ({**SLIDE, 'stride': (65, 48)}, r'stride is \(65, 48\), more than crop_size \(64, 64\)'),
    ],
)
def test_test_cfg_is_checked_before_the_first_validation(test_cfg, message):
    model = build_segmentor(pointrend())
    model.test_cfg = test_cfg if test_cfg is None else ConfigDict(test_cfg)
    with pytest.raises(ConfigError, match=message):
        check_test_settings(model)


@pytest.mark.parametrize('test_cfg', [WHOLE, SLIDE, {**WHOLE, 'subdivision_steps': 0}])
def test_test_cfg_that_works_passes(test_cfg):
    model = build_segmentor(pointrend())
    model.test_cfg = ConfigDict(test_cfg)
    check_test_settings(model)
    check_model(model)


def test_train_cfg_is_checked_before_the_first_step():
    model = build_segmentor(pointrend(), train_cfg={'num_point': 3})
    with pytest.raises(ConfigError, match=r'num_points is None \(there is num_point\)'):
        check_train_settings(model)
    check_train_settings(build_segmentor(pointrend()))
    check_train_settings(build_segmentor(fpn_head(), train_cfg={}))


def pooling_head(**norm):
    """Config of a head that pools its map to one pixel, as PSPHead and ASPPHead do."""
    return {
        'type': 'PSPHead',
        'in_channels': 16,
        'in_index': 3,
        'channels': 8,
        'pool_scales': (1, 2),
        'num_classes': 5,
        'norm_cfg': norm,
    }


def test_normalisations_of_a_single_pixel_are_found():
    model = build_segmentor(pointrend(pooling_head(type='BN')))
    assert single_pixel_norms(model) == ['decode_head.coarse_head.psp_modules.0.1.bn']
    inputs, samples = semantic_batch(images=1)
    with pytest.raises(ValueError, match='Expected more than 1 value per channel'):
        model.loss(inputs, samples)
    assert single_pixel_norms(build_segmentor(pooling_head(type='BN'))) != []


def test_others_are_none():
    assert single_pixel_norms(build_segmentor(pointrend())) == []
    model = build_segmentor(pointrend(pooling_head(type='GN', num_groups=2)))
    assert single_pixel_norms(model) == []
    model.loss(*semantic_batch(images=1))
    synchronised = build_segmentor(pointrend(pooling_head(type='SyncBN')))
    assert single_pixel_norms(synchronised, synchronised=True) == []
    assert single_pixel_norms(synchronised) != []
