# Copyright (c) The mmpointrend authors.
"""Predictions against those of mmdet's and mmseg's own functions; what goes in, and how much of it at once."""

import copy
import weakref

import cv2
import mmcv
import numpy as np
import pytest
import torch
from mmdet.apis import inference_detector, init_detector
from mmseg.apis import inference_model, init_model

from mmpointrend.apis import load_model, predict
from mmpointrend.errors import ConfigError, InputError


@pytest.fixture(scope='module')
def models(instance, semantic):
    return {
        tiny.task: load_model(tiny.config, tiny.weights, device='cpu')
        for tiny in (instance, semantic)
    }


@pytest.fixture
def model(tiny, models):
    return models[tiny.task]


def answer(sample):
    """All that a sample predicts, as arrays."""
    if 'pred_instances' in sample:
        found = sample.pred_instances
        return [
            found.bboxes.numpy(),
            found.scores.numpy(),
            found.labels.numpy(),
            found.masks.numpy(),
        ]
    return [sample.pred_sem_seg.data.numpy(), sample.seg_logits.data.numpy()]


def assert_same(one, other):
    for left, right in zip(answer(one), answer(other), strict=True):
        np.testing.assert_array_equal(left, right)


def files(tiny):
    return sorted(map(str, tiny.images.iterdir()))


def test_answer_is_that_of_the_task_s_own_function(tiny, model):
    path = files(tiny)[0]
    if tiny.task == 'instance':
        stock = init_detector(str(tiny.config), str(tiny.weights), device='cpu')
        theirs = inference_detector(stock, path)
        assert len(theirs.pred_instances) > 0 and theirs.pred_instances.masks.any()
    else:
        stock = init_model(str(tiny.config), str(tiny.weights), device='cpu')
        theirs = inference_model(stock, path)
    ours = predict(model, path)
    assert_same(ours, theirs)
    assert (ours.img_path, ours.ori_shape) == (path, (64, 64))
    assert_same(predict(model, mmcv.imread(path)), theirs)
    # A stock model is taken as well.
    assert_same(predict(stock, path), theirs)


def test_lists_folders_and_patterns_are_lists_in_order(tiny, model):
    paths = files(tiny)
    one_by_one = [predict(model, path) for path in paths]
    for inputs in (paths, tuple(paths), tiny.images, f'{tiny.images}/*.png'):
        samples = predict(model, inputs)
        assert isinstance(samples, list) and [s.img_path for s in samples] == paths
        for one, other in zip(samples, one_by_one, strict=True):
            assert_same(one, other)


@pytest.mark.parametrize('batch_size', [2, 4, 9])
def test_answers_do_not_depend_on_the_batch(tiny, model, batch_size):
    images = [mmcv.imread(path) for path in files(tiny)]
    # Another size in the middle: batches end there.
    images.insert(3, cv2.resize(images[0], (96, 64)))
    alone = [predict(model, image) for image in images]
    together = predict(model, images, batch_size=batch_size)
    assert [s.ori_shape for s in together] == [image.shape[:2] for image in images]
    for one, other in zip(together, alone, strict=True):
        for left, right in zip(answer(one), answer(other), strict=True):
            if left.dtype.kind == 'f':
                np.testing.assert_allclose(left, right, atol=1e-3)
            else:
                assert left.shape == right.shape and (left != right).mean() < 1e-3


def test_iterators_are_read_no_further_than_a_batch(tiny, model):
    read = []

    def paths():
        for path in files(tiny):
            read.append(path)
            yield path

    samples = predict(model, paths(), batch_size=2)
    assert read == []
    next(samples)
    assert len(read) == 2
    next(samples)
    assert len(read) == 2
    assert len(list(samples)) == 4


def test_memory_holds_a_batch_and_no_more(tiny, model):
    image = mmcv.imread(files(tiny)[0])
    alive, most = set(), 0

    def images():
        for number in range(24):
            copied = image.copy()
            alive.add(number)
            weakref.finalize(copied, alive.discard, number)
            yield copied

    for _ in predict(model, images(), batch_size=2):
        most = max(most, len(alive))
    assert most <= 4


def test_video_is_a_generator_of_its_frames(tiny, model, tmp_path):
    path = str(tmp_path / 'video.avi')
    writer = cv2.VideoWriter(path, cv2.VideoWriter_fourcc(*'MJPG'), 5, (64, 64))
    for file in files(tiny):
        writer.write(cv2.imread(file))
    writer.release()
    frames = list(mmcv.VideoReader(path))
    samples = predict(model, path)
    assert not isinstance(samples, list)
    count = 0
    for sample, frame in zip(samples, frames, strict=True):
        assert_same(sample, predict(model, frame))
        assert sample.img_path == path
        count += 1
    assert count == 6


