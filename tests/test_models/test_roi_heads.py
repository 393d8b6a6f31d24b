# Copyright (c) The mmpointrend authors.
"""The instance task against mmdet's own PointRend, and where mmdet's is at fault, against what is right."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.structures.bbox import bbox2roi
from mmengine.config import ConfigDict
from tiny_heads import (
    HEIGHT,
    META,
    NUM_CLASSES,
    WIDTH,
    build_roi_head,
    change,
    detections,
    feature_levels,
    predict,
    roi_head_config,
    roi_losses,
    training_batch,
)
from torch import nn

from mmpointrend.engine.checks import check_class_counts
from mmpointrend.errors import ConfigError
from mmpointrend.models import build_selection
from mmpointrend.points import BiasedSelection


@pytest.fixture(params=[(4,), (4, 8)], ids=['one level', 'hypercolumn'])
def pair(request):
    """Our RoI head and mmdet's with the same weights."""
    ours = build_roi_head(roi_head_config('mmpointrend', request.param))
    theirs = build_roi_head(roi_head_config('mmdet', request.param))
    theirs.load_state_dict(ours.state_dict(), strict=True)
    return ours, theirs


def test_refined_logits_are_those_of_mmdet(pair):
    ours, theirs = pair
    x, results = feature_levels(), detections([4, 3])
    with torch.no_grad():
        for image, instances in enumerate(results):
            levels = [level[image : image + 1] for level in x]
            rois = bbox2roi([instances.bboxes])
            coarse = ours._mask_forward(levels, rois)['mask_preds']
            actual = ours._render(levels, rois, instances.labels, coarse)[:, 0]
            expected = theirs._mask_point_forward_test(levels, rois, instances.labels, coarse)
            expected = expected[torch.arange(len(rois)), instances.labels]
            torch.testing.assert_close(actual, expected, atol=1e-4, rtol=0)


def test_masks_are_those_of_mmdet(pair):
    x, results = feature_levels(), detections([5, 4])
    for mine, theirs in zip(*(predict(head, x, results) for head in pair), strict=True):
        assert mine.dtype == torch.bool
        assert mine.shape == theirs.shape
        assert 0.02 < theirs.float().mean() < 0.9
        assert (mine != theirs).float().mean() < 1e-4


@pytest.mark.parametrize('rescale', [True, False])
def test_masks_at_another_size_are_those_of_mmdet(pair, rescale):
    x, results = feature_levels(), detections([3, 3])
    metas = [{**META, 'ori_shape': (48, 160), 'scale_factor': (0.8, 2.0)}] * 2
    for mine, theirs in zip(
        *(predict(head, x, results, metas, rescale) for head in pair), strict=True
    ):
        assert torch.equal(mine, theirs)


def test_boxes_are_rescaled_in_place_as_mmdet_does(pair):
    x, metas = feature_levels(), [{**META, 'scale_factor': (2.0, 4.0)}] * 2
    results = detections([2, 1])
    expected = results[0].bboxes / torch.tensor([2.0, 4.0, 2.0, 4.0])
    with torch.no_grad():
        pair[0].predict_mask(x, metas, results, rescale=True)
    torch.testing.assert_close(results[0].bboxes, expected)


@pytest.mark.parametrize('counts', [(3, 2), (0, 4)])
def test_losses_and_gradients_are_those_of_mmdet(pair, counts):
    x = feature_levels()
    losses, gradients, feature_gradients = zip(
        *(roi_losses(head, x, counts) for head in pair), strict=True
    )
    for name, value in losses[1].items():
        torch.testing.assert_close(losses[0][name], value, atol=1e-5, rtol=1e-4)
    # Candidates whose uncertainties tie but for rounding can change places: a point or two of a thousand.
    for name, value in gradients[1].items():
        assert (gradients[0][name] - value).norm() <= 5e-3 * value.norm()
    for mine, theirs in zip(*feature_gradients, strict=True):
        assert (mine - theirs).norm() <= 5e-3 * theirs.norm()


