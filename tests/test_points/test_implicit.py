# Copyright (c) The mmpointrend authors.
"""Regions with their own MLP, against one ``nn.Sequential`` a region; the encoding against complex exponentials."""

import math
from itertools import pairwise

import pytest
import torch
from torch import nn

from mmpointrend.points import ImplicitPredictor, InstanceMLP, PositionalEncoding, sample_features
from mmpointrend.points.fast import limits


def sequential(parameters, widths):
    """The MLP that a vector of numbers stands for."""
    layers = [nn.Linear(*pair) for pair in pairwise(widths)]
    numbers = iter(parameters.tolist())
    for kind in ('weight', 'bias'):
        for layer in layers:
            tensor = getattr(layer, kind)
            values = [next(numbers) for _ in range(tensor.numel())]
            tensor.data = torch.tensor(values).view(tensor.shape)
    assert next(numbers, None) is None
    return nn.Sequential(*[part for layer in layers for part in (layer, nn.ReLU())][:-1])


@pytest.mark.parametrize('num_layers', [0, 1, 3])
def test_every_region_has_its_own_layers(num_layers):
    torch.manual_seed(0)
    mlp = InstanceMLP(6, 5, 4, num_layers)
    parameters = torch.randn(3, mlp.num_parameters)
    first, second = torch.randn(3, 7, 2), torch.randn(3, 7, 4)
    logits = mlp([first, second], parameters)
    assert logits.shape == (3, 4, 7)
    inputs = torch.cat([first, second], dim=-1)
    widths = [6, *[5] * num_layers, 4]
    for region in range(3):
        expected = sequential(parameters[region], widths)(inputs[region]).T
        torch.testing.assert_close(logits[region], expected, atol=1e-5, rtol=1e-5)
    classes = torch.tensor([3, 0, 3])
    own = logits[torch.arange(3), classes].unsqueeze(1)
    torch.testing.assert_close(mlp([first, second], parameters, classes), own)


def test_one_channel_serves_all_classes():
    mlp = InstanceMLP(2, 3, 1)
    parameters, inputs = torch.randn(2, mlp.num_parameters), [torch.randn(2, 5, 2)]
    assert torch.equal(mlp(inputs, parameters, torch.tensor([4, 0])), mlp(inputs, parameters))


def test_the_published_size():
    # 512 -> 256 -> 256 -> 256 -> 80 with biases.
    assert InstanceMLP(512, 256, 80).num_parameters == 283_472


def test_no_region_still_has_a_gradient():
    mlp = InstanceMLP(2, 3, 4)
    parameters = torch.zeros(0, mlp.num_parameters, requires_grad=True)
    logits = mlp([torch.zeros(0, 5, 2)], parameters, torch.zeros(0, dtype=torch.long))
    assert logits.shape == (0, 1, 5)
    logits.sum().backward()
    assert parameters.grad is not None


def test_encoding_is_of_waves():
    encoding = PositionalEncoding(16)
    points = torch.rand(2, 9, 2, generator=torch.Generator().manual_seed(0))
    phase = (
        2j * math.pi * (2 * points.double() - 1) @ encoding.frequencies.double().to(torch.cdouble)
    )
    waves = phase.exp()
    expected = torch.cat([waves.imag, waves.real], dim=-1).float()
    torch.testing.assert_close(encoding(points), expected, atol=1e-5, rtol=0)
    # At the centre of a region every wave begins.
    assert encoding(torch.full((1, 2), 0.5)).tolist() == [[0.0] * 16 + [1.0] * 16]


def test_directions_are_the_same_whatever_was_drawn_before():
    torch.manual_seed(1)
    first = PositionalEncoding(128).frequencies
    torch.manual_seed(2)
    assert torch.equal(PositionalEncoding(128).frequencies, first)
    assert abs(first.mean()) < 0.15 and 0.9 < first.std() < 1.1


@pytest.mark.parametrize('together', [1, 12, 10**6])
def test_predictor_samples_each_regions_map(together, monkeypatch):
    monkeypatch.setattr(limits, 'IMPLICIT_POINTS', together)
    torch.manual_seed(0)
    mlp = InstanceMLP(2 + 3 + 1, 4, 5, 1)
    fine = [torch.randn(2, 3, 6, 8), torch.randn(2, 1, 3, 4)]
    map_index, classes = torch.tensor([1, 0, 1]), torch.tensor([4, 2, 0])
    parameters, points = torch.randn(3, mlp.num_parameters), torch.rand(3, 7, 2)
    fine_points = [torch.rand(3, 7, 2), torch.rand(3, 7, 2)]

    def head(points, features, parameters, classes):
        return mlp([points, *features], parameters, classes)

    predict = ImplicitPredictor(head, fine, parameters, map_index, classes)
    logits = predict(points, fine_points)
    assert logits.shape == (3, 1, 7)
    for region in range(3):
        samples = [
            sample_features(level[map_index[region], None], at[region, None])
            for level, at in zip(fine, fine_points, strict=True)
        ]
        expected = mlp([points[region, None], *samples], parameters[region, None])
        torch.testing.assert_close(logits[region], expected[0, classes[region], None])
    part = slice(1, 3)
    some = predict(points[part], [at[part] for at in fine_points], part)
    torch.testing.assert_close(some, logits[part])
    none = slice(1, 1)
    assert predict(points[none], [at[none] for at in fine_points], none).shape == (0, 1, 7)
