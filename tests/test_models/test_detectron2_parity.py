# Copyright (c) The mmpointrend authors.
"""Our models with detectron2's weights, converted, give what detectron2 itself gave (fixtures of the shared folder)."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.bbox import bbox2roi
from mmengine.registry import MODELS, DefaultScope
from tiny_detectron2 import FIXTURES, tiny_config

from mmpointrend.engine.detectron2 import convert, load_weights


@pytest.fixture(scope='module')
def models(shared_dir):
    """By name: a converted model, detectron2's answers, and what our feature pyramid makes of the image."""
    made = {}

    def get(name):
        if name not in made:
            folder = shared_dir / 'fixtures' / 'detectron2'
            cfg = tiny_config(name)
            conversion = convert(load_weights(str(folder / f'{name}_weights.npz')), cfg)
            with DefaultScope.overwrite_default_scope(cfg.default_scope):
                model = MODELS.build(cfg.model).eval()
            model.load_state_dict(conversion.state_dict, strict=True)
            answers = np.load(folder / f'{name}_expected.npz')
            expected = {key: torch.from_numpy(np.array(value)) for key, value in answers.items()}
            with torch.no_grad():
                data = dict(inputs=[expected['image_bgr']])
                image = model.data_preprocessor(data, training=False)['inputs']
                made[name] = SimpleNamespace(
                    model=model, expected=expected, image=image, x=model.extract_feat(image)
                )
        return made[name]

    return get


@pytest.mark.parametrize('name', FIXTURES)
def test_features_are_detectron2s(models, name):
    run = models(name)
    for level, features in enumerate(run.x, start=2):
        expected = run.expected[f'feat_p{level}']
        torch.testing.assert_close(features, expected, atol=1e-4, rtol=1e-4)


def agree(logits, probabilities):
    """Share of the pixels that are as probable, to 1e-4 and what float32 makes of logits of such a size.

    Those of the random fixtures go up to 10,000; where they cross 0, eight roundings of them are a logit of 0.01. The
    rest are ties of uncertainties, which move single points.
    """
    ours = logits.sigmoid()
    rounding = ours * (1 - ours) * 1e-6 * logits.abs().amax(dim=(-2, -1), keepdim=True)
    return ((ours - probabilities).abs() < 1e-4 + rounding).float().mean()


@pytest.mark.parametrize(
    ('name', 'answer'), [('instance_r50', 'coarse_logits'), ('implicit_r50', 'parameters')]
)
@torch.no_grad()
def test_masks_are_detectron2s(models, name, answer):
    run = models(name)
    head, expected = run.model.roi_head, run.expected
    x = [expected[f'feat_p{level}'] for level in range(2, 7)]
    rois = bbox2roi([expected['boxes']])
    outputs = head._mask_forward(x, rois)['mask_preds']
    torch.testing.assert_close(
        outputs.view_as(expected[answer]), expected[answer], atol=1e-4, rtol=0
    )
    rendered = head._render(x, rois, expected['classes'], outputs)
    assert agree(rendered, expected['mask_probs']) > 0.9999


@pytest.mark.parametrize('name', ['instance_r50', 'implicit_r50'])
@torch.no_grad()
def test_detections_are_detectron2s(models, name):
    run = models(name)
    height, width = run.image.shape[-2:]
    sample = DetDataSample(
        metainfo=dict(img_shape=(height, width), ori_shape=(height, width), scale_factor=(1.0, 1.0))
    )
    found = run.model.predict(run.image, [sample], rescale=False)[0].pred_instances
    expected = run.expected
    torch.testing.assert_close(found.bboxes, expected['det_boxes'], atol=1e-3, rtol=0)
    torch.testing.assert_close(found.scores, expected['det_scores'], atol=1e-4, rtol=0)
    assert torch.equal(found.labels, expected['det_classes'])
    head, rois = run.model.roi_head, bbox2roi([found.bboxes])
    outputs = head._mask_forward(run.x, rois)['mask_preds']
    rendered = head._render(run.x, rois, found.labels, outputs)
    assert agree(rendered, expected['det_mask_probs']) > 0.999


@torch.no_grad()
def test_semantic_logits_are_detectron2s(models):
    run = models('semantic_r50')
    head, expected = run.model.decode_head, run.expected
    coarse = head.coarse_head(run.x)
    torch.testing.assert_close(coarse, expected['coarse_logits'], atol=1e-4, rtol=1e-4)
    height, width = run.image.shape[-2:]
    metas = [dict(img_shape=(height, width), pad_shape=(height, width))]
    rendered = head.predict(run.x, metas, run.model.test_cfg)
    same = ((rendered - expected['refined_logits']).abs() < 1e-4).all(dim=1)
    assert same.float().mean() > 0.9999
