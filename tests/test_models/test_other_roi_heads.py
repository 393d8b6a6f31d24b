# Copyright (c) The mmpointrend authors.
"""PointRend on the other two-stage models of mmdet: mask scoring, PISA, GRoIE, C4 with the backbone's levels."""

import copy

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import DefaultScope
from tiny_heads import (
    META,
    NUM_CLASSES,
    build_roi_head,
    detections,
    feature_levels,
    predict,
    roi_head_config,
    roi_losses,
    training_batch,
)

from mmpointrend.errors import ConfigError
from mmpointrend.models.taps import Levels


def mask_scoring_config(mask_head=None):
    """Mask Scoring R-CNN's RoI head with PointRend."""
    config = roi_head_config()
    config.type = 'mmpointrend.MaskScoringPointRendRoIHead'
    config.mask_iou_head = {
        'type': 'MaskIoUHead',
        'num_convs': 2,
        'num_fcs': 1,
        'conv_out_channels': 16,
        'fc_out_channels': 32,
    }
    config.train_cfg.mask_thr_binary = 0.5
    if mask_head is not None:
        config.mask_head = mask_head
        config.train_cfg.mask_size = None
        config.test_cfg.subdivision_steps = 3
    return config


STANDARD_MASK_HEAD = {'type': 'FCNMaskHead', 'num_convs': 1, 'conv_out_channels': 16}


@pytest.mark.parametrize('counts', [(3, 2), (0, 0)])
@pytest.mark.parametrize('mask_head', [None, STANDARD_MASK_HEAD], ids=['coarse', 'standard'])
def test_mask_scoring_trains_its_head_on_the_coarse_mask(mask_head, counts):
    head = build_roi_head(mask_scoring_config(mask_head))
    if mask_head is not None:
        # The IoU of an empty mask is 0 and trains nothing.
        head.mask_head.conv_logits.bias.data += 2
    losses, gradients, _ = roi_losses(head, feature_levels(), counts)
    assert (losses['loss_mask_iou'] > 0) == (sum(counts) > 0)
    assert all(gradient is not None for gradient in gradients.values())


def test_scores_are_those_of_mmdet():
    config = mask_scoring_config(STANDARD_MASK_HEAD)
    ours = build_roi_head(config)
    theirs = copy.deepcopy(config)
    theirs.pop('point_head')
    theirs.type = 'MaskScoringRoIHead'
    theirs.mask_head.update(in_channels=16, num_classes=NUM_CLASSES)
    theirs.mask_iou_head.update(in_channels=16, num_classes=NUM_CLASSES)
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = MMDET_MODELS.build(theirs)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    x, results = feature_levels(), detections([3, 2])
    with torch.no_grad():
        found, expected = (
            head.predict_mask(x, [META] * 2, copy.deepcopy(results)) for head in (ours, theirs)
        )
    for mine, other in zip(found, expected, strict=True):
        torch.testing.assert_close(mine.scores, other.scores, atol=1e-5, rtol=1e-4)
        assert mine.masks.shape == other.masks.shape
        assert not torch.equal(mine.scores, torch.ones(len(mine)))
    with torch.no_grad():
        assert len(ours.predict_mask(x, [META] * 2, detections([0, 0]))[0].scores) == 0


@pytest.mark.parametrize(
    ('key', 'value', 'message'),
    [
        (
            'mask_iou_head',
            {'type': 'MaskIoUHead', 'num_classes': 3},
            'mask_iou_head.num_classes is 3',
        ),
        ('mask_iou_head', None, r'mask_iou_head is None: set it to a dict\(type=...\)'),
        ('train_cfg', {'mask_thr_binary': None}, 'mask_thr_binary is None'),
    ],
)
def test_mask_scoring_is_refused_in_a_sentence(key, value, message):
    config = mask_scoring_config()
    config.update({key: {**config[key], **value} if key == 'train_cfg' else value})
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def pisa_config():
    """PISA's RoI head with PointRend."""
    config = roi_head_config()
    config.type = 'mmpointrend.PISAPointRendRoIHead'
    config.train_cfg.sampler.update(type='ScoreHLRSampler', k=0.5, bias=0.0)
    config.train_cfg.update(isr={'k': 2.0, 'bias': 0.0}, carl={'k': 1.0, 'bias': 0.2})
    return config