def test_settings_hold_for_one_call(instance, models):
    model = models['instance']
    path = files(instance)[0]
    before = copy.deepcopy(dict(model.roi_head.test_cfg))
    usual = predict(model, path).pred_instances
    threshold = float(usual.scores.median())
    above = predict(model, path, score_thr=threshold).pred_instances
    assert 0 < len(above) < len(usual)
    torch.testing.assert_close(above.scores, usual.scores[usual.scores > threshold])
    torch.testing.assert_close(above.masks, usual.masks[usual.scores > threshold])
    # Below the config's threshold there is more than it shows.
    assert model.roi_head.test_cfg.score_thr == 0.05
    assert predict(model, path, score_thr=0.0).pred_instances.scores.min() <= usual.scores.min()
    assert predict(model, path, score_thr=1.0).pred_instances.masks.shape == (0, 64, 64)
    adaptive = predict(model, path, adaptive=True).pred_instances
    configured = load_model(
        instance.config,
        instance.weights,
        device='cpu',
        cfg_options={'model.test_cfg.rcnn.adaptive_resolution': True},
    )
    assert torch.equal(adaptive.masks, predict(configured, path).pred_instances.masks)
    assert not torch.equal(adaptive.masks, usual.masks)
    assert torch.equal(predict(configured, path, adaptive=False).pred_instances.masks, usual.masks)
    assert dict(model.roi_head.test_cfg) == before and model.roi_head.adaptive_resolution is False


def logits_of_views(model, image):
    """Logits (3, 64, 64) at two scales, flipped and not, each flipped back and at the image's size."""
    for side in (64, 96):
        view = mmcv.imresize(image, (side, side))
        for flip in (False, True):
            view = view[:, ::-1].copy() if flip else view
            logits = predict(model, view).seg_logits.data[None]
            logits = torch.nn.functional.interpolate(logits, size=(64, 64), mode='bilinear')[0]
            yield logits.flip(-1) if flip else logits


def test_tta_is_the_mean_of_the_probabilities(semantic):
    model = load_model(semantic.config, semantic.weights, device='cpu')
    path = files(semantic)[0]
    image = mmcv.imread(path)
    with torch.no_grad():
        # So that every class wins somewhere.
        mean = torch.stack(list(logits_of_views(model, image))).mean((0, 2, 3))
        model.decode_head.point_head.fc_logits.bias -= mean
    total = sum(logits.softmax(0) for logits in logits_of_views(model, image))
    labels = predict(model, path, tta=True).pred_sem_seg.data[0]
    margin = total.topk(2, dim=0).values
    margin = margin[0] - margin[1]
    clear = margin > margin.median()
    assert len(labels[clear].unique()) > 1
    assert (labels == total.argmax(0))[clear].float().mean() > 0.99


@pytest.mark.parametrize(
    ('task', 'options', 'words'),
    [
        ('semantic', dict(score_thr=0.5), 'score_thr chooses instances'),
        ('semantic', dict(adaptive=True), 'adaptive is a way of rendering instances'),
        ('instance', dict(tta=True), 'tta works for semantic segmentation'),
        ('instance', dict(batch_size=0), 'batch_size is 0: give a whole number'),
        ('instance', dict(batch_size=True), 'batch_size is True'),
        ('instance', dict(score_thr=7.0), 'score_thr is 7.0: scores are between'),
        ('instance', dict(score_thr=float('nan')), 'score_thr is nan'),
    ],
)
def test_what_a_model_cannot_do_is_refused_at_once(models, task, options, words):
    with pytest.raises(ConfigError, match=words):
        predict(models[task], iter(['never read']), **options)


@pytest.mark.parametrize(
    ('image', 'words'),
    [
        (np.zeros((4, 4), np.uint8), r'array of uint8 with shape \(4, 4\)'),
        (np.zeros((4, 4, 4), np.uint8), r'shape \(4, 4, 4\)'),
        (np.zeros((4, 4, 3), np.float32), 'array of float32'),
        (np.zeros((0, 4, 3), np.uint8), r'shape \(0, 4, 3\)'),
        (7, 'a int is not an image'),
        ('none.png', 'none.png'),
        (['video.mp4'], 'video.mp4 is a video: give it on its own'),
    ],
)
def test_what_is_no_image_is_refused_by_name(models, image, words):
    with pytest.raises(InputError, match=words):
        predict(models['semantic'], image)


def test_pipeline_that_reads_no_image_is_refused(semantic):
    model = load_model(
        semantic.config,
        semantic.weights,
        device='cpu',
        cfg_options={'test_dataloader.dataset.pipeline': [dict(type='PackSegInputs')]},
    )
    with pytest.raises(ConfigError, match='has to read images by one LoadImageFromFile'):
        predict(model, files(semantic)[0])
