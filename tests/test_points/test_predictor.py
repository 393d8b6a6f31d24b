# Copyright (c) The mmpointrend authors.
"""The projecting predictor against sampling and asking the head, which is what it takes apart."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from mmpointrend.points import (
    PointMLP,
    ProjectingPredictor,
    SamplingPredictor,
    point_predictor,
)
from mmpointrend.points.fast import limits


@settings(max_examples=60, deadline=None)
@given(
    regions=st.integers(0, 5),
    num_maps=st.integers(1, 3),
    indexed=st.booleans(),
    levels=st.integers(1, 3),
    coarse_channels=st.integers(1, 6),
    num_layers=st.integers(1, 3),
    coarse_each_layer=st.booleans(),
    out_channels=st.sampled_from([1, 6]),
    one_class=st.booleans(),
    asked=st.integers(0, 9),
    told=st.sampled_from([0, 20, 1000]),
    align_corners=st.booleans(),
    together=st.sampled_from([1, 16, 4096]),
    few_channels=st.sampled_from([0, 32]),
    seed=st.integers(0, 99),
)
def test_projecting_equals_sampling(
    regions,
    num_maps,
    indexed,
    levels,
    coarse_channels,
    num_layers,
    coarse_each_layer,
    out_channels,
    one_class,
    asked,
    told,
    align_corners,
    together,
    few_channels,
    seed,
):
    torch.manual_seed(seed)
    channels = [3, 5, 2][:levels]
    head = PointMLP(
        sum(channels), coarse_channels, 8, out_channels, num_layers, coarse_each_layer
    ).double()
    fine = [
        torch.randn(num_maps if indexed else regions, width, 4 + width, 7 - level).double()
        for level, width in enumerate(channels)
    ]
    coarse = torch.randn(regions, coarse_channels, 3, 4).double()
    map_index = torch.randint(num_maps, (regions,)) if indexed else None
    classes = torch.randint(out_channels, (regions,)) if one_class else None
    points = torch.rand(regions, asked, 2).double()
    # Boxes reach over the image: points outside a fine map read zeros, weights and all.
    fine_points = [1.4 * torch.rand(regions, asked, 2).double() - 0.2 for _ in fine]
    arguments = (head, fine, coarse, map_index, classes, align_corners)
    expected = SamplingPredictor(*arguments)(points, fine_points)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(limits, 'RENDER_POINTS', together)
        patch.setattr(limits, 'PROJECT_FEW_CHANNELS', few_channels)
        actual = ProjectingPredictor(*arguments, told)(points, fine_points)
    assert actual.shape == (regions, 1 if one_class else out_channels, asked)
    torch.testing.assert_close(actual, expected)
    some = slice(1, 3)
    for kind, more in ((SamplingPredictor, ()), (ProjectingPredictor, (told,))):
        part = kind(*arguments, *more)(points[some], [at[some] for at in fine_points], some)
        torch.testing.assert_close(part, expected[some])


@settings(max_examples=40, deadline=None)
@given(
    regions=st.integers(0, 4),
    num_maps=st.integers(1, 3),
    num_points=st.integers(0, 9),
    align_corners=st.booleans(),
    tile=st.sampled_from([1, 4, 16, 7]),
    cells=st.sampled_from([1, 8, 4096]),
    half=st.booleans(),
    seed=st.integers(0, 99),
)
def test_boxes_that_hold_the_points_change_nothing(
    regions, num_maps, num_points, align_corners, tile, cells, half, seed
):
    """Only what they touch of a map is projected, whole tiles of it."""
    torch.manual_seed(seed)
    head = PointMLP(6, 4, 8, 4).eval()
    maps, coarse = torch.randn(num_maps, 6, 8, 16), torch.randn(regions, 4, 3, 3)
    map_index = torch.randint(num_maps, (regions,))
    # Some reach over the map, or lie outside of it.
    low = 1.6 * torch.rand(regions, 2) - 0.4
    boxes = torch.cat([low, low + torch.rand(regions, 2)], dim=1)
    points = torch.rand(regions, num_points, 2)
    on_map = low[:, None] + points * (boxes[:, None, 2:] - low[:, None])
    arguments = (head, [maps], coarse, map_index, None, align_corners, 10**6)
    with (
        pytest.MonkeyPatch.context() as patch,
        torch.no_grad(),
        torch.autocast('cpu', torch.bfloat16, enabled=half),
    ):
        patch.setattr(limits, 'PROJECT_TILE', tile)
        patch.setattr(limits, 'PROJECT_UNTOUCHED', 0.0)
        patch.setattr(limits, 'PROJECT_CELLS', max(cells, tile))
        expected = ProjectingPredictor(*arguments)(points, [on_map])
        actual = ProjectingPredictor(*arguments, [boxes])(points, [on_map])
    tolerance = 0.05 if half else 1e-5
    torch.testing.assert_close(actual, expected, atol=tolerance, rtol=tolerance)


@torch.no_grad()
def test_corners_of_boxes_may_be_in_any_order():
    torch.manual_seed(0)
    head, maps, coarse = PointMLP(6, 4, 8, 4), torch.randn(1, 6, 64, 64), torch.randn(1, 4, 3, 3)
    box, points = torch.tensor([[0.9, 0.5, 0.6, 0.7]]), torch.rand(1, 50, 2)
    on_map = box[:, None, :2] + points * (box[:, None, 2:] - box[:, None, :2])
    arguments = (head, [maps], coarse, torch.tensor([0]))
    expected = SamplingPredictor(*arguments)(points, [on_map])
    actual = point_predictor(*arguments, num_points=9999, extents=[box])(points, [on_map])
    torch.testing.assert_close(actual, expected)


@torch.no_grad()
def test_a_large_coarse_map_with_a_class_for_each_region():
    torch.manual_seed(0)
    head, fine = PointMLP(6, 4, 8, 4), [torch.randn(1, 6, 5, 5)]
    coarse, points = torch.randn(2, 4, 70, 70), torch.rand(2, 9, 2)
    arguments = (head, fine, coarse, torch.tensor([0, 0]), torch.tensor([1, 3]))
    expected = SamplingPredictor(*arguments)(points, [points])
    actual = point_predictor(*arguments, num_points=10**6)(points, [points])
    torch.testing.assert_close(actual, expected)


@torch.no_grad()
def test_an_activation_with_parameters_of_its_channels():
    torch.manual_seed(0)
    head = PointMLP(6, 4, 8, 4, activation=lambda: nn.PReLU(8))
    for layer in head.fcs:
        layer.activate.weight.copy_(torch.rand(8))
    points, maps = torch.rand(2, 9, 2), any_maps()
    expected = SamplingPredictor(head, *maps)(points, [points])
    actual = point_predictor(head, *maps, num_points=99)(points, [points])
    torch.testing.assert_close(actual, expected)


class Doubled(PointMLP):
    """A head of a user's own."""

    def forward(self, features, coarse, classes=None):
        """Twice the logits."""
        return 2 * super().forward(features, coarse, classes)


