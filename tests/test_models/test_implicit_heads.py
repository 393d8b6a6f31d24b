# Copyright (c) The mmpointrend authors.
"""Implicit PointRend as an RoI head: the loss, no instance, batches, both ways of rendering, refusals."""

import pytest
import torch
import torch.nn.functional as F
from mmdet.structures.bbox import bbox2roi
from tiny_heads import (
    META,
    build_roi_head,
    detections,
    feature_levels,
    implicit_config,
    predict,
    roi_losses,
)

from mmpointrend.errors import ConfigError
from mmpointrend.points import sample_features
from mmpointrend.visualization import record_subdivision


def ask(head, level, roi, label, in_box):
    """Logits (1, 1, P) of points of one RoI by the heads themselves."""
    with torch.no_grad():
        parameters = head._mask_forward([level], roi)['mask_preds'].flatten(1)
        size = torch.tensor([level.shape[-1], level.shape[-2]]) * 4
        at = (in_box * (roi[:, None, 3:] - roi[:, None, 1:3]) + roi[:, None, 1:3]) / size
        features = sample_features(level, at, roi[:, 0].long())
        return head.point_head(in_box, [features], parameters, label)


@pytest.mark.parametrize('strategy', ['UniformSelection', 'RegularGridSelection'])
@pytest.mark.parametrize('levels', [(4,), (4, 8)])
def test_every_parameter_learns(strategy, levels):
    config = implicit_config(levels)
    config.train_cfg.point_selection.type = strategy
    head = build_roi_head(config)
    losses, gradients, _ = roi_losses(head, feature_levels(), (3, 2))
    assert losses.keys() >= {'loss_point', 'loss_parameters'}
    assert 'loss_mask' not in losses
    assert all(gradient.abs().sum() > 0 for gradient in gradients.values())


@pytest.mark.parametrize('counts', [(0, 0), (0, 3)])
def test_training_without_instances(counts):
    losses, gradients, _ = roi_losses(build_roi_head(implicit_config()), feature_levels(), counts)
    for name in ('loss_point', 'loss_parameters'):
        assert torch.isfinite(losses[name])
        assert (losses[name] == 0) == (sum(counts) == 0)
    assert all(gradient is not None for gradient in gradients.values())


def test_losses_are_the_definitions(monkeypatch):
    head = build_roi_head(implicit_config())
    seen = {}

    def point_loss(logits, targets):
        seen.update(logits=logits, targets=targets)
        return F.binary_cross_entropy_with_logits(logits[:, 0], targets)

    monkeypatch.setattr(head.point_head, 'loss', point_loss)
    monkeypatch.setattr(head.mask_head, 'l2_weight', 0.5)
    outputs = []
    head.mask_head.register_forward_hook(lambda *call: outputs.append(call[-1].detach()))
    losses, _, _ = roi_losses(head, feature_levels(), (3, 2))
    torch.testing.assert_close(losses['loss_parameters'], 0.5 * (outputs[0] ** 2).mean())
    # Uniform points: the targets are values of masks, about half of them 1 in the blobs of the test.
    assert seen['targets'].shape == (len(outputs[0]), 196)
    assert seen['targets'].min() >= 0 and 0.2 < seen['targets'].mean() < 0.8


def test_rendering_starts_from_a_predicted_grid():
    head = build_roi_head(implicit_config())
    x, results = feature_levels(), detections([2, 1])
    with record_subdivision(head) as recording:
        predict(head, x, results)
    shapes = [tuple(step.logits.shape[-2:]) for step in recording[0]]
    assert shapes == [(28, 28), (56, 56), (112, 112), (224, 224)]
    centres = (torch.arange(28) + 0.5) / 28
    rows, columns = torch.meshgrid(centres, centres, indexing='ij')
    grid = torch.stack([columns, rows], dim=-1).view(1, -1, 2)
    rois = bbox2roi([instances.bboxes for instances in results])
    labels = torch.cat([instances.labels for instances in results])
    for region in range(3):
        own = slice(region, region + 1)
        expected = ask(head, x[0], rois[own], labels[own], grid).view(28, 28)
        torch.testing.assert_close(recording[0][0].logits[region, 0], expected)


