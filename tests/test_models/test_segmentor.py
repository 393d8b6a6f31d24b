# Copyright (c) The mmpointrend authors.
"""Label maps by rows, against mmseg's own segmentor on the same weights."""

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmseg.structures import SegDataSample
from tiny_heads import build_segmentor, fpn_head, point_head, pointrend

from mmpointrend.errors import ConfigError
from mmpointrend.models import SegTTAModel
from mmpointrend.points import regular_grid
from mmpointrend.points.bands import labels_of
from mmpointrend.points.fast import limits

SIZE = (64, 96)


def samples(count, **meta):
    return [
        SegDataSample(metainfo={'img_shape': SIZE, 'ori_shape': SIZE, 'pad_shape': SIZE, **meta})
        for _ in range(count)
    ]


def images(count, seed=0):
    return torch.randn(count, 3, *SIZE, generator=torch.Generator().manual_seed(seed))


def segmentors(num_classes=5, align_corners=False, **test_cfg):
    """mmseg's with our head, and ours, with the same weights."""
    head = pointrend(fpn_head(num_classes, align_corners), point_head())
    made = []
    for kind in ('EncoderDecoder', 'mmpointrend.PointRendSegmentor'):
        model = build_segmentor(copy.deepcopy(head), type=kind).eval()
        model.test_cfg.update(test_cfg)
        made.append(model)
    vary(made[0])
    made[1].load_state_dict(made[0].state_dict())
    return made


@torch.no_grad()
def vary(model):
    """Give a segmentor's logits a mean of 0 in every class, and a spread of some tens of the limit for ties."""
    features = model.extract_feat(images(1))
    head = model.decode_head
    coarse = getattr(head, 'coarse_head', head)
    coarse.conv_seg.weight.mul_(100)
    coarse.conv_seg.bias.sub_(coarse(features).mean((0, 2, 3)))
    if head is not coarse:
        points = regular_grid(20, 20)[None]
        last = head.point_head.fc_logits
        last.weight.mul_(100)
        last.bias.sub_(head.predict_points(features, points).mean((0, 2)))


MODELS = {
    (classes, aligned): segmentors(classes, aligned)
    for classes in (1, 5)
    for aligned in (False, True)
}


@torch.no_grad()
def both(models, inputs, **meta):
    """Label maps of mmseg's and of ours, and the margin of mmseg's logits at each pixel."""
    stock, ours = (model.predict(inputs, samples(len(inputs), **meta)) for model in models)
    assert all('seg_logits' not in sample for sample in ours)
    return (
        [sample.pred_sem_seg.data for sample in stock],
        [sample.pred_sem_seg.data for sample in ours],
        [sample.seg_logits.data for sample in stock],
    )


def assert_equal_but_for_ties(stock, ours, logits):
    for expected, actual, values in zip(stock, ours, logits, strict=True):
        assert actual.dtype == expected.dtype and actual.shape == expected.shape
        if len(values) == 1:
            close = (values[0] - 0.5).abs() < 1e-4
        else:
            best, second = values.topk(2, dim=0).values
            close = best - second < 1e-4
        assert (expected[0] == actual[0])[~close].all()
        assert close.float().mean() < 0.01
        assert len(expected.unique()) > 1


@settings(max_examples=25, deadline=None)
@given(
    classes=st.sampled_from([1, 5]),
    aligned=st.booleans(),
    count=st.integers(1, 2),
    padding=st.sampled_from([(0, 0, 0, 0), (3, 0, 2, 7)]),
    flip=st.sampled_from([None, 'horizontal', 'vertical']),
    shape=st.sampled_from([SIZE, (50, 130), (31, 40)]),
    steps=st.integers(0, 3),
    num_points=st.sampled_from([1, 100, 10**5]),
    band=st.sampled_from([1, 5000, 1 << 20]),
)
def test_labels_are_those_of_the_stock_segmentor(
    classes, aligned, count, padding, flip, shape, steps, num_points, band
):
    models = MODELS[classes, aligned]
    for model in models:
        model.test_cfg.update(subdivision_steps=steps, subdivision_num_points=num_points)
    meta = {'ori_shape': shape, 'padding_size': list(padding)}
    if flip is not None:
        meta.update(flip=True, flip_direction=flip)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, 'BAND_VALUES', band)
        assert_equal_but_for_ties(*both(models, images(count), **meta))