@pytest.mark.parametrize('roi_layer', ['SimpleRoIAlign', 'RoIAlign'])
def test_gradients_at_the_same_points_are_those_of_mmdet(roi_layer):
    """Without a choice by uncertainty no rounding moves a point: equal but for rounding."""
    gradients = []
    for package in ('mmpointrend', 'mmdet'):
        config = roi_head_config(package)
        config.train_cfg.importance_sample_ratio = 0.0
        config.mask_roi_extractor.roi_layer.type = roi_layer
        torch.manual_seed(0)
        x = feature_levels()
        _, of_parameters, of_levels = roi_losses(build_roi_head(config), x, (3, 2))
        gradients.append([*of_parameters.values(), *of_levels])
    for mine, theirs in zip(*gradients, strict=True):
        assert (mine - theirs).norm() <= 1e-5 * theirs.norm()


@pytest.mark.parametrize('counts', [(0, 0), (0, 3), (3, 0)])
def test_training_without_instances(counts):
    """mmdet: ``RoI is a empty tensor.``"""
    head = build_roi_head(roi_head_config())
    losses, gradients, _ = roi_losses(head, feature_levels(), counts)
    assert {'loss_mask', 'loss_point'} <= losses.keys()
    assert all(torch.isfinite(losses[name]) for name in ('loss_mask', 'loss_point'))
    assert (losses['loss_point'] == 0) == (sum(counts) == 0)
    # Under DDP a parameter without a gradient is an error on that rank.
    assert all(gradient is not None for gradient in gradients.values())


def test_mmdet_falls_over_where_ours_does_not():
    head = build_roi_head(roi_head_config('mmdet'))
    with pytest.raises(AssertionError, match='RoI is a empty tensor'):
        roi_losses(head, feature_levels(), (0, 0))
    with pytest.raises(AssertionError, match='RoI is a empty tensor'):
        predict(head, feature_levels(), detections([2, 0]))


@pytest.mark.parametrize('counts', [(2, 0), (0, 2), (0, 0)])
@pytest.mark.parametrize('rescale', [True, False])
def test_prediction_without_detections(counts, rescale):
    head = build_roi_head(roi_head_config())
    metas = [{**META, 'ori_shape': (48, 160), 'scale_factor': (0.8, 2.0)}] * 2
    masks = predict(head, feature_levels(), detections(counts), metas, rescale)
    size = (48, 160) if rescale else (96, 128)
    assert [mask.shape for mask in masks] == [(count, *size) for count in counts]
    assert all(mask.dtype == torch.bool for mask in masks)


@settings(max_examples=10, deadline=None)
@given(counts=st.lists(st.integers(0, 3), min_size=1, max_size=3))
def test_a_batch_is_its_images(counts):
    head = build_roi_head(roi_head_config())
    x, results = feature_levels(images=len(counts)), detections(counts)
    for image, masks in enumerate(predict(head, x, results)):
        alone = predict(head, [level[image : image + 1] for level in x], [results[image]])[0]
        assert (masks != alone).float().sum() <= 1e-4 * masks.numel()


