# Copyright (c) The mmpointrend authors.
"""PointRend on mmdet's cascades: against mmdet's own heads with the same weights, and what each stage learns."""

import copy

import pytest
import torch
from mmdet.registry import MODELS as MMDET_MODELS
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import DefaultScope
from mmengine.structures import PixelData
from tiny_heads import (
    HEIGHT,
    META,
    NUM_CLASSES,
    WIDTH,
    build_roi_head,
    detections,
    feature_levels,
    roi_head_config,
    spread,
    training_batch,
)

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.mask_sources import mean_of_masks

STAGES = 3


def cascade_config(mask_head='CoarseMaskHead'):
    """Cascade Mask R-CNN's RoI head with PointRend, three stages."""
    config = roi_head_config()
    config.type = 'mmpointrend.CascadePointRendRoIHead'
    config.num_stages, config.stage_loss_weights = STAGES, [1, 0.5, 0.25]
    boxes = config.bbox_head
    config.bbox_head = [copy.deepcopy(boxes) for _ in range(STAGES)]
    for head in config.bbox_head:
        head.reg_class_agnostic = True
    config.train_cfg = [copy.deepcopy(config.train_cfg) for _ in range(STAGES)]
    if mask_head != 'CoarseMaskHead':
        layer = {'type': 'RoIAlign', 'output_size': 14, 'sampling_ratio': 0}
        config.mask_roi_extractor = {
            'type': 'SingleRoIExtractor',
            'roi_layer': layer,
            'out_channels': 16,
            'featmap_strides': [4, 8],
        }
        config.mask_head = {'type': mask_head, 'num_convs': 2, 'conv_out_channels': 16}
        config.point_head.update(featmap_strides=[4])
        config.test_cfg.subdivision_steps = 3
        for settings in config.train_cfg:
            settings.pop('mask_size')
    return config


def semantic(config):
    """The same with HTC's semantic branch."""
    config.semantic_roi_extractor = {
        'type': 'SingleRoIExtractor',
        'roi_layer': {'type': 'RoIAlign', 'output_size': 14, 'sampling_ratio': 0},
        'out_channels': 16,
        'featmap_strides': [8],
    }
    config.semantic_head = {
        'type': 'FusedSemanticHead',
        'num_ins': 2,
        'fusion_level': 1,
        'num_convs': 1,
        'in_channels': 16,
        'conv_out_channels': 16,
        'num_classes': 7,
        'loss_seg': {'type': 'CrossEntropyLoss', 'ignore_index': 255, 'loss_weight': 0.2},
    }
    return config


def htc_config(**options):
    """Hybrid Task Cascade's RoI head with PointRend."""
    config = semantic(cascade_config('HTCMaskHead'))
    config.type = 'mmpointrend.HTCPointRendRoIHead'
    first = {'with_conv_res': False, **config.mask_head}
    config.mask_head = [first, config.mask_head, config.mask_head]
    config.update(options)
    return config


def scnet_config():
    """SCNet's RoI head with PointRend."""
    config = semantic(cascade_config('SCNetMaskHead'))
    config.type = 'mmpointrend.SCNetPointRendRoIHead'
    config.semantic_head.type = 'SCNetSemanticHead'
    for head in config.bbox_head:
        head.update(type='SCNetBBoxHead', num_shared_fcs=2)
    config.glbctx_head = {
        'type': 'GlobalContextHead',
        'num_convs': 1,
        'in_channels': 16,
        'conv_out_channels': 16,
        'num_classes': NUM_CLASSES,
    }
    config.feat_relay_head = {
        'type': 'FeatureRelayHead',
        'in_channels': 32,
        'out_conv_channels': 16,
        'roi_feat_size': 7,
        'scale_factor': 2,
    }
    return config


CONFIGS = {'cascade': cascade_config, 'htc': htc_config, 'scnet': scnet_config}


def mmdets(config, kind):
    """mmdet's own head of a config, with the same weights as :func:`build_roi_head` gives ours."""
    ours = build_roi_head(config)
    theirs = copy.deepcopy(config)
    theirs.pop('point_head')
    theirs.type = kind
    heads = theirs.mask_head if isinstance(theirs.mask_head, list) else [theirs.mask_head]
    for head in heads:
        head.setdefault('in_channels', 16)
        head.setdefault('num_classes', NUM_CLASSES)
    for number, settings in enumerate(theirs.train_cfg):
        settings.mask_size = ours.train_cfg[number].mask_size
    with DefaultScope.overwrite_default_scope('mmdet'):
        head = MMDET_MODELS.build(theirs)
    missing = head.load_state_dict(ours.state_dict(), strict=False)
    assert not missing.missing_keys
    assert all(name.startswith('point_head.') for name in missing.unexpected_keys)
    return ours, head


KINDS = {
    'cascade': 'CascadeRoIHead',
    'htc': 'HybridTaskCascadeRoIHead',
    'scnet': 'SCNetRoIHead',
}


