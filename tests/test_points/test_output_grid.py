# Copyright (c) The mmpointrend authors.
"""Rendering on output pixels: against closed forms, and against prediction of every pixel."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from mmpointrend.points import OutputGrid, batches_by_resolution, subdivide_onto


def test_pixels_of_a_box():
    """Literal: centres 3.5 to 5.5 lie in [3.2, 6.0), 1.5 and 2.5 in [1.5, 3.4)."""
    grid = OutputGrid.of_boxes(torch.tensor([[3.2, 1.5, 6.0, 3.4]]), height=20, width=30)
    assert grid.start.tolist() == [[3, 1]]
    assert grid.size.tolist() == [[3, 2]]
    points = grid.points(torch.arange(6).unsqueeze(0))[0]
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
    points = grid.points(torch.arange(max(wide * high, 1)).unsqueeze(0))
    assert points.isfinite().all()
    if wide * high > 0:
        assert points.min() >= 0
        assert points.max() <= 1


def test_batches():
    sizes = [(3, 4), (0, 9), (30, 20), (30, 30), (100, 10), (4, 4), (56, 56), (57, 30), (700, 300)]
    batches = batches_by_resolution(sizes, num_points=784, coarse_side=7)
    assert batches == [
        (0, [0]),  # 12 pixels
        (0, [5]),  # 16
        (0, [2]),  # 600
        (2, [3, 6]),  # 7 -> 28, the side is above 28 and at most 56
        (3, [4, 7]),  # 7 -> 56
        (6, [8]),  # 7 -> 448
    ]


@settings(max_examples=40, deadline=None)
@given(
    sizes=st.lists(st.tuples(st.integers(1, 40), st.integers(1, 40)), min_size=1, max_size=4),
    num_points=st.integers(1, 500),
    steps=st.integers(0, 3),
    seed=st.integers(0, 99),
)
def test_a_linear_function_is_rendered_exactly(sizes, num_points, steps, seed):
    """Interpolation keeps x + 2 y and prediction gives it: whatever is chosen, we know the picture."""
    torch.manual_seed(seed)
    size = torch.tensor(sizes).double()
    corner = 3 * torch.rand(len(sizes), 2).double() + 5
    # Half a pixel less than the whole, so that no pixel's centre falls on the border.
    boxes = torch.cat([corner, corner + size - 0.5], dim=1)
    grid = OutputGrid.of_boxes(boxes, 60, 60)

    def values(points):
        return (points[..., 0] + 2 * points[..., 1]).unsqueeze(1)

    side = (torch.arange(7).double() + 0.5) / 7
    coarse = (side[None, :] + 2 * side[:, None]).expand(len(sizes), 1, 7, 7)
    num_pixels = int(grid.size.prod(dim=1).max())
    logits = subdivide_onto(
        grid,
        num_pixels,
        coarse,
        values,
        num_points=num_points,
        steps=steps,
    )
    assert logits.shape == (len(sizes), 1, num_pixels)
    for region, (columns, rows) in enumerate(grid.size.tolist()):
        points = grid[region : region + 1].points(torch.arange(columns * rows).unsqueeze(0))
        expected = values(points)[0, 0]
        actual = logits[region, 0, : columns * rows]
        # Beyond the outermost centres interpolation repeats the border: 1/2 + 1/4 + ... of the coarse map's cells.
        margin = (points[0] >= 1 / 7) & (points[0] <= 1 - 1 / 7)
        inner = margin.all(dim=1) if num_pixels > num_points else torch.ones_like(margin[:, 0])
        torch.testing.assert_close(actual[inner], expected[inner], atol=1e-5, rtol=0)


def test_the_most_uncertain_pixels_are_predicted_and_no_other():
    grid = OutputGrid.of_boxes(torch.tensor([[0.0, 0.0, 16.0, 16.0], [0.0, 0.0, 8.0, 4.0]]), 16, 16)
    coarse = torch.tensor([[[[-8.0, -8.0, 8.0, 8.0]] * 4]] * 2)
    logits = subdivide_onto(
        grid,
        256,
        coarse,
        lambda points: torch.full((2, 1, points.shape[1]), 99.0),
        num_points=32,
        steps=0,
    )
    # 16 columns over 4 cells: the boundary is in the middle, its two nearest columns have 32 pixels.
    assert (logits[0, 0].reshape(16, 16) == 99).sum(dim=0).tolist() == [0] * 7 + [16, 16] + [0] * 7
    # All 32 pixels of the small one.
    assert torch.equal(logits[1, 0, :32], torch.full((32,), 99.0))


@pytest.mark.parametrize('regions', [0, 2])
def test_shapes_of_nothing(regions):
    grid = OutputGrid.of_boxes(torch.zeros(regions, 4), 10, 10)
    assert grid.size.sum() == 0
    assert batches_by_resolution(grid.size.tolist(), 784, 7) == []
    assert OutputGrid.cat([grid, grid]).size.shape == (2 * regions, 2)