def test_pisas_box_losses_are_mmdets():
    config = pisa_config()
    ours = build_roi_head(config)
    theirs = copy.deepcopy(config)
    theirs.pop('point_head')
    theirs.update(type='PISARoIHead')
    theirs.mask_head.type = 'CoarseMaskHead'
    with DefaultScope.overwrite_default_scope('mmdet'):
        theirs = MMDET_MODELS.build(theirs)
    theirs.load_state_dict(ours.state_dict(), strict=False)
    found = []
    for head in (ours, theirs):
        samples, proposals = training_batch((3, 2))
        torch.manual_seed(4)
        found.append(head.loss(feature_levels(), proposals, samples))
    losses, expected = found
    assert losses.keys() == {*expected, 'loss_point'}
    for name in ('loss_cls', 'loss_bbox', 'loss_carl'):
        torch.testing.assert_close(losses[name], expected[name], atol=1e-5, rtol=1e-4)
    assert losses['loss_point'] > 0


def test_groie_feeds_the_coarse_head_and_points_read_single_levels():
    config = roi_head_config(levels=(4, 8))
    block = {
        'type': 'ConvModule',
        'in_channels': 16,
        'out_channels': 16,
        'kernel_size': 5,
        'padding': 2,
        'inplace': False,
    }
    for key in ('bbox_roi_extractor', 'mask_roi_extractor'):
        size = 7 if key.startswith('bbox') else 14
        config[key] = {
            'type': 'GenericRoIExtractor',
            'aggregation': 'sum',
            'roi_layer': {'type': 'RoIAlign', 'output_size': size, 'sampling_ratio': 2},
            'out_channels': 16,
            'featmap_strides': [4, 8],
            'pre_cfg': block,
        }
    config.point_head.pop('in_channels')
    config.mask_head.pop('in_channels')
    head = build_roi_head(config)
    assert head.point_head.in_channels == 32
    losses, gradients, _ = roi_losses(head, feature_levels(), (2, 1))
    assert losses['loss_point'] > 0
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())


def c4_config():
    """A model without a feature pyramid: heads share a residual stage, points read res2 of the backbone."""
    config = roi_head_config()
    config.shared_head = {
        'type': 'ResLayer',
        'depth': 18,
        'stage': 1,
        'stride': 2,
        'norm_cfg': {'type': 'BN'},
    }
    config.bbox_roi_extractor.update(out_channels=64, featmap_strides=[8])
    config.bbox_roi_extractor.roi_layer.output_size = 14
    config.bbox_head.update(in_channels=128)
    config.mask_roi_extractor = None
    config.mask_head = {'type': 'FCNMaskHead', 'num_convs': 0, 'conv_out_channels': 16}
    config.point_head.update(
        in_index=['backbone.layer1'], featmap_strides=[4], in_channels=16, num_classes=None
    )
    config.point_head.pop('num_classes')
    config.train_cfg.mask_size = None
    config.test_cfg.subdivision_steps = 4
    return config


def c4_levels():
    """What a tapped backbone hands on: the last level, and res2 beside it."""
    (coarse,) = feature_levels((8,), channels=64)
    (fine,) = feature_levels((4,), channels=16)
    return Levels.of((coarse,), {'backbone.layer1': fine})