def losses_of(head, x, counts, with_semantic):
    """Losses of a head, the same random numbers each time."""
    samples, proposals = training_batch(counts)
    if with_semantic:
        labels = torch.randint(7, (1, HEIGHT, WIDTH), generator=torch.manual_seed(0))
        for sample in samples:
            sample.gt_sem_seg = PixelData(sem_seg=labels)
    torch.manual_seed(4)
    return head.loss(tuple(x), proposals, samples)


@pytest.mark.parametrize('name', CONFIGS)
def test_without_steps_masks_are_mmdets(name):
    """mmdet pastes the mean of the stages' probabilities; ours with no step is that mean as a logit."""
    config = CONFIGS[name]()
    config.test_cfg.subdivision_steps = 0
    ours, theirs = mmdets(config, KINDS[name])
    x, results = feature_levels(), detections([3, 2])
    if name == 'htc':
        # Masks that are neither empty nor full.
        with torch.no_grad():
            logits = ours._mask_outputs(x, bbox2roi([found.bboxes for found in results]))
        for head in (ours, theirs):
            head.mask_head[-1].conv_logits.bias.data -= logits.mean((0, 2, 3))
    extra = []
    with torch.no_grad():
        if name != 'cascade':
            extra.append(theirs.semantic_head(x)[1])
        if name == 'scnet':
            extra.append(theirs.glbctx_head(x)[1])
        masks, expected = (
            [
                found.masks
                for found in head.predict_mask(x, *extra, [META] * 2, copy.deepcopy(results))
            ]
            for head in (ours, theirs)
        )
    for mine, other in zip(masks, expected, strict=True):
        assert mine.shape == other.shape
        assert 0 < other.float().mean() < 1
        assert (mine != other).sum() <= 1


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('counts', [(2, 1), (0, 2), (0, 0)])
def test_losses_are_mmdets_and_the_point_heads(name, counts):
    ours, theirs = mmdets(CONFIGS[name](), KINDS[name])
    x = feature_levels()
    losses = losses_of(ours, x, counts, name != 'cascade')
    expected = losses_of(theirs, x, counts, name != 'cascade')
    points = {key for key in losses if 'loss_point' in key}
    assert points == ({'loss_point'} if name == 'scnet' else {f's{s}.loss_point' for s in range(3)})
    assert losses.keys() - points == expected.keys()
    for key, value in expected.items():
        if 'loss' in key and 'mask' not in key:
            torch.testing.assert_close(losses[key], value, atol=1e-4, rtol=1e-4)
    sum(value for key, value in losses.items() if 'loss' in key).backward()
    sum(value for key, value in expected.items() if 'loss' in key).backward()
    parameters = dict(theirs.named_parameters())
    for key, parameter in ours.named_parameters():
        # SCNet's semantic head has layers that its forward leaves out.
        if key in parameters and parameters[key].grad is None:
            continue
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key
    assert any((losses[key] > 0) for key in points) == (sum(counts) > 0)


def test_the_mask_loss_of_a_stage_is_mmdets_on_its_own_targets():
    """Coarse targets differ by design (docs/architecture.md), so that the targets are given."""
    ours, theirs = mmdets(cascade_config(), 'CascadeRoIHead')
    x = feature_levels()
    rois = bbox2roi([found.bboxes for found in detections([2, 2])])
    for stage in range(STAGES):
        with torch.no_grad():
            mine, other = (
                head._mask_forward(stage, x, rois)['mask_preds'] for head in (ours, theirs)
            )
        torch.testing.assert_close(mine, other, atol=1e-4, rtol=0)


@pytest.mark.parametrize('name', CONFIGS)
@pytest.mark.parametrize('adaptive', [True, False])
def test_rendering_refines_and_batches_do_not_matter(name, adaptive):
    config = CONFIGS[name]()
    config.test_cfg.adaptive_resolution = adaptive
    head = build_roi_head(config)
    x, results = feature_levels(), detections([3, 0])
    rois = bbox2roi([found.bboxes for found in results])
    labels = torch.cat([found.labels for found in results])
    with torch.no_grad():
        outputs = head._mask_outputs(x, rois)
        masks = head._predict_masks(x, outputs, [META] * 2, copy.deepcopy(results), True)
        x_alone = [level[:1] for level in x]
        alone = head._predict_masks(
            x_alone, head._mask_outputs(x_alone, rois), [META], copy.deepcopy(results[:1]), True
        )
        points = torch.rand(3, 20, 2, generator=torch.manual_seed(0))
        logits = head.predict_points(x, rois, labels, points)
    assert torch.equal(masks[0].masks, alone[0].masks)
    assert masks[1].masks.shape == (0, HEIGHT, WIDTH)
    assert logits.shape == (3, 20)
    regions = head._stage().regions(x, rois, labels, outputs)
    fine = [
        torch.nn.functional.grid_sample(x[0][:1], (2 * at - 1)[:, None], align_corners=False)[
            0, :, 0
        ].T
        for at in regions.frames.points(points)[0].split(1)
    ]
    with torch.no_grad():
        coarse = torch.nn.functional.grid_sample(
            outputs, (2 * points - 1)[:, None], align_corners=False
        )[:, :, 0].mT
        expected = head.point_head(torch.stack(fine), coarse, labels)[:, 0]
    torch.testing.assert_close(logits, expected, atol=1e-4, rtol=0)


