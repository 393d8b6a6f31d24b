# Copyright (c) The mmpointrend authors.
"""The semantic task against mmseg's own PointRend, and where mmseg's is at fault, against what is right."""

import copy

import pytest
import torch
import torch.nn.functional as F
from mmengine.analysis import get_model_complexity_info
from mmengine.config import ConfigDict
from mmengine.runner.checkpoint import load_state_dict
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

from mmpointrend.errors import ConfigError
from mmpointrend.points import regular_grid, sample_labels


def cascade(coarse=None, point=None):
    """Config of mmseg's: a list of two decode heads."""
    coarse = coarse or fpn_head()
    return [
        coarse,
        dict(
            type='PointHead',
            num_classes=coarse['num_classes'],
            align_corners=coarse['align_corners'],
            dropout_ratio=-1,
            **(point or point_head()),
        ),
    ]


def aspp_head():
    """Config of DeepLabV3's head on the last backbone stage, after the neck 16 channels at stride 32."""
    return dict(
        type='ASPPHead',
        in_channels=16,
        in_index=3,
        channels=8,
        dilations=(1, 2, 3),
        dropout_ratio=0,
        num_classes=NUM_CLASSES,
        norm_cfg={'type': 'BN'},
        align_corners=False,
        loss_decode={'type': 'CrossEntropyLoss'},
    )


