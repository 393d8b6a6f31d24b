# Copyright (c) The mmpointrend authors.
"""Selection strategies: counts, ranges, and what bias means."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from mmdet.models.utils.point_sample import get_uncertain_point_coords_with_randomness

from mmpointrend.points import (
    BiasedSelection,
    RegularGridSelection,
    UniformSelection,
    regular_grid,
    sample_features,
    select_uncertain,
)

CPU = torch.device('cpu')


def distance_to_diagonal(points):
    """An uncertainty that is largest on the diagonal."""
    return -(points[..., 0] - points[..., 1]).abs()


@settings(max_examples=30, deadline=None)
@given(
    regions=st.integers(0, 4),
    num_points=st.integers(1, 50),
    oversample=st.sampled_from([1, 1.5, 3, 10]),
    importance=st.sampled_from([0, 0.3, 0.75, 1]),
)
def test_biased_points_are_as_many_as_asked_for_and_inside(
    regions, num_points, oversample, importance
):
    select = BiasedSelection(oversample, importance)
    points = select(regions, num_points, distance_to_diagonal, CPU)
    assert points.shape == (regions, num_points, 2)
    assert ((points >= 0) & (points <= 1)).all()


def test_biased_points_are_those_of_mmdet():
    torch.manual_seed(0)
    logits, labels = torch.randn(3, 4, 7, 7), torch.tensor([1, 0, 3])
    own = logits[torch.arange(3), labels].unsqueeze(1)

    def uncertainty_at(points):
        return -sample_features(own, points, torch.arange(3))[..., 0].abs()

    torch.manual_seed(1)
    expected = get_uncertain_point_coords_with_randomness(logits, labels, 196, 3, 0.75)
    torch.manual_seed(1)
    actual = BiasedSelection(3, 0.75)(3, 196, uncertainty_at, CPU)
    torch.testing.assert_close(actual, expected)


def test_bias_grows_with_k_and_beta():
    torch.manual_seed(0)
    mean = [
        distance_to_diagonal(select(8, 200, distance_to_diagonal, CPU)).mean().item()
        for select in (UniformSelection(), BiasedSelection(3, 0.75), BiasedSelection(10, 1.0))
    ]
    # Uniform points are 1/3 from the diagonal on average.
    assert mean[0] == pytest.approx(-1 / 3, abs=0.03)
    assert mean[0] + 0.1 < mean[1]
    assert mean[1] + 0.05 < mean[2]


def test_a_regular_grid_is_the_same_for_all_regions():
    points = RegularGridSelection()(3, 49, distance_to_diagonal, CPU)
    assert torch.equal(points, regular_grid(7, 7).expand(3, -1, -1))


def test_a_regular_grid_refuses_50_points():
    with pytest.raises(ValueError, match='num_points is 50: a regular grid needs a square number'):
        RegularGridSelection()(3, 50, distance_to_diagonal, CPU)


@pytest.mark.parametrize(
    ('arguments', 'message'),
    [
        ({'oversample_ratio': 0.5}, 'oversample_ratio is 0.5: it has to be at least 1'),
        ({'importance_sample_ratio': 1.1}, 'importance_sample_ratio is 1.1.*between 0 and 1'),
    ],
)
def test_ratios_out_of_range_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        BiasedSelection(**arguments)


def test_the_most_uncertain_pixels():
    uncertainty = torch.tensor([[[-3.0, -1.0], [-0.5, -2.0]], [[0.0, -9.0], [-8.0, -7.0]]])
    assert select_uncertain(uncertainty, 2).tolist() == [[1, 2], [0, 3]]
    assert select_uncertain(uncertainty, 99).tolist() == [[0, 1, 2, 3]] * 2


@settings(max_examples=60, deadline=None)
@given(
    regions=st.integers(0, 3),
    height=st.integers(1, 40),
    width=st.integers(1, 40),
    num_points=st.integers(1, 60),
    seed=st.integers(0, 99),
)
def test_selection_is_topk_in_raster_order(regions, height, width, num_points, seed):
    """Also in two rounds, which many pixels for each selected one take."""
    torch.manual_seed(seed)
    uncertainty = torch.rand(regions, height, width)
    expected = uncertainty.flatten(1).topk(min(num_points, height * width), dim=1).indices
    assert torch.equal(select_uncertain(uncertainty, num_points), expected.sort(dim=1).values)


def test_missing_pixels_are_chosen_last():
    uncertainty = torch.full((2, 32, 32), -torch.inf)
    uncertainty[0, 3, 5] = uncertainty[0, 20, 1] = -2.0
    assert set(select_uncertain(uncertainty, 4)[0].tolist()) >= {3 * 32 + 5, 20 * 32 + 1}
