# Copyright (c) The mmpointrend authors.
"""Rendering on output pixels: against closed forms, and against prediction of every pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpointrend.points import (
    OutputGrid,
    ResolutionBatch,
    batches_by_resolution,
    predict_pixels,
    subdivide_onto,
)


def test_pixels_of_a_box():
    """Literal: centres 3.5 to 5.5 lie in [3.2, 6.0), 1.5 and 2.5 in [1.5, 3.4)."""
    grid = OutputGrid.of_boxes(torch.tensor([[3.2, 1.5, 6.0, 3.4]]), height=20, width=30)
    assert grid.start.tolist() == [[3, 1]]
    assert grid.size.tolist() == [[3, 2]]
    points = grid.points(torch.arange(6).unsqueeze(0), 3)[0]
    x, y = [0.3 / 2.8, 1.3 / 2.8, 2.3 / 2.8], [0.0, 1.0 / 1.9]
    expected = torch.tensor([[column, row] for row in y for column in x])
    torch.testing.assert_close(points, expected)


@settings(max_examples=200, deadline=None)
@given(
    box=st.tuples(*[st.floats(-20, 40, width=32)] * 4),
    height=st.integers(1, 24),
    width=st.integers(1, 24),
)
def test_a_pixel_belongs_to_a_box_that_has_its_centre(box, height, width):
    grid = OutputGrid.of_boxes(torch.tensor([box]), height, width)
    rows, columns = torch.arange(height) + 0.5, torch.arange(width) + 0.5
    inside = ((rows >= box[1]) & (rows < box[3]))[:, None] & (
        (columns >= box[0]) & (columns < box[2])
    )
    drawn = torch.zeros(height, width, dtype=torch.bool)
    (column, row), (wide, high) = grid.start[0].tolist(), grid.size[0].tolist()
    drawn[row : row + high, column : column + wide] = wide * high > 0
    assert torch.equal(drawn, inside)
    points = grid.points(torch.arange(max(wide * high, 1)).unsqueeze(0), max(wide, 1))
    assert points.isfinite().all()
    if wide * high > 0:
        assert points.min() >= 0
        assert points.max() <= 1


def test_batches():
    sizes = [(3, 4), (0, 9), (30, 20), (30, 30), (100, 10), (4, 4), (56, 56), (57, 30), (700, 300)]
    batches = batches_by_resolution(sizes, num_points=784, coarse_side=7, full_side=224)
    assert batches == [
        ResolutionBatch([0], 8, 4, 12, None, 784),
        ResolutionBatch([5], 8, 4, 16, None, 784),
        ResolutionBatch([2, 3, 4], 104, 30, 1000, None, 784),  # 600, 900 and 1000 pixels
        ResolutionBatch([6, 7], 64, 56, 3136, 2, 784),  # 7 -> 28, the longer side is 40 to 79
        ResolutionBatch([8], 704, 300, 210000, 6, 4 * 784),  # 7 -> 448, for up to 896
    ]


@pytest.mark.parametrize(
    ('longer', 'steps', 'num_points'),
    [(79, 2, 784), (80, 3, 784), (158, 3, 784), (159, 4, 784), (316, 4, 784), (317, 5, 1568)],
)
def test_the_last_step_enlarges_by_the_root_of_two_at_least(longer, steps, num_points):
    (batch,) = batches_by_resolution([(60, longer)], 784, 7, 224)
    assert (batch.steps, batch.num_points) == (steps, num_points)
    assert 2**0.5 < longer / (7 * 2**steps) <= 2 * 2**0.5


def test_many_large_regions_are_rendered_in_parts():
    """Narrow ones across the output apart from those along it: together each would take the whole output."""
    sizes = [(2000, 40), (50, 1500)] * 30
    batches = batches_by_resolution(sizes, num_points=784, coarse_side=7, full_side=224)
    assert sorted(region for batch in batches for region in batch.regions) == list(range(60))
    assert sum(len(batch.regions) * batch.rows * batch.columns for batch in batches) < 6e6
    assert all(len(batch.regions) * 7**2 * 4**batch.steps < 2**25 for batch in batches)
    (one,) = batches_by_resolution([(9000, 9000)], num_points=784, coarse_side=7, full_side=224)
    assert one.regions == [0]


@pytest.mark.parametrize('box', [[torch.nan] * 4, [1.0, 1.0, torch.nan, 9.0]])
def test_a_box_that_is_not_a_number_has_no_pixel(box):
    grid = OutputGrid.of_boxes(torch.tensor([box, [1.0, 1.0, 3.0, 4.0]]), 20, 30)
    assert grid.size.tolist() == [[0, 0], [2, 3]]
    assert grid.start[0].tolist() == [0, 0]


def test_positions_are_in_single_precision():
    boxes = torch.tensor([[1024.0, 0.0, 1030.0, 4.0]])
    grid, expected = (OutputGrid.of_boxes(b, 2000, 2000) for b in (boxes.half(), boxes))
    assert torch.equal(grid.first, expected.first)
    assert grid.first[0, 0] == pytest.approx(0.5 / 6)


def x_plus_2y(points):
    """A linear function: interpolation keeps it and prediction gives it."""
    return (points[..., 0] + 2 * points[..., 1]).unsqueeze(1)


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4),
    num_points=st.integers(1, 500),
    steps=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_a_linear_function_is_rendered_exactly(sizes, num_points, steps, seed):
    """Whatever is chosen, we know the picture."""
    torch.manual_seed(seed)
    size = torch.tensor(sizes).double()
    corner = 3 * torch.rand(len(sizes), 2).double() + 5
    # Half a pixel less than the whole, so that no pixel's centre falls on the border.
    boxes = torch.cat([corner, corner + size - 0.5], dim=1)
    grid = OutputGrid.of_boxes(boxes, 60, 60)
    side = (torch.arange(7).double() + 0.5) / 7
    coarse = (side[None, :] + 2 * side[:, None]).expand(len(sizes), 1, 7, 7)
    columns, rows = grid.size.amax(dim=0).tolist()
    logits = subdivide_onto(
        grid,
        rows,
        columns,
        coarse,
        x_plus_2y,
        num_points=num_points,
        last_num_points=num_points,
        steps=steps,
    )
    assert logits.shape == (len(sizes), 1, rows, columns)
    pixels = predict_pixels(grid, int(grid.size.prod(dim=1).max()), x_plus_2y)
    for region, (wide, high) in enumerate(grid.size.tolist()):
        points = grid[region : region + 1].points(torch.arange(wide * high).unsqueeze(0), wide)
        expected = x_plus_2y(points)[0, 0]
        torch.testing.assert_close(pixels[region, 0, : wide * high], expected)
        # Beyond the outermost centres interpolation repeats the border: 1/2 + 1/4 + ... of the coarse map's cells.
        inner = ((points[0] >= 1 / 7) & (points[0] <= 1 - 1 / 7)).all(dim=1)
        actual = logits[region, 0, :high, :wide].flatten()
        torch.testing.assert_close(actual[inner], expected[inner], atol=1e-5, rtol=0)


def test_resampling_is_grid_sample_with_repeated_borders():
    torch.manual_seed(0)
    boxes = torch.tensor([[1.3, 2.1, 40.2, 17.9], [-9.5, 3.0, 7.0, 70.0], [20.0, 20.0, 21.0, 22.0]])
    grid, maps = OutputGrid.of_boxes(boxes, 50, 60), torch.randn(3, 2, 9, 14)
    values = grid.resample(maps, 50, 48)
    for region, (columns, rows) in enumerate(grid.size.tolist()):
        points = grid[region : region + 1].points(torch.arange(columns * rows)[None], columns)
        expected = torch.nn.functional.grid_sample(
            maps[region : region + 1],
            2 * points.unflatten(1, (rows, columns)) - 1,
            padding_mode='border',
            align_corners=False,
        )
        torch.testing.assert_close(
            values[region, :, :rows, :columns], expected[0], atol=1e-5, rtol=1e-5
        )


def test_the_most_uncertain_pixels_are_predicted_and_no_other():
    grid = OutputGrid.of_boxes(torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 8.0, 4.0]]), 16, 16)
    coarse = torch.tensor([[[[-8.0, -8.0, 8.0, 8.0]] * 4]] * 2)
    logits = subdivide_onto(
        grid,
        16,
        16,
        coarse,
        lambda points: torch.full((2, 1, points.shape[1]), 99.0),
        num_points=32,
        last_num_points=32,
        steps=0,
    )
    # 16 columns over 4 cells: the boundary is in the middle, its two nearest columns have 32 pixels.
    assert (logits[0, 0] == 99).sum(dim=0).tolist() == [0] * 7 + [16, 16] + [0] * 7
    # All 32 pixels of the small one.
    assert torch.equal(logits[1, 0, :4, :8], torch.full((4, 8), 99.0))


@pytest.mark.parametrize('regions', [0, 2])
def test_shapes_of_nothing(regions):
    grid = OutputGrid.of_boxes(torch.zeros(regions, 4), 10, 10)
    assert grid.size.sum() == 0
    assert batches_by_resolution(grid.size.tolist(), 784, 7, 224) == []
    assert OutputGrid.cat([grid, grid]).size.shape == (2 * regions, 2)