@pytest.mark.parametrize('classes', [1, 5])
def test_windows_that_overlap(classes):
    models = segmentors(classes, mode='slide', crop_size=(48, 64), stride=(16, 32))
    assert_equal_but_for_ties(*both(models, images(1), ori_shape=(40, 70)))


def test_a_head_of_mmsegs_own_gives_labels_too():
    models = [
        build_segmentor(fpn_head(), type=kind).eval()
        for kind in ('EncoderDecoder', 'mmpointrend.PointRendSegmentor')
    ]
    vary(models[0])
    models[1].load_state_dict(models[0].state_dict())
    assert_equal_but_for_ties(*both(models, images(2), ori_shape=(40, 70)))


@pytest.mark.parametrize('aligned', [False, True])
@pytest.mark.parametrize('flip', [None, 'horizontal', 'vertical'])
@torch.no_grad()
def test_native_labels_are_the_point_heads_at_each_pixel(aligned, flip):
    """With a point for each pixel of the original image all are predicted, where they lie in the input."""
    _, model = segmentors(5, aligned, label_rendering='native', subdivision_num_points=10**5)
    shape, (left, right, top, bottom) = (50, 70), (4, 8, 3, 5)
    meta = {'ori_shape': shape, 'padding_size': [left, right, top, bottom]}
    if flip is not None:
        meta.update(flip=True, flip_direction=flip)
    inputs = images(2)
    predicted = model.predict(inputs, samples(2, **meta))
    points = regular_grid(*shape, align_corners=aligned)
    if flip is not None:
        axis = 0 if flip == 'horizontal' else 1
        points[:, axis] = 1 - points[:, axis]
    height, width = SIZE[0] - top - bottom, SIZE[1] - left - right
    if aligned:
        pixels = points * torch.tensor([width - 1, height - 1]) + torch.tensor([left, top])
        points = pixels / torch.tensor([SIZE[1] - 1, SIZE[0] - 1])
    else:
        pixels = points * torch.tensor([width, height]) + torch.tensor([left, top])
        points = pixels / torch.tensor([SIZE[1], SIZE[0]])
    features = model.extract_feat(inputs)
    logits = model.decode_head.predict_points(features, points.expand(2, -1, -1))
    expected = logits.argmax(dim=1).view(2, *shape)
    actual = torch.cat([sample.pred_sem_seg.data for sample in predicted])
    assert (actual != expected).float().mean() < 1e-3


def test_native_refusals():
    with pytest.raises(ConfigError, match="label_rendering is 'native', but mode is 'slide'"):
        build_segmentor(
            pointrend(),
            type='mmpointrend.PointRendSegmentor',
            test_cfg={
                'mode': 'slide',
                'crop_size': (32, 32),
                'stride': (16, 16),
                'label_rendering': 'native',
            },
        )
    with pytest.raises(ConfigError, match='decode_head is a FPNHead, which renders nothing'):
        build_segmentor(
            fpn_head(),
            type='mmpointrend.PointRendSegmentor',
            test_cfg={'mode': 'whole', 'label_rendering': 'native'},
        )
    with pytest.raises(ConfigError, match="label_rendering is 'other': set it to 'exact' or"):
        build_segmentor(
            pointrend(),
            type='mmpointrend.PointRendSegmentor',
            test_cfg={'mode': 'whole', 'label_rendering': 'other'},
        )


@torch.no_grad()
def test_augmentation_averages_what_mmsegs_segmentor_gives():
    merged = []
    for model in segmentors():
        tta = SegTTAModel(module=model)
        tta.data_preprocessor = None
        found = []
        for meta in ({'flip': False}, {'flip': True, 'flip_direction': 'horizontal'}):
            flipped = images(1).flip(-1) if meta['flip'] else images(1)
            found.append({'inputs': [flipped[0]], 'data_samples': samples(1, **meta)})
        data = {
            'inputs': [one['inputs'] for one in found],
            'data_samples': [one['data_samples'] for one in found],
        }
        model.test_step = lambda batch, model=model: model.predict(
            torch.stack(batch['inputs']), batch['data_samples']
        )
        merged.append(tta.test_step(data)[0].pred_sem_seg.data)
        assert not getattr(model, 'keeps_logits', False)
    assert torch.equal(*merged)


def test_labels_of_equal_logits_are_the_first():
    from mmpointrend.points.bands import DenseBands

    logits = torch.tensor([[[1.0, 0.0, 2.0]], [[1.0, 3.0, 2.0]], [[0.0, 3.0, 2.0]]])
    assert labels_of(DenseBands(logits)).tolist() == [[0, 1, 0]]
