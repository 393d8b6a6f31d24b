# Copyright (c) The mmpointrend authors.
"""The renderer in one graph: no break in the loop, nothing that a GPU would have to wait for."""

import pytest
import torch
from torch.overrides import TorchFunctionMode

from mmpointrend.points import (
    OutputGrid,
    PointMLP,
    point_predictor,
    roi_points_to_image,
    subdivide,
    subdivide_onto,
)
from mmpointrend.points.fast import limits

BOXES = torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.2, 0.2, 0.9, 0.9], [0.0, 0.0, 1.0, 1.0]])
IMAGES, CLASSES = torch.tensor([0, 1, 1]), torch.tensor([0, 2, 4])


def predictor(head, fine, coarse):
    """Of RoIs on two images."""
    predict = point_predictor(
        head, [fine], coarse, IMAGES, CLASSES, num_points=9999, extents=[BOXES]
    )
    return lambda points: predict(points, [roi_points_to_image(BOXES, points)])


def render_masks(head, fine, coarse):
    own = coarse[torch.arange(3), CLASSES].unsqueeze(1)
    return subdivide(own, predictor(head, fine, coarse), num_points=100, steps=4)


def render_onto_the_output(head, fine, coarse):
    own = coarse[torch.arange(3), CLASSES].unsqueeze(1)
    return subdivide_onto(
        OutputGrid.of_boxes(BOXES * 100, 100, 100),
        100,
        104,
        own,
        predictor(head, fine, coarse),
        num_points=100,
        last_num_points=200,
        steps=2,
    )


def render_images(head, fine, coarse):
    predict = point_predictor(head, [fine], coarse[:2], None, num_points=300)
    return subdivide(coarse[:2], lambda points: predict(points, [points]), num_points=64, steps=3)


@pytest.mark.parametrize('render', [render_masks, render_onto_the_output, render_images])
@torch.no_grad()
def test_no_graph_break(render):
    torch.manual_seed(0)
    head = PointMLP(16, 5, 8, 5).eval()
    inputs = head, torch.randn(2, 16, 20, 24), torch.randn(3, 5, 7, 7)
    compiled = torch.compile(render, fullgraph=True, backend='eager')
    torch.testing.assert_close(compiled(*inputs), render(*inputs))


class Waits(TorchFunctionMode):
    """Collects what makes a host wait for its GPU: values of tensors, shapes that depend on them, lists sent there."""

    NAMES = (
        '__bool__',
        '__float__',
        '__index__',
        '__int__',
        'item',
        'masked_select',
        'new_tensor',
        'nonzero',
        'tensor',
        'tolist',
        'unique',
    )

    def __init__(self):
        super().__init__()
        self.seen = []

    def __torch_function__(self, func, types, args=(), kwargs=None):
        if func.__name__ in self.NAMES:
            self.seen.append(func.__name__)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize('render', [render_masks, render_onto_the_output, render_images])
@torch.no_grad()
def test_no_wait_for_a_gpu(render, monkeypatch):
    # The question that is the CPU's own: which cells are needed.
    monkeypatch.setattr(limits, 'PROJECT_TILE', 1 << 30)
    head = PointMLP(16, 5, 8, 5).eval()
    inputs = head, torch.randn(2, 16, 20, 24), torch.randn(3, 5, 7, 7)
    with Waits() as waits:
        render(*inputs)
    assert waits.seen == []
    with Waits() as waits:
        torch.ones(2).nonzero()
    assert waits.seen == ['nonzero']
