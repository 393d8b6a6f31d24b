# Copyright (c) The mmpointrend authors.
"""Samples against ``grid_sample``, region by region, and against literal values."""

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpointrend.points import BoxSampler, sample_features, sample_labels, sample_masks


def grid_sample(maps, points, index, align_corners=False, mode='bilinear'):
    """(R, C, P) by torch's sampler, one region at a time."""
    samples = [
        F.grid_sample(
            maps[i : i + 1], p[None, :, None] * 2 - 1, mode=mode, align_corners=align_corners
        )[0, ..., 0]
        for p, i in zip(points, index.tolist(), strict=True)
    ]
    return torch.stack(samples)


@settings(max_examples=40, deadline=None)
@given(
    maps=st.integers(1, 3),
    channels=st.integers(1, 5),
    height=st.integers(1, 9),
    width=st.integers(1, 9),
    regions=st.integers(1, 4),
    num_points=st.integers(1, 6),
    align_corners=st.booleans(),
    seed=st.integers(0, 99),
)
def test_features_are_those_of_grid_sample(
    maps, channels, height, width, regions, num_points, align_corners, seed
):
    torch.manual_seed(seed)
    features = torch.randn(maps, channels, height, width, dtype=torch.double)
    # Beyond the border on every side, where samples fade to zero.
    points = torch.rand(regions, num_points, 2, dtype=torch.double) * 1.6 - 0.3
    index = torch.randint(maps, (regions,))
    expected = grid_sample(features, points, index, align_corners)
    actual = sample_features(features, points, index, align_corners).transpose(1, 2)
    torch.testing.assert_close(actual, expected)


def test_gradient_is_that_of_grid_sample():
    torch.manual_seed(0)
    points, index = torch.rand(4, 7, 2) * 1.2 - 0.1, torch.tensor([1, 0, 1, 1])
    weights = torch.randn(4, 3, 7)
    gradients = []
    for sample in (grid_sample, lambda *args: sample_features(*args).transpose(1, 2)):
        maps = torch.linspace(-1, 1, 2 * 3 * 4 * 5).reshape(2, 3, 4, 5).requires_grad_()
        (sample(maps, points, index) * weights).sum().backward()
        gradients.append(maps.grad)
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=0)


@pytest.mark.parametrize('num_points', [2, 40], ids=['few points', 'many points'])
@pytest.mark.parametrize('align_corners', [False, True])
def test_without_an_index_each_region_has_its_own_map(num_points, align_corners):
    torch.manual_seed(0)
    points = torch.rand(3, num_points, 2) * 1.2 - 0.1
    samples, gradients = [], []
    for index in (None, torch.arange(3)):
        maps = torch.linspace(-1, 1, 3 * 2 * 6 * 7).reshape(3, 2, 6, 7).requires_grad_()
        samples.append(sample_features(maps, points, index, align_corners))
        samples[-1].square().sum().backward()
        gradients.append(maps.grad)
    torch.testing.assert_close(samples[0], samples[1])
    torch.testing.assert_close(gradients[0], gradients[1])


def test_no_region_keeps_the_graph():
    maps = torch.randn(2, 3, 4, 5, requires_grad=True)
    samples = sample_features(maps, torch.zeros(0, 6, 2), torch.zeros(0, dtype=torch.long))
    assert samples.shape == (0, 6, 3)
    samples.sum().backward()
    assert maps.grad.abs().sum() == 0


@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
def test_half_precision_maps(dtype):
    torch.manual_seed(0)
    maps, points, index = torch.randn(1, 8, 6, 6), torch.rand(1, 20, 2), torch.tensor([0])
    samples = sample_features(maps.to(dtype), points, index)
    assert samples.dtype == dtype
    expected = sample_features(maps, points, index)
    torch.testing.assert_close(samples.float(), expected, atol=0.05, rtol=0)