@pytest.mark.parametrize('coarse_agnostic', [True, False])
@pytest.mark.parametrize('point_agnostic', [True, False])
def test_class_agnostic_heads(coarse_agnostic, point_agnostic):
    """The two flags are independent (detectron2's CLS_AGNOSTIC_MASK is the point head's); mmdet ignores them."""
    config = roi_head_config()
    config.mask_head.class_agnostic = coarse_agnostic
    config.point_head.class_agnostic = point_agnostic
    head = build_roi_head(config)
    channels = 1 if coarse_agnostic else NUM_CLASSES
    assert head.mask_head.fc_logits.out_features == channels * 49
    assert head.point_head.fcs[0].conv.in_channels == 16 + channels
    assert head.point_head.fc_logits.out_channels == (1 if point_agnostic else NUM_CLASSES)
    losses, gradients, _ = roi_losses(head, feature_levels(), (3, 2))
    assert losses['loss_point'] > 0
    assert all(gradient is not None for gradient in gradients.values())
    masks = predict(head, feature_levels(), detections([2, 1]))
    assert [mask.shape for mask in masks] == [(2, HEIGHT, WIDTH), (1, HEIGHT, WIDTH)]
    x, rois = feature_levels(), bbox2roi([results.bboxes for results in detections([2, 1])])
    coarse = head._mask_forward(x, rois)['mask_preds']
    rendered = [head._render(x, rois, torch.full((3,), label), coarse) for label in (0, 3)]
    # All of the 28x28 pixels of the second step are predicted, so nothing is left of where rendering started.
    assert torch.equal(*rendered) == point_agnostic
    dataset = SimpleNamespace(metainfo={'classes': tuple('abcde')})
    check_class_counts(nn.ModuleDict({'roi_head': head}), dataset, 'train_dataloader')


def test_training_on_predicted_boxes_moves_the_positives():
    """Against the definition: the box head's deltas of the ground-truth class, applied without clipping."""
    config = roi_head_config()
    config.train_cfg.train_on_pred_boxes = True
    head = build_roi_head(config)
    seen = {}

    def mask_loss(x, sampling_results, bbox_feats, batch_gt_instances):
        seen['results'] = sampling_results
        return {'loss_mask': {}}

    def bbox_forward(x, rois):
        results = type(head)._bbox_forward(head, x, rois)
        seen['rois'], seen['deltas'] = rois, results['bbox_pred']
        return results

    head.mask_loss, head._bbox_forward = mask_loss, bbox_forward
    samples, proposals = training_batch((3, 2))
    head.loss(feature_levels(), proposals, samples)
    start = 0
    for result in seen['results']:
        for row, (box, label) in enumerate(
            zip(result.pos_priors, result.pos_gt_labels, strict=True)
        ):
            x1, y1, x2, y2 = seen['rois'][start + row, 1:].tolist()
            columns = slice(4 * label, 4 * label + 4)
            scale = torch.tensor([0.1, 0.1, 0.2, 0.2])
            dx, dy, dw, dh = (seen['deltas'][start + row, columns].detach() * scale).tolist()
            width, height = (x2 - x1), (y2 - y1)
            centre_x, centre_y = (x1 + x2) / 2 + dx * width, (y1 + y2) / 2 + dy * height
            half_w = width * torch.tensor(dw).exp() / 2
            half_h = height * torch.tensor(dh).exp() / 2
            expected = [centre_x - half_w, centre_y - half_h, centre_x + half_w, centre_y + half_h]
            torch.testing.assert_close(box, torch.tensor(expected), atol=1e-3, rtol=1e-4)
        assert not result.pos_priors.requires_grad
        start += len(result.priors)


@pytest.mark.parametrize('counts', [(3, 2), (0, 2), (0, 0)])
def test_training_on_predicted_boxes_trains(counts):
    plain = build_roi_head(roi_head_config())
    moved = build_roi_head(change('train_cfg.train_on_pred_boxes', True))
    losses = [roi_losses(head, feature_levels(), counts)[0] for head in (plain, moved)]
    assert losses[0]['loss_bbox'] == losses[1]['loss_bbox']
    assert torch.isfinite(losses[1]['loss_point'])
    assert (losses[0]['loss_point'] == losses[1]['loss_point']) == (sum(counts) == 0)


@pytest.mark.parametrize(
    'strategy', ['UniformSelection', 'RegularGridSelection', 'BiasedSelection']
)
def test_a_config_names_the_selection_strategy(strategy):
    config = roi_head_config()
    config.train_cfg.point_selection = {'type': strategy}
    head = build_roi_head(config)
    assert type(head.point_selection).__name__ == strategy
    assert roi_losses(head, feature_levels(), (2, 1))[0]['loss_point'] > 0


