# Copyright (c) The mmpointrend authors.
"""Points against literal values and torch's own grids."""

import pytest
import torch
import torch.nn.functional as F

from mmpointrend.points import (
    grid_points,
    map_points_to_pixels,
    regular_grid,
    roi_points_to_image,
)


def test_grid_points_are_pixel_centres():
    points = regular_grid(2, 4)
    x = [0.125, 0.375, 0.625, 0.875]
    expected = [[value, 0.25] for value in x] + [[value, 0.75] for value in x]
    torch.testing.assert_close(points, torch.tensor(expected))


def test_grid_points_with_aligned_corners_reach_the_border():
    points = regular_grid(2, 3, align_corners=True)
    expected = [[0.0, 0.0], [0.5, 0.0], [1.0, 0.0], [0.0, 1.0], [0.5, 1.0], [1.0, 1.0]]
    torch.testing.assert_close(points, torch.tensor(expected))


def test_a_single_pixel_with_aligned_corners():
    assert regular_grid(1, 1, align_corners=True).tolist() == [[0.0, 0.0]]


@pytest.mark.parametrize('align_corners', [False, True])
def test_grid_points_are_those_of_affine_grid(align_corners):
    identity = torch.eye(2, 3).unsqueeze(0)
    expected = F.affine_grid(identity, [1, 1, 5, 7], align_corners=align_corners)
    points = regular_grid(5, 7, align_corners=align_corners)
    torch.testing.assert_close(points * 2 - 1, expected.reshape(-1, 2), atol=1e-6, rtol=0)


def test_grid_points_keep_the_shape_of_the_indices():
    points = grid_points(torch.tensor([[0, 5], [3, 1]]), height=2, width=3)
    assert points.shape == (2, 2, 2)
    torch.testing.assert_close(points[0, 1], torch.tensor([2.5 / 3, 0.75]))


def test_roi_points_to_image():
    boxes = torch.tensor([[10.0, 20.0, 30.0, 60.0], [-4.0, 0.0, 4.0, 8.0]])
    points = torch.tensor([[[0.0, 0.0], [1.0, 0.5]], [[0.25, 1.0], [0.5, 0.5]]])
    expected = torch.tensor([[[10.0, 20.0], [30.0, 40.0]], [[-2.0, 8.0], [0.0, 4.0]]])
    torch.testing.assert_close(roi_points_to_image(boxes, points), expected)


@pytest.mark.parametrize('align_corners', [False, True])
def test_pixels_of_grid_points_are_whole_numbers(align_corners):
    points = regular_grid(3, 5, align_corners=align_corners)
    pixels = map_points_to_pixels(points, 3, 5, align_corners)
    expected = torch.cartesian_prod(torch.arange(3.0), torch.arange(5.0)).flip(-1)
    torch.testing.assert_close(pixels, expected, atol=1e-5, rtol=0)
