# Copyright (c) The mmpointrend authors.
"""Losses of the semantic task: class weights beside void labels, and those that would fail in the first step."""

import pytest
import torch
import torch.nn.functional as F
from mmseg.models.losses import CrossEntropyLoss
from tiny_heads import build_segmentor, fpn_head, point_head, pointrend, semantic_batch

from mmpointrend.errors import ConfigError
from mmpointrend.models.decode_heads import VoidCrossEntropyLoss

WEIGHTS = [0.5, 1.0, 2.0, 1.0, 3.0]
LOSS = {'type': 'CrossEntropyLoss', 'class_weight': WEIGHTS}


def test_class_weights_beside_void_are_pytorchs_mean():
    logits, labels = torch.randn(2, 5, 4, 4), torch.randint(5, (2, 4, 4))
    loss = VoidCrossEntropyLoss(class_weight=WEIGHTS)
    own = CrossEntropyLoss(class_weight=WEIGHTS)(logits, labels, ignore_index=255)
    torch.testing.assert_close(loss(logits, labels, ignore_index=255), own)
    labels[:, :2] = 255
    expected = F.cross_entropy(logits, labels, torch.tensor(WEIGHTS), ignore_index=255)
    torch.testing.assert_close(loss(logits, labels, ignore_index=255), expected)


def test_both_heads_train_with_class_weights_on_void():
    model = build_segmentor(pointrend(_with(fpn_head()), _with(point_head())))
    losses = model.loss(*semantic_batch())
    assert losses['decode.coarse.loss_ce'] > 0
    assert losses['decode.point.loss_ce'] > 0


def _with(head, **changes):
    return {**head, 'loss_decode': {**LOSS, **changes}}


@pytest.mark.parametrize('part', ['coarse_head', 'point_head'])
def test_a_class_weight_of_another_length_is_refused(part):
    wrong = {'class_weight': [1.0] * 6}
    coarse = _with(fpn_head(), **wrong) if part == 'coarse_head' else fpn_head()
    point = _with(point_head(), **wrong) if part == 'point_head' else point_head()
    message = (
        rf'decode_head\.{part}\.loss_decode .*: give class_weight one number for each of the 5'
    )
    with pytest.raises(ConfigError, match=message):
        build_segmentor(pointrend(coarse, point))