CASES = {
    'FPN': (fpn_head(), point_head()),
    'FPN, two fine levels': (fpn_head(), point_head((0, 1))),
    'FPN, coarse at the first layer': (
        fpn_head(),
        {**point_head(), 'coarse_pred_each_layer': False},
    ),
    'DeepLabV3': (aspp_head(), point_head()),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def pair(request):
    """Our segmentor and mmseg's cascade with the same weights, loaded from mmseg's names."""
    coarse, point = (ConfigDict(config) for config in request.param)
    ours = build_segmentor(pointrend(coarse, point))
    theirs = build_segmentor(cascade(coarse, point))
    theirs.decode_head[1].fc_seg.weight.data *= 3
    ours.load_state_dict(copy.deepcopy(theirs.state_dict()), strict=True)
    return ours, theirs


def test_logits_and_labels_are_those_of_mmseg(pair):
    inputs, samples = semantic_batch()
    logits, labels = [], []
    for model in pair:
        model.eval()
        with torch.no_grad():
            logits.append(model.inference(inputs, [sample.metainfo for sample in samples]))
            results = model.predict(inputs, copy.deepcopy(samples))
        labels.append(torch.stack([result.pred_sem_seg.data for result in results]))
    # A tie of uncertainties moves a point; everything else is equal.
    assert ((logits[0] - logits[1]).abs() < 1e-4).float().mean() > 0.999
    assert logits[1].std() > 0
    assert (labels[0] != labels[1]).float().mean() < 1e-4


def test_losses_and_gradients_are_those_of_mmseg(pair):
    inputs, samples = semantic_batch()
    losses = []
    for model in pair:
        # Evaluation mode: mmseg runs the coarse head twice, which would update its BN twice.
        model.eval()
        torch.manual_seed(0)
        losses.append(model.loss(inputs, samples))
        sum(value for name, value in losses[-1].items() if 'loss' in name).backward()
    names = {
        'decode.coarse.loss_ce': 'decode_0.loss_ce',
        'decode.coarse.acc_seg': 'decode_0.acc_seg',
        'decode.point.loss_ce': 'decode_1.pointloss_ce',
        'decode.point.acc_seg': 'decode_1.acc_point',
    }
    assert losses[0].keys() == names.keys()
    for mine, theirs in names.items():
        torch.testing.assert_close(losses[0][mine], losses[1][theirs], atol=1e-5, rtol=1e-4)
    for mine, theirs in (
        (pair[0].backbone, pair[1].backbone),
        (pair[0].decode_head.coarse_head, pair[1].decode_head[0]),
        (pair[0].decode_head.point_head.fcs, pair[1].decode_head[1].fcs),
        (pair[0].decode_head.point_head.fc_logits, pair[1].decode_head[1].fc_seg),
    ):
        for a, b in zip(mine.parameters(), theirs.parameters(), strict=True):
            assert (a.grad - b.grad).norm() <= 5e-3 * b.grad.norm() + 1e-7


def test_the_old_names_load_through_mmengine_too(capsys):
    theirs = build_segmentor(cascade())
    ours = build_segmentor(pointrend())
    load_state_dict(ours, theirs.state_dict(), strict=True)
    weight = ours.decode_head.point_head.fc_logits.weight
    assert torch.equal(weight, theirs.decode_head[1].fc_seg.weight)


def test_our_own_state_dict_loads():
    ours = build_segmentor(pointrend())
    state = {name: value + 1 for name, value in ours.state_dict().items()}
    ours.load_state_dict(state, strict=True)
    weight = ours.decode_head.coarse_head.conv_seg.weight
    assert torch.equal(weight, state['decode_head.coarse_head.conv_seg.weight'])


def test_the_coarse_head_runs_once_per_step():
    model = build_segmentor(pointrend())
    runs = []
    model.decode_head.coarse_head.register_forward_hook(lambda *_: runs.append(1))
    model.loss(*semantic_batch())
    assert len(runs) == 1
    theirs = build_segmentor(cascade())
    theirs.decode_head[0].conv_seg.register_forward_hook(lambda *_: runs.append(2))
    theirs.loss(*semantic_batch())
    assert runs == [1, 2, 2]


@pytest.mark.parametrize('align_corners', [False, True])
def test_align_corners_against_closed_form(align_corners):
    """The point head gets x and y of its points, and must find them where the convention puts them.

    mmseg asks at half-pixel positions whatever the convention.
    """
    head = build_segmentor(
        pointrend(fpn_head(align_corners=align_corners)),
        test_cfg={'mode': 'whole', 'subdivision_num_points': 10**6},
    ).decode_head
    asked, seen = [], []
    head.point_head.forward = lambda fine, coarse: asked.append(fine) or coarse.mT
    head.observer = lambda step: seen.append(step.points)
    grid = regular_grid(24, 32, align_corners=align_corners).reshape(24, 32, 2)
    ramp = grid.permute(2, 0, 1).repeat(8, 1, 1).unsqueeze(0)
    head.coarse_head.forward = lambda inputs: ramp[:, :NUM_CLASSES]
    everything = {'subdivision_steps': 2, 'subdivision_num_points': 10**6, 'scale_factor': 2}
    rendered = head._render([ramp], everything)
    points, found = seen[-1][0], asked[-1][0, :, :2]
    # Without aligned corners, the half pixel at the border of the map fades to the zeros beyond.
    margin = 0 if align_corners else 0.5 / 24
    inside = ((points >= margin) & (points <= 1 - margin)).all(dim=1)
    assert inside.float().mean() > 0.9
    torch.testing.assert_close(found[inside], points[inside], atol=1e-5, rtol=0)
    every_pixel = regular_grid(96, 128, align_corners=align_corners)
    assert torch.equal(points.unique(dim=0), every_pixel.unique(dim=0))
    expected = F.interpolate(
        ramp[:, :NUM_CLASSES], size=(96, 128), mode='bilinear', align_corners=align_corners
    )
    centre = (slice(None), slice(None), slice(4, -4), slice(4, -4))
    torch.testing.assert_close(rendered[centre], expected[centre], atol=1e-5, rtol=0)


@pytest.mark.parametrize('align_corners', [False, True])
def test_training_points_follow_align_corners(align_corners):
    """Labels, fine features and coarse logits of one training point are those of one place."""
    head = build_segmentor(pointrend(fpn_head(align_corners=align_corners))).decode_head
    row = torch.arange(WIDTH).expand(HEIGHT, -1)
    points = torch.tensor([[[0.0, 0.5], [0.3, 0.5], [1.0, 0.5]]])
    labels = sample_labels(row.unsqueeze(0), points, head.align_corners)
    exact = points[..., 0] * (WIDTH - 1 if align_corners else WIDTH)
    expected = exact.round() if align_corners else (exact - 0.5).round().clamp(0, WIDTH - 1)
    assert torch.equal(labels.float(), expected)


@pytest.mark.parametrize(
    'loss',
    [
        {'type': 'DiceLoss'},
        {'type': 'LovaszLoss', 'loss_type': 'binary', 'per_image': True},
        [{'type': 'CrossEntropyLoss', 'use_sigmoid': True}, {'type': 'DiceLoss'}],
    ],
)
def test_losses_of_one_channel(loss):
    build_segmentor(pointrend({**fpn_head(num_classes=1), 'loss_decode': loss}))


def test_one_class_by_a_sigmoid():
    """mmseg: ``topk(k=2)`` of one channel fails, and its point head has two."""
    model = build_segmentor(pointrend(fpn_head(num_classes=1)))
    head = model.decode_head
    assert (head.num_classes, head.out_channels, head.threshold) == (2, 1, 0.5)
    assert head.point_head.fc_logits.out_channels == 1
    inputs, samples = semantic_batch(num_classes=2)
    losses = model.loss(inputs, samples)
    sum(value for name, value in losses.items() if 'loss' in name).backward()
    assert all(parameter.grad is not None for parameter in head.parameters())
    assert 0 <= losses['decode.point.acc_seg'] <= 100
    model.eval()
    with torch.no_grad():
        logits = model.inference(inputs, [sample.metainfo for sample in samples])
        prediction = model.predict(inputs, samples)[0].pred_sem_seg.data
    assert logits.shape == (2, 1, HEIGHT, WIDTH)
    assert torch.equal(prediction[0], (logits[0, 0].sigmoid() > 0.5).to(prediction))


@pytest.mark.parametrize('uncertainty', ['logits', 'probabilities'])
def test_uncertainty_decides_where_points_go(uncertainty):
    model = build_segmentor(pointrend(uncertainty=uncertainty)).eval()
    seen = []
    model.decode_head.observer = lambda step: seen.append(step.points)
    inputs, samples = semantic_batch(images=1)
    model.predict(inputs, samples)
    coarse = model.decode_head.coarse_head(model.extract_feat(inputs))
    upsampled = F.interpolate(coarse, scale_factor=2, mode='bilinear')
    scores = upsampled if uncertainty == 'logits' else upsampled.softmax(1)
    best = scores.topk(2, dim=1).values
    margin = (best[:, 0] - best[:, 1]).flatten()
    pixel = seen[1][0] * torch.tensor([upsampled.shape[-1], upsampled.shape[-2]])
    chosen = pixel[:, 1].long() * upsampled.shape[-1] + pixel[:, 0].long()
    assert margin[chosen].max() <= margin.kthvalue(len(chosen) + 1).values


def test_whole_and_slide_agree_where_one_window_covers_the_image():
    inputs, samples = semantic_batch(images=1)
    window = {'crop_size': (HEIGHT, WIDTH), 'stride': (HEIGHT, WIDTH)}
    model = build_segmentor(pointrend()).eval()
    results = []
    for mode in ('whole', 'slide'):
        model.test_cfg.update(mode=mode, **window)
        results.append(model.predict(inputs, copy.deepcopy(samples))[0].seg_logits.data)
    torch.testing.assert_close(*results)


def test_slide_mode_covers_the_image_by_windows():
    model = build_segmentor(pointrend()).eval()
    model.test_cfg.update(mode='slide', crop_size=(64, 64), stride=(32, 64))
    inputs, samples = semantic_batch(images=1)
    result = model.predict(inputs, samples)[0]
    assert result.pred_sem_seg.data.shape == (1, HEIGHT, WIDTH)


def test_tensor_mode_renders_with_the_heads_own_defaults():
    model = build_segmentor(pointrend(subdivision_steps=1)).eval()
    inputs, samples = semantic_batch()
    assert model(inputs, samples, mode='tensor').shape == (2, NUM_CLASSES, 48, 64)
    theirs = build_segmentor(cascade()).eval()
    with pytest.raises(TypeError):
        theirs(inputs, samples, mode='tensor')


def test_tensor_mode_that_renders_otherwise_than_predict_is_said_once(monkeypatch):
    lines = []
    monkeypatch.setattr(
        'mmpointrend.models.decode_heads.pointrend_head.print_log',
        lambda line, *args: lines.append(line),
    )
    model = build_segmentor(pointrend(subdivision_steps=1)).eval()
    inputs, samples = semantic_batch()
    model.predict(inputs, copy.deepcopy(samples))
    for _ in range(2):
        model(inputs, samples, mode='tensor')
    (said,) = lines
    assert "'subdivision_steps': 1" in said and "'subdivision_steps': 2" in said


def test_tensor_mode_can_share_the_models_test_cfg():
    model = build_segmentor(pointrend(subdivision_steps=1)).eval()
    model.decode_head.share_test_cfg(model.test_cfg)
    inputs, samples = semantic_batch()
    rendered = model(inputs, samples, mode='tensor')
    predicted = model.inference(inputs, [sample.metainfo for sample in samples])
    assert torch.equal(rendered, predicted)


def test_flops_are_counted():
    model = build_segmentor(pointrend()).eval()
    info = get_model_complexity_info(model, (3, HEIGHT, WIDTH), show_table=False, show_arch=False)
    assert info['flops'] > 0


@pytest.mark.parametrize('images', [1, 3])
def test_a_batch_is_its_images(images):
    model = build_segmentor(pointrend()).eval()
    inputs, samples = semantic_batch(images=images)
    together = model.predict(inputs, copy.deepcopy(samples))
    for index in range(images):
        alone = model.predict(inputs[index : index + 1], copy.deepcopy(samples[index : index + 1]))
        a, b = together[index].pred_sem_seg.data, alone[0].pred_sem_seg.data
        assert (a != b).float().mean() < 1e-3


OCR_HEAD = {
    'type': 'OCRHead',
    'ocr_channels': 8,
    'channels': 8,
    'in_channels': 16,
    'num_classes': 5,
}


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'uncertainty': 'entropy'}, r"decode_head\.uncertainty is 'entropy'.*logits, probab"),
        ({'subdivision_steps': -1}, r'decode_head\.subdivision_steps is -1'),
        ({'scale_factor': 1.5}, r'decode_head\.scale_factor is 1\.5'),
        ({'point': {**point_head(), 'num_classes': 7}}, r'point_head\.num_classes is 7.*has 5'),
        ({'point': {**point_head(), 'align_corners': True}}, r'point_head\.align_corners is True'),
        ({'point': {**point_head(), 'in_index': [0, 1]}}, r'in_channels is \[16\] and in_index'),
        (
            {'coarse': OCR_HEAD},
            r'coarse_head\.type is OCRHead: PointRend refines one map.* make coarse_head a list of the two',
        ),
        (
            {'coarse': {'type': 'Mask2FormerHead'}},
            r'coarse_head\.type is Mask2FormerHead, which predicts a set of masks.*mmpointrend\.Mask2FormerHead of a',
        ),
        (
            {'coarse': [fpn_head(), {'type': 'PointHead'}]},
            r'coarse_head\[1\]\.type is PointHead, which refines.*add_pointrend moves',
        ),
        (
            {'coarse': [fpn_head(), fpn_head()]},
            r'coarse_head\[1\]\.type is FPNHead: PointRend.* has to read the map before it',
        ),
        (
            {'coarse': [fpn_head(num_classes=6), OCR_HEAD]},
            r'coarse_head is a cascade whose heads have \[5, 6\] out_channels',
        ),
        (
            {'coarse': pointrend()},
            r'coarse_head\.type is mmpointrend\.PointRendHead: PointRend refines one map',
        ),
        (
            {'point': {**point_head(), 'norm_cfg': {'type': 'BN'}}},
            r'point_head\.norm_cfg is .*take BN1d, SyncBN or GN',
        ),
        (
            {
                'coarse': fpn_head(num_classes=1),
                'point': {**point_head(), 'loss_decode': {'type': 'CrossEntropyLoss'}},
            },
            r'point_head\.loss_decode is a softmax over one channel.*use_sigmoid=True',
        ),
        *(
            (
                {'coarse': {**fpn_head(num_classes=1), 'loss_decode': loss}},
                rf'decode_head\.coarse_head\.loss_decode is a softmax over one channel.*: {fix}',
            )
            for loss, fix in [
                ({'type': 'CrossEntropyLoss'}, 'set use_sigmoid=True in it$'),
                ([{'type': 'DiceLoss', 'use_sigmoid': False}], 'set use_sigmoid=True in it$'),
                ({'type': 'LovaszLoss', 'reduction': 'none'}, 'take a loss that is not'),
                ({'type': 'OhemCrossEntropy'}, 'take a loss that is not'),
            ]
        ),
    ],
)
def test_a_config_that_cannot_work_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        build_segmentor(pointrend(**changes))