def test_tensor_mode_renders():
    head = build_roi_head(roi_head_config())
    proposals = detections([3, 2])
    scores, deltas, coarse, rendered = head(feature_levels(), proposals)
    assert (len(scores), len(deltas)) == (5, 5)
    assert coarse.shape == (5, NUM_CLASSES, 7, 7)
    assert rendered.shape == (5, 1, 224, 224)


def test_tensor_mode_with_a_loss_that_has_channels_of_its_own():
    """SeesawLoss predicts objectness beside the classes and the background: no class, so no mask of it."""
    config = roi_head_config()
    config.bbox_head.loss_cls = {'type': 'SeesawLoss', 'num_classes': NUM_CLASSES}
    head = build_roi_head(config)
    head.bbox_head.fc_cls.bias.data[NUM_CLASSES:] = 99
    scores, _, _, rendered = head(feature_levels(), detections([3, 2]))
    assert scores.shape == (5, NUM_CLASSES + 2)
    assert rendered.shape == (5, 1, 224, 224)


@pytest.mark.parametrize('norm', [{'type': 'BN1d'}, {'type': 'GN', 'num_groups': 4}])
@pytest.mark.parametrize('counts', [(3, 0), (0, 0)])
def test_normalised_point_heads_train(norm, counts):
    head = build_roi_head(change('point_head.norm_cfg', norm))
    losses, gradients, _ = roi_losses(head, feature_levels(), counts)
    assert torch.isfinite(losses['loss_point'])
    assert all(gradient is not None for gradient in gradients.values())


@pytest.mark.parametrize('regions', [1, 3])
def test_one_point_has_a_loss(regions):
    """mmdet's mask loss takes its only point for a dimension too many."""
    head = build_roi_head(roi_head_config()).point_head
    logits, targets = torch.randn(regions, 1, 1), torch.rand(regions, 1)
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], targets)
    torch.testing.assert_close(head.loss(logits, targets).squeeze(), expected)


def test_a_loss_weight_of_zero_is_no_mistake():
    config = roi_head_config()
    config.point_head.loss_point.loss_weight = 0.0
    assert roi_losses(build_roi_head(config), feature_levels(), (2, 1))[0]['loss_point'] == 0


def test_the_check_of_a_strategy_draws_no_random_number():
    state = torch.get_rng_state()
    build_selection(ConfigDict(num_points=196), 'train_cfg.rcnn')
    assert torch.equal(torch.get_rng_state(), state)


def test_no_strategy_means_the_usual_one():
    head = build_roi_head(change('train_cfg.point_selection', None))
    assert head.point_selection == BiasedSelection(3, 0.75)


def test_the_output_size_stands_in_for_the_steps():
    config = roi_head_config()
    config.test_cfg.update(subdivision_steps=None, output_size=56)
    assert build_roi_head(config).rendering.steps == 3


def test_mmdet_types_under_our_roi_head_become_ours():
    config = roi_head_config()
    config.mask_head.type, config.point_head.type = 'CoarseMaskHead', 'mmdet.MaskPointHead'
    head = build_roi_head(config)
    assert type(head.mask_head).__module__.startswith('mmpointrend.')
    assert type(head.point_head).__module__.startswith('mmpointrend.')