def test_gradients_of_half_precision_maps_add_up_in_full():
    """10,000 points in one cell: a bfloat16 sum of ones stops at 256."""
    maps = torch.zeros(1, 1, 1, 1, dtype=torch.bfloat16, requires_grad=True)
    points = torch.full((1, 10_000, 2), 0.5)
    sample_features(maps, points, torch.tensor([0])).sum().backward()
    assert maps.grad.item() == pytest.approx(10_000, rel=0.01)


@pytest.mark.parametrize('dtype', [torch.uint8, torch.bool])
def test_mask_values_between_pixels(dtype):
    mask = torch.tensor([[[1, 0], [1, 0]]], dtype=dtype)
    points = torch.tensor([[[0.25, 0.25], [0.5, 0.5], [0.625, 0.5], [0.0, 0.5]]])
    values = sample_masks(mask, points, torch.tensor([0]))
    # The last point is on the border: half of it is outside, where a mask is 0.
    torch.testing.assert_close(values, torch.tensor([[1.0, 0.5, 0.25, 0.5]]))


def test_several_regions_share_a_mask():
    torch.manual_seed(0)
    masks, points = torch.rand(3, 6, 5) > 0.5, torch.rand(4, 9, 2)
    index = torch.tensor([2, 0, 2, 1])
    expected = grid_sample(masks[:, None].float(), points, index)[:, 0]
    torch.testing.assert_close(sample_masks(masks, points, index), expected)


@pytest.mark.parametrize('align_corners', [False, True])
def test_labels_are_those_of_nearest_grid_sample(align_corners):
    torch.manual_seed(0)
    labels, points = torch.randint(0, 255, (2, 7, 5)), torch.rand(2, 300, 2)
    expected = grid_sample(
        labels[:, None].float(), points, torch.arange(2), align_corners, mode='nearest'
    )
    actual = sample_labels(labels, points, align_corners)
    assert actual.dtype == labels.dtype
    assert torch.equal(actual, expected[:, 0].long())


def test_a_label_on_the_border_is_the_border_pixels():
    labels = torch.full((1, 2, 2), 7)
    assert sample_labels(labels, torch.tensor([[[1.0, 1.0], [0.0, 0.0]]])).tolist() == [[7, 7]]


def test_maps_beyond_the_whole_numbers_of_float32():
    """Row-major indices past 2^24 are not all float32 numbers: the odd ones would be somebody else's pixel."""
    height, width, row, column = 4099, 4111, 4090, 4001
    assert height * width > 2**24
    assert (row * width + column) % 2 == 1
    mask = torch.zeros(1, height, width, dtype=torch.uint8)
    mask[0, row, column] = 1
    points = torch.tensor([[[(column + 0.5) / width, (row + 0.5) / height]]])
    assert sample_masks(mask, points, torch.tensor([0])).item() == pytest.approx(1, abs=0.01)
    assert sample_labels(mask, points).item() == 1


@pytest.mark.parametrize('value', [float('nan'), float('inf')])
def test_points_nowhere_read_nan(value):
    """Diverging boxes have to show in the loss; as an index they would end the process on a GPU."""
    points = torch.tensor([[[value, value], [0.5, 0.5]]])
    features = sample_features(torch.ones(1, 3, 4, 4), points, torch.tensor([0]))
    assert features[0, 0].isnan().all()
    assert features[0, 1].tolist() == [1.0, 1.0, 1.0]
    values = sample_masks(torch.ones(1, 4, 4), points, torch.tensor([0]))
    assert values[0, 0].isnan()
    assert values[0, 1] == 1


def boxes_and_points(regions, num_points, dtype=torch.float):
    """Boxes in and beyond the map, some of no extent, and points in them: in the boxes, and on the map."""
    low = torch.rand(regions, 2, dtype=dtype) * 1.6 - 0.3
    boxes = torch.cat([low, low + torch.rand(regions, 2, dtype=dtype) * 0.7], dim=1)
    boxes[::3, 2:] = boxes[::3, :2]
    inside = torch.rand(regions, num_points, 2, dtype=dtype)
    # The border of a box belongs to it.
    inside[:, ::2] = inside[:, ::2].round()
    return boxes, inside * (boxes[:, None, 2:] - boxes[:, None, :2]) + boxes[:, None, :2]


