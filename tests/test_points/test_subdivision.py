# Copyright (c) The mmpointrend authors.
"""The renderer against a plain reference, and against functions it has to reproduce exactly."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpointrend.points import (
    logit_uncertainty,
    probability_uncertainty,
    regular_grid,
    sample_features,
    steps_to_reach,
    subdivide,
)


def reference(coarse, predict, num_points, steps, scale_factor, uncertainty, align_corners):
    """Subdivision one region at a time, every step predicted, no shortcut."""
    rendered = []
    for region in range(len(coarse)):
        logits = coarse[region : region + 1]
        for _ in range(steps):
            size = [side * scale_factor for side in logits.shape[-2:]]
            logits = F.interpolate(logits, size=size, mode='bilinear', align_corners=align_corners)
            chosen = (
                uncertainty(logits.float())
                .flatten()
                .topk(min(num_points, size[0] * size[1]))
                .indices
            )
            points = regular_grid(*size, align_corners=align_corners)[chosen]
            flat = logits.flatten(2).clone()
            flat[..., chosen] = predict(points.expand(len(coarse), -1, -1))[region]
            logits = flat.reshape(logits.shape)
        rendered.append(logits)
    return torch.cat(rendered)


@settings(max_examples=40, deadline=None)
@given(
    regions=st.integers(1, 3),
    channels=st.integers(1, 4),
    height=st.integers(1, 5),
    width=st.integers(1, 5),
    steps=st.integers(0, 3),
    scale_factor=st.integers(2, 3),
    num_points=st.integers(1, 120),
    uncertainty=st.sampled_from([logit_uncertainty, probability_uncertainty]),
    align_corners=st.booleans(),
    seed=st.integers(0, 99),
)
def test_rendering_is_that_of_the_reference(
    regions,
    channels,
    height,
    width,
    steps,
    scale_factor,
    num_points,
    uncertainty,
    align_corners,
    seed,
):
    torch.manual_seed(seed)
    coarse = torch.randn(regions, channels, height, width, dtype=torch.double)
    fine = torch.randn(regions, channels, 11, 13, dtype=torch.double)
    index = torch.arange(regions)

    def predict(points):
        return sample_features(fine, points, index, align_corners).transpose(1, 2)

    def without_ties(logits):
        # Interpolation repeats the border, so equal uncertainties do occur; which of them is taken is anyone's guess.
        unsure = uncertainty(logits)
        ramp = torch.arange(unsure[0].numel()).sqrt().reshape(unsure.shape[1:])
        return unsure.float() + 1e-3 * ramp

    arguments = {
        'num_points': num_points,
        'steps': steps,
        'scale_factor': scale_factor,
        'uncertainty': without_ties,
        'align_corners': align_corners,
    }
    expected = reference(coarse, predict, **arguments)
    actual = subdivide(coarse, predict, **arguments)
    assert actual.shape[-2:] == (height * scale_factor**steps, width * scale_factor**steps)
    torch.testing.assert_close(actual, expected)


@pytest.mark.parametrize('align_corners', [False, True])
def test_a_linear_function_is_rendered_exactly(align_corners):
    """Interpolation keeps x - y and prediction gives it: whatever is chosen, we know the picture."""

    def values(points):
        return (points[..., 0] - points[..., 1]).unsqueeze(1)

    coarse = values(regular_grid(4, 4, align_corners=align_corners)).reshape(1, 1, 4, 4)
    rendered = subdivide(
        coarse, values, num_points=40, steps=3, scale_factor=2, align_corners=align_corners
    )
    expected = values(regular_grid(32, 32, align_corners=align_corners)).reshape(1, 1, 32, 32)
    # Beyond the outermost pixel centres interpolation repeats the border: 4 + 2 + 1 pixels in three steps.
    border = 0 if align_corners else 7
    inner = slice(border, 32 - border)
    torch.testing.assert_close(rendered[..., inner, inner], expected[..., inner, inner])


def test_only_the_most_uncertain_pixels_change():
    coarse = torch.tensor([[[[-8.0, -8.0, 8.0, 8.0]] * 4]])
    rendered = subdivide(
        coarse, lambda points: torch.full((1, 1, points.shape[1]), 99.0), num_points=16, steps=1
    )
    upsampled = F.interpolate(coarse, scale_factor=2, mode='bilinear')
    changed = (rendered != upsampled)[0, 0]
    # The boundary runs down the middle: two columns of eight pixels are unsure.
    assert changed.sum() == 16
    assert changed[:, 3:5].all()


def test_steps_that_are_overwritten_are_skipped_but_never_the_last():
    asked = []

    def predict(points):
        asked.append(points.shape[1])
        return points.new_zeros(len(points), 1, points.shape[1])

    subdivide(torch.randn(2, 1, 7, 7), predict, num_points=28 * 28, steps=5)
    assert asked == [784, 784, 784, 784]
    asked.clear()
    subdivide(torch.randn(2, 1, 7, 7), predict, num_points=28 * 28, steps=1)
    assert asked == [196]


@pytest.mark.parametrize('channels', [1, 5])
def test_no_region(channels):
    rendered = subdivide(
        torch.zeros(0, channels, 7, 7),
        lambda points: points.new_zeros(0, channels, points.shape[1]),
        num_points=20,
        steps=3,
    )
    assert rendered.shape == (0, channels, 56, 56)


def test_the_coarse_prediction_is_left_as_it_was():
    coarse = torch.randn(1, 1, 4, 4)
    before = coarse.clone()
    for steps in (0, 2):
        subdivide(coarse, lambda points: points[..., :1].mT + 5, num_points=9, steps=steps)
    assert torch.equal(coarse, before)


def test_memory_order_changes_nothing():
    """Convolutions in ``channels_last`` hand over logits whose flattening would be a copy: points lost."""
    torch.manual_seed(0)
    coarse = torch.randn(2, 3, 4, 4)
    arguments = {'num_points': 20, 'steps': 2}
    expected = subdivide(coarse, lambda points: points[..., :1].expand(-1, -1, 3).mT, **arguments)
    actual = subdivide(
        coarse.contiguous(memory_format=torch.channels_last),
        lambda points: points[..., :1].expand(-1, -1, 3).mT,
        **arguments,
    )
    assert torch.equal(actual, expected)


def test_half_precision_keeps_its_dtype_and_is_chosen_from_in_full():
    """Margins of bfloat16 logits tie in great numbers where their difference is rounded once more."""
    seen = []

    def uncertainty(logits):
        seen.append(logits.dtype)
        return logit_uncertainty(logits)

    rendered = subdivide(
        torch.randn(2, 3, 4, 4).bfloat16(),
        lambda points: points[..., :1].expand(-1, -1, 3).mT,
        num_points=20,
        steps=2,
        uncertainty=uncertainty,
    )
    assert rendered.dtype == torch.bfloat16
    assert set(seen) == {torch.float32}


def test_the_observer_sees_every_step():
    seen = []
    coarse = torch.randn(2, 1, 4, 4)
    rendered = subdivide(
        coarse,
        lambda points: points[..., :1].mT,
        num_points=100,
        steps=3,
        observer=lambda step: seen.append(
            (step.index, step.points.shape[1], tuple(step.logits.shape[-2:]), step.logits.clone())
        ),
    )
    # 100 points do not cover the 256 pixels of the second step, so the first is not skipped.
    assert [step[:3] for step in seen] == [
        (0, 0, (4, 4)),
        (1, 64, (8, 8)),
        (2, 100, (16, 16)),
        (3, 100, (32, 32)),
    ]
    assert torch.equal(seen[0][3], coarse)
    assert torch.equal(seen[-1][3], rendered)


@pytest.mark.parametrize(
    ('coarse', 'output', 'factor', 'steps'), [(7, 224, 2, 5), (7, 7, 2, 0), (14, 126, 3, 2)]
)
def test_steps_to_reach(coarse, output, factor, steps):
    assert steps_to_reach(coarse, output, factor) == steps


@pytest.mark.parametrize('output', [200, 6])
def test_an_output_out_of_reach_names_those_in_reach(output):
    with pytest.raises(ValueError, match=f'output of {output} cannot be reached.*7, 14, 28, 56'):
        steps_to_reach(7, output)