def test_c4_reads_fine_features_of_the_backbone():
    head = build_roi_head(c4_config())
    assert (head.mask_head.in_channels, head.mask_head.num_classes) == (128, NUM_CLASSES)
    assert head.train_cfg.mask_size == head._coarse_size == 14
    x = c4_levels()
    losses, gradients, _ = roi_losses(head, x, (3, 2))
    assert losses['loss_point'] > 0 and x.kept['backbone.layer1'].grad.abs().sum() > 0
    assert all(gradient is not None for gradient in gradients.values())
    assert predict(head, x, detections([2, 0]))[0].any()
    rois = bbox2roi([found.bboxes for found in detections([2, 0])])
    labels = detections([2, 0])[0].labels
    centre = torch.full((2, 1, 2), 0.5)
    with torch.no_grad():
        logits = head.predict_points(x, rois, labels, centre)
        coarse = head._mask_outputs(x, rois)
        middle = (rois[:, 1:3] + rois[:, 3:]) / 2 / torch.tensor([128.0, 96.0])
        fine = torch.nn.functional.grid_sample(
            x.kept['backbone.layer1'][:1], (2 * middle - 1)[None, None], align_corners=False
        )[0, :, 0].T
        own = coarse[:, :, 6:8, 6:8].mean((2, 3))
        expected = head.point_head(fine[:, None], own[:, None], labels)[:, 0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        (
            {'in_index': [0]},
            r'in_index is \[0\]: set it to a list of values, each the name of a map',
        ),
        ({'featmap_strides': None}, r'featmap_strides is None: set it to a list of 1 values'),
        ({'featmap_strides': [4, 8]}, r'featmap_strides is \[4, 8\]: set it to a list of 1'),
    ],
)
def test_names_and_strides_go_together(changes, message):
    config = c4_config()
    config.point_head.update(changes)
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def test_maps_of_the_backbone_are_checked_when_they_arrive():
    head, x = build_roi_head(c4_config()), c4_levels()
    head.check_features(x, (96, 128))
    (wide,) = feature_levels((4,), channels=32)
    with pytest.raises(ConfigError, match=r'point_head\.in_channels is 16, .* 32 channels'):
        head.check_features(Levels.of(tuple(x), {'backbone.layer1': wide}), (96, 128))
    (small,) = feature_levels((8,), channels=16)
    with pytest.raises(ConfigError, match=r'featmap_strides is \[4\], .* strides 8'):
        head.check_features(Levels.of(tuple(x), {'backbone.layer1': small}), (96, 128))
    with pytest.raises(
        ConfigError, match=r"in_index names 'backbone\.layer1', but nothing is kept"
    ):
        head.check_features(tuple(x), (96, 128))


def test_what_other_parts_say_may_be_left_out():
    full, short = roi_head_config(), roi_head_config()
    for key in ('in_channels', 'num_classes'):
        short.mask_head.pop(key)
        short.point_head.pop(key)
    short.train_cfg.pop('mask_size')
    x, results = feature_levels(), detections([3, 2])
    one, other = build_roi_head(full), build_roi_head(short)
    assert one.state_dict().keys() == other.state_dict().keys()
    for mine, theirs in zip(predict(one, x, results), predict(other, x, results), strict=True):
        assert torch.equal(mine, theirs)
    assert other.train_cfg.mask_size == 7
    short.bbox_head.num_classes = 8
    head = build_roi_head(short)
    assert (head.mask_head.num_classes, head.point_head.num_classes) == (8, 8)


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('mask_head.num_classes', 3, r'mask_head\.num_classes is 3'),
        ('point_head.num_classes', 3, r'point_head\.num_classes is 3'),
        ('point_head.in_channels', 3, r'in_channels is 3, .* set it to 16'),
        ('mask_head.in_channels', 3, r'set mask_head\.in_channels to 16'),
        ('train_cfg.mask_size', 14, r'mask_size is 14, .* set it to 7, or leave it out'),
    ],
)
def test_contradictions_are_still_refused(path, value, message):
    config = roi_head_config()
    part, key = path.split('.')
    config[part][key] = value
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)
