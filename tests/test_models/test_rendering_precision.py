# Copyright (c) The mmpointrend authors.
"""Whole heads under autocast on a processor without instructions for half precision."""

import warnings

import pytest
import torch
from tiny_heads import (
    META,
    build_roi_head,
    build_segmentor,
    change,
    detections,
    feature_levels,
    pointrend,
    predict,
    semantic_batch,
)

from mmpointrend.models.rendering import rendering_precision
from mmpointrend.models.taps import Levels
from mmpointrend.points import precision


@pytest.fixture(autouse=True)
def without_units(monkeypatch):
    """A CPU without instructions for half precision, of which was spoken already."""
    monkeypatch.setattr(precision, '_has_instructions', lambda dtype: False)
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        precision.rendering_dtype(torch.bfloat16, torch.device('cpu'))
    yield
    precision._said.cache_clear()


@pytest.mark.parametrize('adaptive', [False, True])
def test_masks_are_those_of_single_precision(adaptive):
    head = build_roi_head(change('test_cfg.adaptive_resolution', adaptive)).eval()
    x, found = [level.detach() for level in feature_levels()], detections([4, 3])
    expected = predict(head, x, found, [META] * 2)
    with torch.autocast('cpu', torch.bfloat16):
        actual = predict(head, x, found, [META] * 2)
    assert all(map(torch.equal, actual, expected))
    assert any(masks.any() for masks in expected)


@torch.no_grad()
def test_logits_of_images_are_those_of_single_precision():
    model = build_segmentor(pointrend()).eval()
    inputs, samples = semantic_batch()
    features, metas = model.extract_feat(inputs), [sample.metainfo for sample in samples]
    expected = model.decode_head.predict(features, metas, model.test_cfg)
    with torch.autocast('cpu', torch.bfloat16):
        actual = model.decode_head.predict(features, metas, model.test_cfg)
    assert torch.equal(actual, expected)


def test_kept_levels_stay():
    levels = Levels.of(
        [torch.ones(1, 2, 3, 3).bfloat16()], {'a': torch.ones(1, 2, 3, 3).bfloat16()}
    )
    with torch.autocast('cpu', torch.bfloat16), rendering_precision(levels) as whole:
        assert not torch.is_autocast_enabled('cpu')
        assert isinstance(whole, Levels)
        assert whole[0].dtype == whole.kept['a'].dtype == torch.float32
    with rendering_precision(levels) as same:
        assert same is levels