@pytest.mark.parametrize('adaptive', [True, False])
def test_a_batch_is_its_images(adaptive):
    config = implicit_config()
    config.test_cfg.adaptive_resolution = adaptive
    head, x, results = build_roi_head(config), feature_levels(), detections([3, 0])
    together = predict(head, x, results)
    assert together[1].shape == (0, *META['ori_shape'])
    alone = predict(head, [level[:1] for level in x], results[:1])
    assert torch.equal(together[0], alone[0])
    assert 0.01 < alone[0].float().mean() < 0.5
    assert [len(masks) for masks in predict(head, x, detections([0, 0]))] == [0, 0]


def test_adaptive_masks_are_the_point_heads_answers():
    config = implicit_config()
    config.test_cfg.update(adaptive_resolution=True, subdivision_num_points=100**2)
    head, x, results = build_roi_head(config), feature_levels(), detections([2, 0])
    masks = predict(head, x, results, rescale=False)[0]
    height, width = META['ori_shape']
    rows, columns = torch.meshgrid(
        torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing='ij'
    )
    centres = torch.stack([columns, rows], dim=-1).view(1, -1, 2)
    rois = bbox2roi([results[0].bboxes])
    for region, box in enumerate(results[0].bboxes):
        in_box = (centres - box[:2]) / (box[2:] - box[:2])
        own = slice(region, region + 1)
        logits = ask(head, x[0], rois[own], results[0].labels[own], in_box)
        inside = ((in_box >= 0) & (in_box < 1)).all(dim=-1)
        expected = ((logits[0] >= 0) & inside).view(height, width)
        assert (masks[region] != expected).sum() <= 1


def test_tensor_mode_renders():
    *_, parameters, rendered = build_roi_head(implicit_config())(
        feature_levels(), detections([2, 1])
    )
    assert parameters.shape[0] == 3 and rendered.shape == (3, 1, 224, 224)


def test_training_on_predicted_boxes_is_possible():
    config = implicit_config()
    config.train_cfg.train_on_pred_boxes = True
    losses, _, _ = roi_losses(build_roi_head(config), feature_levels(), (3, 2))
    assert losses['loss_point'] > 0


def test_mixed_precision_trains_and_predicts():
    head = build_roi_head(implicit_config())
    with torch.autocast('cpu', torch.bfloat16):
        losses, gradients, _ = roi_losses(head, feature_levels(), (3, 2))
        masks = predict(head, feature_levels(), detections([3, 2]))
    assert torch.isfinite(losses['loss_point'])
    assert all(gradient.isfinite().all() for gradient in gradients.values())
    full = predict(head, feature_levels(), detections([3, 2]))
    assert (torch.cat(masks) != torch.cat(full)).float().mean() < 0.01


def test_initialisation_is_that_of_detectron2():
    config = implicit_config()
    config.mask_head.fc_out_channels = 256
    head = build_roi_head(config).mask_head
    torch.manual_seed(0)
    head.init_weights()
    assert head.fc_logits.weight.std().item() == pytest.approx(0.001, rel=0.05)
    assert head.fc_logits.bias.abs().max() == 0


@pytest.mark.parametrize(
    ('path', 'value', 'message'),
    [
        ('test_cfg.subdivision_num_points', 700, 'square number, such as 676'),
        (
            'test_cfg.subdivision_num_points',
            None,
            'subdivision_num_points is None: set it to an integer',
        ),
        ('test_cfg.output_size', 200, 'cannot be reached from a coarse prediction of 28'),
        ('point_head.num_classes', 3, 'point_head.num_classes is 3'),
        ('point_head.in_channels', 32, 'set it to 16'),
        (
            'point_head.type',
            'MaskPointHead',
            "point_head is .*needs 'mmpointrend.ImplicitPointHead'",
        ),
        ('mask_head.type', 'CoarseMaskHead', "mask_head is .*needs 'mmpointrend.ParameterHead'"),
        ('train_cfg.point_selection', None, "set point_selection=dict.type='UniformSelection'"),
        ('mask_head.in_channels', 7, 'set mask_head.in_channels to 16'),
    ],
)
def test_a_config_that_cannot_work_is_refused(path, value, message):
    config = implicit_config()
    part, key = path.split('.')
    config[part][key] = value
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def test_without_a_test_config_it_trains():
    config = implicit_config()
    config.test_cfg = None
    losses, _, _ = roi_losses(build_roi_head(config), feature_levels(), (2, 1))
    assert losses['loss_point'] > 0
