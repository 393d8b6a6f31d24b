# Copyright (c) The mmpointrend authors.
"""Pictures, read back: what is drawn, and that it lies where it belongs."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mmpointrend.points import SubdivisionStep, subdivide
from mmpointrend.visualization import (
    compare_panels,
    draw_subdivision,
    find_details,
    paste_logits,
    uncertainty_map,
)
from mmpointrend.visualization.canvas import new_grid, to_picture
from mmpointrend.visualization.subdivision import _Frame

IMAGE = np.full((60, 80, 3), 120, np.uint8)


def render(channels: int) -> list[SubdivisionStep]:
    """Two steps, 4 x 4 to 16 x 16, of two regions whose upper half is class or mask."""
    rows = torch.linspace(3, -3, 4)[:, None].expand(4, 4)
    coarse = torch.stack([rows * sign for sign in (1, -1, 0.2)[:channels]])
    steps = []
    subdivide(
        coarse.expand(2, -1, -1, -1).contiguous(),
        lambda points: points.new_ones(len(points), channels, points.shape[1]),
        num_points=5,
        steps=2,
        observer=lambda s: steps.append(
            SubdivisionStep(s.index, s.points.clone(), s.logits.clone())
        ),
    )
    return steps


def test_uncertainty_by_hand():
    one = torch.logit(torch.tensor([[[0.5, 0.75, 1e-6]]]))
    np.testing.assert_allclose(uncertainty_map(one), [[1, 0.5, 0]], atol=1e-5)
    three = torch.log(torch.tensor([0.6, 0.1, 0.3])).reshape(3, 1, 1)
    np.testing.assert_allclose(uncertainty_map(three), [[0.7]], atol=1e-6)


@pytest.mark.parametrize(('align_corners', 'corner'), [(False, 10.0), (True, 10.5)])
def test_points_and_maps_lie_in_the_image(align_corners, corner):
    frame = _Frame((10, 20, 50, 60), align_corners)
    points = frame.points(torch.tensor([[0.0, 0.0], [1.0, 1.0], [0.5, 0.5]]))
    np.testing.assert_allclose(points[0], [corner, corner + 10])
    np.testing.assert_allclose(points[2], [30, 40])
    left, right, bottom, top = frame.extent(5, 14)
    if align_corners:  # the centres of the outer cells are the centres of the outer pixels
        assert left + (right - left) / 28 == pytest.approx(10.5)
        assert bottom - (bottom - top) / 10 == pytest.approx(59.5)
    else:
        assert (left, right, bottom, top) == (10, 50, 60, 20)


@pytest.mark.parametrize('channels', [1, 3])
def test_subdivision_shows_the_points_of_the_steps(channels):
    steps = render(channels)
    box = (10.0, 5.0, 70.0, 55.0) if channels == 1 else None
    picture = draw_subdivision(IMAGE, steps, box, region=1, palette=[(0, 0, 255)] * 3)
    without = draw_subdivision(
        IMAGE, [replace(s, points=s.points[:, :0]) for s in steps], box, region=1
    )
    assert picture.dtype == np.uint8
    assert picture.shape == without.shape
    red = (np.abs(picture.astype(int) - (255, 23, 68)).sum(2) < 60).nonzero()
    assert len(red[0]) > 20
    assert red[1].min() > picture.shape[1] / 3  # no points in the coarse column
    assert not (np.abs(without.astype(int) - (255, 23, 68)).sum(2) < 60).any()
    bottom_row = picture.shape[0] * 2 // 3
    assert red[0].max() < bottom_row  # nor over the uncertainty


def test_a_mask_is_drawn_in_its_box():
    picture = draw_subdivision(IMAGE, render(1)[:1], (20, 10, 60, 50), view=(0, 0, 80, 60))
    rows = [row for row in picture.max(2) if (row[10:-10] < 30).sum() > 0.4 * len(row)]
    shares = []
    for row in rows:  # those of the map: black beside the mask; black all over in its lower half
        dark = np.flatnonzero(row[10:-10] < 30)
        inside = row[10:-10][dark[0] : dark[-1]]
        shares.append((inside > 200).mean())
    assert max(shares) == pytest.approx(0.5, abs=0.03)  # 40 of 80 pixels wide


def test_pasting_fills_the_box_and_nothing_else():
    mask = paste_logits(torch.full((1, 7, 7), 5.0), (10, 20, 30, 44), 60, 80)
    expected = np.zeros((60, 80), bool)
    expected[20:44, 10:30] = True
    np.testing.assert_array_equal(mask, expected)
    halves = torch.tensor([5.0, -5.0]).expand(1, 2, 2)
    mask = paste_logits(halves, (10, 20, 30, 44), 60, 80)
    expected[:, 20:] = False
    np.testing.assert_array_equal(mask, expected)


def test_details_are_where_predictions_differ():
    first = np.zeros((100, 120), int)
    second = first.copy()
    second[10:20, 10:20] = 1
    second[70:76, 90:96] = 2
    boxes = find_details(first, second, count=3, share=0.2)
    assert len(boxes) == 2  # the third square would show no difference
    for (y, x), (x1, y1, x2, y2) in zip([(10, 10), (70, 90)], boxes, strict=True):
        assert x1 <= x < x + 6 <= x2
        assert y1 <= y < y + 6 <= y2
        assert (x2 - x1, y2 - y1) == (20, 20)
    masks = np.stack([first, second]).astype(bool)
    assert find_details(masks, masks) == []


@pytest.mark.parametrize('kind', ['instances', 'labels'])
def test_panels_show_the_predictions_in_their_colours(kind):
    labels = np.zeros((60, 80), int)
    labels[:, 40:] = 1
    shifted = np.roll(labels, 6, axis=1)
    shifted[:, :6] = 255
    pair = (labels, shifted) if kind == 'labels' else (labels[None] == 1, shifted[None] == 1)
    picture = compare_panels(
        np.zeros_like(IMAGE),
        {'ground truth': pair[0], 'PointRend': pair[1]},
        truth='ground truth',
        palette=[(0, 200, 0), (0, 0, 200)] if kind == 'labels' else [(0, 0, 200)],
    )
    blue = (picture[..., 2] > 100) & (picture[..., :2].max(2) < 40)
    assert blue.any()
    assert not blue[:, : picture.shape[1] // 3].any()  # the first column is the input
    green = (picture[..., 1] > 100) & (picture[..., [0, 2]].max(2) < 40)
    assert green.any() == (kind == 'labels')


def test_panels_without_objects_and_without_differences():
    empty = np.zeros((0, 60, 80), bool)
    plain = compare_panels(IMAGE, {'a': empty, 'b': empty})
    marked = compare_panels(IMAGE, {'a': empty, 'b': empty}, details=[(0, 0, 20, 20)])
    assert plain.shape[0] < marked.shape[0]
    with pytest.raises(ValueError, match='truth must be one of'):
        compare_panels(IMAGE, {'a': empty}, truth='c')


def test_a_grid_is_as_large_as_its_panels():
    sizes = [to_picture(new_grid(rows, 2)[0]).shape for rows in (1, 2)]
    assert sizes[0][1] == sizes[1][1]
    assert sizes[0][0] < sizes[1][0] < 2 * sizes[0][0]