def test_the_mean_of_masks_is_that_of_probabilities_also_where_they_are_sure():
    logits = torch.tensor([[-200.0, 0.0, 3.0, 200.0], [-100.0, 2.0, -1.0, 100.0]])
    mean = mean_of_masks([row.view(1, 1, 2, 2) for row in logits]).flatten()
    torch.testing.assert_close(mean.sigmoid(), logits.sigmoid().mean(0))
    # log((e^-200 + e^-100) / 2)
    torch.testing.assert_close(mean[[0, 3]], torch.tensor([-100.693147, 100.693147]))
    assert mean_of_masks([logits]) is logits


def test_without_information_flow_htc_predicts_too():
    head = build_roi_head(htc_config(mask_info_flow=False))
    x = feature_levels()
    losses = losses_of(head, x, (2, 1), with_semantic=True)
    assert losses['s2.loss_point'] > 0
    with torch.no_grad():
        assert head._mask_outputs(x, torch.tensor([[0.0, 5, 5, 60, 60]])).shape == (1, 5, 28, 28)


def test_one_dict_serves_all_stages_and_each_has_weights_of_its_own():
    head = build_roi_head(cascade_config())
    weights = [mask_head.fc_logits.weight for mask_head in head.mask_head]
    assert len({id(weight) for weight in weights}) == STAGES
    torch.manual_seed(0)
    spread(head)
    head.init_weights()
    # detectron2's initialisation, which mmdet's list of heads would not pass on.
    assert all(0 < weight.std() < 0.002 for weight in weights)


@pytest.mark.parametrize(
    ('change', 'message'),
    [
        (
            {'num_stages': 2, 'stage_loss_weights': [1, 1]},
            r'train_cfg\.rcnn has to be a list of 2 dicts',
        ),
        ({'stage_loss_weights': [1]}, r'stage_loss_weights is \[1\]: set it to a list of 3'),
        ({'point_head': None}, r'point_head is missing'),
        ({'shared_head': {'type': 'ResLayer'}}, r'shared_head: mmdet has no cascade'),
        (
            {'mask_head': [{'type': 'FCNMaskHead'}]},
            r'mask_head is a list of 1, but num_stages is 3',
        ),
        ({'mask_head': {'type': 'HTCMaskHead'}}, r"roi_head\.type to 'mmpointrend\.HTCPointRendRo"),
        ({'mask_head': {'type': 'DynamicMaskHead'}}, r'queries of QueryInst'),
    ],
)
def test_what_cannot_work_is_refused_in_a_sentence(change, message):
    config = cascade_config()
    config.update(change)
    with pytest.raises(ConfigError, match=message):
        build_roi_head(config)


def test_stages_of_different_masks_are_refused():
    config = cascade_config()
    config.mask_head = [
        config.mask_head,
        config.mask_head,
        {**config.mask_head, 'downsample_factor': 1},
    ]
    with pytest.raises(ConfigError, match='5 of 7x7, 5 of 14x14: PointRend refines their mean'):
        build_roi_head(config)


def test_htc_asks_for_its_own_mask_heads():
    config = htc_config()
    config.mask_head = {'type': 'FCNMaskHead', 'num_convs': 1, 'conv_out_channels': 16}
    with pytest.raises(ConfigError, match=r"hand their features on, so set it to 'HTCMaskHead'"):
        build_roi_head(config)


def test_settings_of_a_stage_are_named():
    config = cascade_config()
    config.train_cfg[1].num_points = None
    with pytest.raises(ConfigError, match=r'train_cfg\.rcnn\[1\]\.num_points is None'):
        build_roi_head(config)
    config = cascade_config()
    config.train_cfg[2].train_on_pred_boxes = True
    with pytest.raises(ConfigError, match=r'train_cfg\.rcnn\[2\]\.train_on_pred_boxes is True'):
        build_roi_head(config)


@pytest.mark.parametrize('name', CONFIGS)
def test_two_steps_of_training_and_a_prediction(name):
    torch.manual_seed(0)
    head = build_roi_head(CONFIGS[name]()).train()
    optimizer = torch.optim.SGD(head.parameters(), lr=0.01)
    before = {key: value.clone() for key, value in head.state_dict().items()}
    for _ in range(2):
        losses = losses_of(head, feature_levels(), (2, 1), name != 'cascade')
        loss = sum(value for key, value in losses.items() if 'loss' in key)
        assert loss.isfinite()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    changed = {
        key.split('.')[0]
        for key, value in head.state_dict().items()
        if (value != before[key]).any()
    }
    assert {'bbox_head', 'mask_head', 'point_head'} <= changed
    head.eval()
    head.test_cfg.update(score_thr=0.0, max_per_img=5)
    samples, proposals = training_batch((2, 1))
    with torch.no_grad():
        results = head.predict(tuple(feature_levels()), proposals, samples, rescale=True)
    for found in results:
        assert found.masks.shape == (len(found), HEIGHT, WIDTH) and len(found) == 5