def test_any_mask_head_can_be_the_coarse_one():
    config = roi_head_config()
    loss = config.mask_head.loss_mask
    config.mask_head = dict(
        type='FCNMaskHead',
        num_convs=1,
        in_channels=16,
        conv_out_channels=16,
        num_classes=NUM_CLASSES,
        loss_mask=loss,
    )
    config.train_cfg.mask_size = 28
    config.test_cfg.subdivision_steps = 2
    head = build_roi_head(config)
    assert head(feature_levels(), detections([2, 1]))[-1].shape == (3, 1, 112, 112)
    assert roi_losses(head, feature_levels(), (2, 0))[0]['loss_point'] > 0


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('train_cfg.mask_size', 28, r'train_cfg\.rcnn\.mask_size is 28.*7x7: set it to 7'),
        ('mask_head.num_classes', 4, r'mask_head\.num_classes is 4.*bbox_head\.num_classes is 5'),
        ('point_head.num_classes', 4, r'point_head\.num_classes is 4.*bbox_head\.num_classes is 5'),
        ('point_head.in_channels', 8, r'point_head\.in_channels is 8.*set it to 16'),
        ('mask_head.in_channels', 8, r'mask_head cannot take.*mask_head\.in_channels to 16'),
        ('mask_roi_extractor', None, r'roi_head\.mask_roi_extractor is missing'),
        ('test_cfg.output_size', 200, r'test_cfg\.rcnn\.output_size: an output of 200 cannot'),
        ('test_cfg.output_size', 112, r'output_size of 112 takes 4 steps.*subdivision_steps is 5'),
        ('test_cfg.subdivision_steps', -1, r'subdivision_steps is -1: set it to an integer'),
        ('test_cfg.scale_factor', 1, r'scale_factor is 1: set it to an integer of at least 2'),
        ('test_cfg.subdivision_num_points', 0, r'subdivision_num_points is 0'),
        ('train_cfg.num_points', 0, r'train_cfg\.rcnn\.num_points is 0'),
        ('train_cfg.oversample_ratio', 0.5, r'train_cfg\.rcnn: oversample_ratio is 0\.5'),
        ('train_cfg.point_selection', {'type': 'Nonsense'}, r'Nonsense is not in the'),
        (
            'train_cfg.point_selection',
            {'type': 'RegularGridSelection'},
            r'50: a regular grid needs',
        ),
        ('point_head', None, r'roi_head\.point_head is missing'),
        ('point_head.conv_cfg', {'type': 'Conv2d'}, r'point_head\.conv_cfg'),
        (
            'point_head.norm_cfg',
            {'type': 'BN'},
            r'point_head\.norm_cfg is .*take BN1d, SyncBN or GN',
        ),
        (
            'point_head.loss_point',
            {'type': 'DiceLoss', 'use_sigmoid': True},
            r'loss_point is .*DiceLoss.*it is 0 where every point is wrong',
        ),
        ('point_head.loss_point', {'type': 'CrossEntropyLoss'}, r'loss_point .*use_mask=True'),
    ],
)
def test_a_config_that_cannot_work_is_refused(path, value, message):
    config = change(path, value)
    if value == {'type': 'RegularGridSelection'}:
        config.train_cfg.num_points = 50
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def test_initialisation_is_that_of_detectron2():
    torch.manual_seed(0)
    head = build_roi_head(roi_head_config())
    head.init_weights()
    for predictor in (head.mask_head.fc_logits, head.point_head.fc_logits):
        assert predictor.weight.std().item() == pytest.approx(0.001, rel=0.15)
        assert predictor.bias.abs().sum() == 0
    hidden = head.point_head.fcs[1].conv.weight.detach()
    # MSRA, fan out: 2 / 32 outputs.
    assert hidden.std().item() == pytest.approx((2 / 32) ** 0.5, rel=0.1)
    fc = head.mask_head.fcs[0].weight
    assert fc.abs().max() <= (3 / fc.shape[1]) ** 0.5
    assert fc.abs().max() > 0.95 * (3 / fc.shape[1]) ** 0.5


def test_mixed_precision_trains_and_predicts():
    """``--amp``: convolutions and MLP in bfloat16; masks stay what they are but for rounding."""
    head = build_roi_head(roi_head_config())
    expected = predict(head, feature_levels(), detections([3, 0]))
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses, gradients, _ = roi_losses(head, feature_levels(), (2, 0))
        masks = predict(head, feature_levels(), detections([3, 0]))
    assert torch.isfinite(losses['loss_point'])
    assert all(gradient is not None for gradient in gradients.values())
    assert (masks[0] != expected[0]).float().mean() < 0.01
