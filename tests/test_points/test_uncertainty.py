# Copyright (c) The mmpointrend authors.
"""Uncertainty against ``topk`` and literal values."""

import pytest
import torch

from mmpointrend.points import UNCERTAINTIES, logit_uncertainty, probability_uncertainty


def test_one_channel_is_distance_from_the_boundary():
    logits = torch.tensor([[[-2.0, 0.5, 0.0]]])
    assert logit_uncertainty(logits).tolist() == [[-2.0, -0.5, 0.0]]
    expected = -(logits[:, 0].sigmoid() - 0.5).abs()
    torch.testing.assert_close(probability_uncertainty(logits), expected)


@pytest.mark.parametrize('classes', [2, 3, 19])
def test_several_channels_are_the_margin_to_the_bit(classes):
    torch.manual_seed(0)
    logits = torch.randn(2, classes, 5, 6)
    best, second = logits.topk(2, dim=1).values.unbind(1)
    assert torch.equal(logit_uncertainty(logits), second - best)
    best, second = logits.softmax(1).topk(2, dim=1).values.unbind(1)
    assert torch.equal(probability_uncertainty(logits), second - best)


def test_two_equal_best_classes_are_as_unsure_as_can_be():
    logits = torch.tensor([3.0, 3.0, 1.0]).reshape(1, 3, 1)
    assert [function(logits).item() for function in UNCERTAINTIES.values()] == [0.0, 0.0]


def test_logits_and_probabilities_order_pixels_differently():
    # The larger margin of logits is the smaller one of probabilities where many classes share them.
    sure = torch.tensor([4.0, 3.0, -9.0, -9.0])
    unsure = torch.tensor([1.2, 0.0, 0.0, 0.0])
    logits = torch.stack([sure, unsure], dim=1).unsqueeze(0)
    assert logit_uncertainty(logits).argmax() == 0
    assert probability_uncertainty(logits).argmax() == 1