@settings(max_examples=60, deadline=None)
@given(
    maps=st.integers(1, 3),
    height=st.integers(1, 30),
    width=st.integers(1, 30),
    regions=st.integers(0, 6),
    seed=st.integers(0, 999),
)
def test_samples_of_boxes_are_those_of_the_map(maps, height, width, regions, seed):
    torch.manual_seed(seed)
    boxes, points = boxes_and_points(regions, 8)
    index = torch.randint(maps, (regions,))
    weights = torch.randn(regions, 8, 3)
    samples, gradients = [], []
    for once in (True, False):
        features = torch.linspace(-1, 1, maps * 3 * height * width)
        features = features.view(maps, 3, height, width).requires_grad_()
        if once:
            samples.append(sample_features(features, points, index))
        else:
            sampler = BoxSampler(features, boxes, index)
            samples.append(torch.cat([sampler(points[:, :5]), sampler(points[:, 5:])], dim=1))
        (samples[-1] * weights).sum().backward()
        gradients.append(features.grad)
    torch.testing.assert_close(samples[1], samples[0])
    torch.testing.assert_close(gradients[1], gradients[0], atol=1e-5, rtol=0)


def test_boxes_copy_what_they_cover_alone():
    """Two boxes of 3x4 pixels: a margin of a few pixels is copied with each, of the map of 10,000 nothing else."""
    kept = []
    maps = torch.randn(2, 3, 100, 100, requires_grad=True)
    boxes = torch.tensor([[0.1, 0.1, 0.13, 0.14], [0.8, 0.5, 0.83, 0.54]])
    with torch.autograd.graph.saved_tensors_hooks(kept.append, lambda tensor: tensor):
        BoxSampler(maps, boxes, torch.tensor([0, 1]))(
            torch.rand(2, 5, 2) * 0.03 + boxes[:, None, :2]
        )
    assert 0 < max(tensor.numel() for tensor in kept) < 3 * 200


def test_a_point_outside_its_box_reads_nan():
    """Better than another cell's features."""
    sampler = BoxSampler(
        torch.ones(1, 2, 50, 50), torch.tensor([[0.1, 0.1, 0.2, 0.2]]), torch.tensor([0])
    )
    samples = sampler(torch.tensor([[[0.15, 0.15], [0.8, 0.8]]]))
    assert samples[0, 0].tolist() == [1.0, 1.0]
    assert samples[0, 1].isnan().all()


@pytest.mark.parametrize('value', [float('nan'), float('inf'), -float('inf')])
def test_boxes_nowhere_read_nan(value):
    boxes = torch.tensor([[value, 0.2, 0.4, 0.4], [0.5, 0.5, 0.9, value], [0.1, 0.1, 0.9, 0.9]])
    points = torch.full((3, 1, 2), 0.5) * (boxes[:, None, 2:] - boxes[:, None, :2])
    samples = BoxSampler(torch.ones(1, 2, 40, 40), boxes, torch.zeros(3, dtype=torch.long))(
        points + boxes[:, None, :2]
    )
    assert samples[:2].isnan().all()
    assert samples[2].tolist() == [[1.0, 1.0]]


@pytest.mark.parametrize('memory_format', [torch.contiguous_format, torch.channels_last])
def test_half_precision_maps_of_boxes(memory_format):
    """10,000 points in one cell, as above; and maps whose layout is channels-last already."""
    maps = torch.zeros(1, 4, 6, 6, dtype=torch.bfloat16).to(memory_format=memory_format)
    maps.requires_grad_()
    samples = BoxSampler(maps, torch.tensor([[0.0, 0, 1, 1]]), torch.tensor([0]))(
        torch.full((1, 10_000, 2), 3.5 / 6)
    )
    assert samples.dtype == torch.bfloat16
    samples.sum().backward()
    expected = torch.zeros(1, 4, 6, 6)
    expected[:, :, 3, 3] = 10_000
    torch.testing.assert_close(maps.grad.float(), expected, rtol=0.01, atol=0)