def any_maps():
    return [torch.randn(1, 6, 5, 5)], torch.randn(2, 4, 3, 3), torch.zeros(2, dtype=torch.long)


@pytest.mark.parametrize(
    'head',
    [
        Doubled(6, 4, 8, 4),
        PointMLP(6, 4, 8, 4, dropout=0.5),
        PointMLP(6, 4, 8, 4, num_layers=0),
        PointMLP(6, 4, 8, 4, norm=lambda channels: ('bn', nn.BatchNorm1d(channels))),
        lambda features, coarse: coarse.mT,
    ],
    ids=['own forward', 'dropout', 'no hidden layer', 'norm', 'no MLP'],
)
def test_what_cannot_be_taken_apart_is_asked_itself(head):
    fine, coarse, map_index = any_maps()
    points = torch.rand(2, 9, 2)
    chosen = point_predictor(head, fine, coarse, map_index, num_points=99)
    assert isinstance(chosen, SamplingPredictor)
    assert chosen(points, [points]).shape == (2, 4, 9)


def test_dropout_is_no_obstacle_in_evaluation():
    fine, coarse, map_index = any_maps()
    head = PointMLP(6, 4, 8, 4, dropout=0.5).eval()
    assert isinstance(
        point_predictor(head, fine, coarse, map_index, num_points=9), ProjectingPredictor
    )


def test_training_goes_through_the_head():
    fine, coarse, map_index = any_maps()
    chosen = point_predictor(PointMLP(6, 4, 8, 4), fine, coarse, map_index)
    assert isinstance(chosen, SamplingPredictor)


def test_autocast_computes_in_half_the_width():
    torch.manual_seed(0)
    fine, coarse, map_index = any_maps()
    head, points = PointMLP(6, 4, 8, 4).eval(), torch.rand(2, 9, 2)
    expected = SamplingPredictor(head, fine, coarse, map_index)(points, [points])
    with torch.autocast('cpu', torch.bfloat16):
        actual = point_predictor(head, fine, coarse, map_index, num_points=99)(points, [points])
    assert actual.dtype == torch.bfloat16
    torch.testing.assert_close(actual.float(), expected, atol=0.02, rtol=0.02)


def test_no_graph_break():
    fine, coarse, map_index = any_maps()
    head, points = PointMLP(6, 4, 8, 4).eval(), torch.rand(2, 9, 2)

    def logits(coarse, points):
        predict = point_predictor(head, fine, coarse, map_index, num_points=99)
        # The quick way in a graph as well.
        assert isinstance(predict, ProjectingPredictor)
        return predict(points, [points])

    compiled = torch.compile(logits, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(coarse, points), logits(coarse, points))


def test_a_forward_of_one_head_alone_is_asked():
    head = PointMLP(6, 4, 8, 4).eval()
    head.forward = lambda features, coarse: coarse.mT
    assert isinstance(point_predictor(head, *any_maps(), num_points=99), SamplingPredictor)
