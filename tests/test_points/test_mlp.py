# Copyright (c) The mmpointrend authors.
"""The MLP against the definition: concatenate, convolve, rectify."""

import pytest
import torch

from mmpointrend.points import PointMLP


def by_definition(mlp, features, coarse):
    """(R, k, P) by concatenation and 1x1 convolutions on (R, C, P), as the paper draws it."""
    features, coarse = features.transpose(1, 2), coarse.transpose(1, 2)
    x = torch.cat([features, coarse], dim=1)
    for layer in mlp.fcs:
        x = layer.conv(x).relu()
        if mlp.coarse_each_layer:
            x = torch.cat([x, coarse], dim=1)
    return mlp.fc_logits(x)


@pytest.mark.parametrize('num_layers', [0, 1, 3])
@pytest.mark.parametrize('coarse_each_layer', [True, False])
def test_logits_are_those_of_the_definition(num_layers, coarse_each_layer):
    torch.manual_seed(0)
    mlp = PointMLP(6, 4, 8, 4, num_layers, coarse_each_layer)
    features, coarse = torch.randn(3, 5, 6), torch.randn(3, 5, 4)
    expected = by_definition(mlp, features, coarse)
    torch.testing.assert_close(mlp(features, coarse), expected)
    classes = torch.tensor([3, 0, 3])
    own = expected[torch.arange(3), classes].unsqueeze(1)
    torch.testing.assert_close(mlp(features, coarse, classes), own)


@pytest.mark.parametrize('with_classes', [True, False])
def test_more_points_than_go_together(with_classes):
    """Parts of 8192 points, a region of 3000 never in two: the same logits and gradients."""
    torch.manual_seed(0)
    mlp = PointMLP(6, 4, 8, 4)
    inputs = [torch.randn(5, 3000, n).requires_grad_() for n in (6, 4)]
    wanted = [*inputs, *mlp.parameters()]
    weights, classes = torch.randn(5, 1, 3000), torch.tensor([3, 0, 3, 1, 2])
    expected = by_definition(mlp, *inputs)
    logits = mlp(*inputs, classes) if with_classes else mlp(*inputs)
    if with_classes:
        expected = expected[torch.arange(5), classes].unsqueeze(1)
    torch.testing.assert_close(logits, expected)
    gradients = [torch.autograd.grad((out * weights).sum(), wanted) for out in (logits, expected)]
    for actual, gradient in zip(*gradients, strict=True):
        torch.testing.assert_close(actual, gradient, rtol=1e-4, atol=1e-3)


def test_one_channel_serves_all_classes():
    torch.manual_seed(0)
    mlp = PointMLP(6, 4, 8, 1)
    inputs = torch.randn(3, 5, 6), torch.randn(3, 5, 4)
    torch.testing.assert_close(mlp(*inputs, torch.tensor([3, 0, 2])), mlp(*inputs))


def test_state_dict_is_that_of_all_checkpoints():
    shapes = {name: tuple(value.shape) for name, value in PointMLP(6, 4, 8, 3).state_dict().items()}
    hidden = {f'fcs.{i}.conv.weight': (8, 10 if i == 0 else 12, 1) for i in range(3)}
    biases = {f'fcs.{i}.conv.bias': (8,) for i in range(3)}
    assert shapes == hidden | biases | {'fc_logits.weight': (3, 12, 1), 'fc_logits.bias': (3,)}


def test_every_parameter_gets_a_gradient():
    mlp = PointMLP(6, 4, 8, 3)
    mlp(torch.randn(2, 5, 6), torch.randn(2, 5, 4)).square().sum().backward()
    assert all(parameter.grad.abs().sum() > 0 for parameter in mlp.parameters())


def test_no_region_still_reaches_every_parameter():
    mlp = PointMLP(6, 4, 8, 3)
    none = torch.zeros(0, dtype=torch.long)
    logits = mlp(torch.zeros(0, 5, 6), torch.zeros(0, 5, 4), none)
    assert logits.shape == (0, 1, 5)
    logits.sum().backward()
    assert all(parameter.grad is not None for parameter in mlp.parameters())


def test_dropout_acts_in_training_only():
    torch.manual_seed(0)
    mlp = PointMLP(6, 4, 8, 3, dropout=0.5)
    inputs = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    assert not torch.equal(mlp(*inputs), mlp(*inputs))
    mlp.eval()
    assert torch.equal(mlp(*inputs), mlp(*inputs))


def test_norm_and_activation_act_on_every_hidden_layer():
    torch.manual_seed(0)
    mlp = PointMLP(
        6,
        4,
        8,
        3,
        norm=lambda channels: ('gn', torch.nn.GroupNorm(2, channels)),
        activation=torch.nn.GELU,
    )
    features, coarse = torch.randn(2, 5, 6), torch.randn(2, 5, 4)
    x = features.mT
    for layer in mlp.fcs:
        assert layer.conv.bias is None
        x = torch.nn.functional.conv1d(torch.cat([x, coarse.mT], dim=1), layer.conv.weight)
        x = torch.nn.functional.gelu(layer.gn(x))
    expected = mlp.fc_logits(torch.cat([x, coarse.mT], dim=1))
    torch.testing.assert_close(mlp(features, coarse), expected)
