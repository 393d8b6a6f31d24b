# Copyright (c) The mmpointrend authors.
"""detectron2's point functions answer as detectron2's own.

``tests/data/detectron2/point_functions.json`` has what the functions of detectron2's ``projects/PointRend`` at 02b5c4e
answered, run on the inputs that stand in it.
"""

import json

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mmcv.ops import point_sample as point_sample_of_mmcv

from mmpointrend.points.compat.detectron2 import (
    calculate_uncertainty,
    get_uncertain_point_coords_with_randomness,
    point_sample,
)


@pytest.fixture(scope='module')
def theirs(repo):
    """detectron2's answers, and the inputs that it was given."""
    content = json.loads((repo / 'tests/data/detectron2/point_functions.json').read_text())
    return {key: torch.tensor(value) for key, value in content.items()}


@pytest.mark.parametrize(
    ('name', 'points', 'options'),
    [
        ('point_sample', 'coords', {'align_corners': False}),
        ('point_sample_corners', 'coords', {'align_corners': True}),
        ('point_sample_nearest', 'coords', {'align_corners': False, 'mode': 'nearest'}),
        ('point_sample_grid', 'grid', {'align_corners': False}),
    ],
)
def test_samples_are_detectron2s(theirs, name, points, options):
    samples = point_sample(theirs['logits'], theirs[points], **options)
    torch.testing.assert_close(samples, theirs[name])


def test_uncertainties_are_detectron2s(theirs):
    classes, logits = theirs['classes'], theirs['logits']
    for given_classes in (classes, classes.tolist()):
        ours = calculate_uncertainty(logits, given_classes)
        torch.testing.assert_close(ours, theirs['uncertainty_of_masks'], rtol=0, atol=0)
    torch.testing.assert_close(calculate_uncertainty(logits), theirs['uncertainty_of_labels'])
    one = logits[:, :1]
    torch.testing.assert_close(calculate_uncertainty(one, classes), -one.abs(), rtol=0, atol=0)
    torch.testing.assert_close(calculate_uncertainty(one), -one.abs(), rtol=0, atol=0)


def test_the_points_of_a_training_step_are_detectron2s(theirs):
    logits, classes = theirs['logits'], theirs['classes']
    torch.manual_seed(5)
    points = get_uncertain_point_coords_with_randomness(
        logits, lambda sampled: calculate_uncertainty(sampled, classes), 8, 3, 0.75
    )
    torch.testing.assert_close(points, theirs['points_of_masks'], rtol=0, atol=0)
    torch.manual_seed(5)
    points = get_uncertain_point_coords_with_randomness(logits, calculate_uncertainty, 6, 2, 1.0)
    torch.testing.assert_close(points, theirs['points_of_labels'], rtol=0, atol=0)


def test_ratios_outside_their_range_are_refused():
    logits = torch.zeros(1, 1, 2, 2)
    for ratios in ((0.5, 0.75), (3, 1.5)):
        with pytest.raises(ValueError, match='ratio is'):
            get_uncertain_point_coords_with_randomness(logits, calculate_uncertainty, 4, *ratios)


@given(
    num_maps=st.integers(0, 3),
    channels=st.sampled_from([1, 3, 17, 40]),
    side=st.integers(1, 7),
    num_points=st.integers(0, 60),
    align_corners=st.booleans(),
)
def test_samples_and_gradients_are_those_of_grid_sample(
    num_maps, channels, side, num_points, align_corners
):
    generator = torch.Generator().manual_seed(side)
    maps = torch.randn(num_maps, channels, side, side + 1, generator=generator, dtype=torch.double)
    points = torch.rand(num_maps, num_points, 2, generator=generator, dtype=torch.double)
    answers = []
    for sample in (point_sample, point_sample_of_mmcv):
        inputs = [maps.clone().requires_grad_(), points.clone().requires_grad_()]
        if sample is point_sample_of_mmcv and num_maps == 0:
            assert point_sample(*inputs).shape == (0, channels, num_points)
            return
        samples = sample(*inputs, align_corners=align_corners)
        samples.square().sum().backward()
        answers.append((samples.detach(), *(tensor.grad for tensor in inputs)))
    for ours, theirs in zip(*answers, strict=True):
        torch.testing.assert_close(ours, theirs)