def test_the_point_head_may_repeat_what_the_coarse_head_says():
    said = {'num_classes': 2, 'out_channels': 1, 'threshold': 0.5, 'align_corners': False}
    model = build_segmentor(pointrend(fpn_head(num_classes=1), {**point_head(), **said}))
    assert model.decode_head.point_head.fc_logits.out_channels == 1


@pytest.mark.parametrize(
    ('changes', 'message'),
    [
        ({'in_index': [4]}, r'point_head\.in_index is \[4\].*4 feature levels: choose from 0 to 3'),
        ({'in_channels': [32]}, r'point_head\.in_channels is \[32\].*set in_channels to \[16\]'),
    ],
)
def test_fine_levels_that_are_not_there_are_named(changes, message):
    model = build_segmentor(pointrend(None, {**point_head(), **changes}))
    with pytest.raises(ConfigError, match=message):
        model.loss(*semantic_batch())
    with pytest.raises(ConfigError, match=message):
        model.eval().predict(*semantic_batch())


def test_training_without_points_is_refused():
    model = build_segmentor(pointrend(), train_cfg={})
    with pytest.raises(ConfigError, match=r'model\.train_cfg\.num_points is None'):
        model.loss(*semantic_batch())


def test_mixed_precision_trains_and_predicts():
    """``--amp``: convolutions and MLP in bfloat16."""
    model = build_segmentor(pointrend())
    inputs, samples = semantic_batch()
    with torch.autocast('cpu', dtype=torch.bfloat16):
        losses = model.loss(inputs, samples)
        sum(value for name, value in losses.items() if 'loss' in name).backward()
        prediction = model.eval().predict(inputs, samples)[0].pred_sem_seg.data
    assert torch.isfinite(losses['decode.point.loss_ce'])
    assert all(p.grad is not None for p in model.decode_head.parameters())
    assert prediction.shape == (1, HEIGHT, WIDTH)
