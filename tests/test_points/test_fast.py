# Copyright (c) The mmpointrend authors.
"""The two rooms: every piece of ``points.fast`` swapped for what it stands in for renders the same."""

import ast
import functools
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny_heads import (
    META,
    NUM_CLASSES,
    build_roi_head,
    change,
    detections,
    feature_levels,
    predict,
)

import mmpointrend.points
from mmpointrend.points import (
    OutputGrid,
    PointMLP,
    SamplingPredictor,
    logit_uncertainty,
    point_predictor,
    sample_features,
    subdivide,
    subdivide_onto,
)
from mmpointrend.points.fast import box_sampler, in_place, margin, memory, projecting, rows, top_n

POINTS = Path(mmpointrend.points.__file__).parent


def plain_margin(scores):
    """Distance of the two best."""
    best, second = scores.topk(2, dim=1).values.unbind(1)
    return second - best


def plain_predictor(
    head, fine, coarse, map_index, classes, align_corners, num_points, extents=None
):
    """Neither the number of points nor where they lie matters to who samples."""
    return SamplingPredictor(head, fine, coarse, map_index, classes, align_corners)


# The pieces that the plain modules and the heads ask for, and what each stands in for.
PAIRS = {
    top_n.largest: lambda values, number: values.topk(number, dim=1).indices,
    margin.negative_margin: plain_margin,
    rows.sum_rows: lambda cells, indices, weights: (cells[indices] * weights.unsqueeze(-1)).sum(-2),
    in_place.reads_in_place: lambda maps, points, map_index: False,
    box_sampler.BoxSampler: lambda maps, boxes, map_index: functools.partial(
        sample_features, maps, map_index=map_index
    ),
    projecting.ProjectingPredictor: plain_predictor,
    memory.zeros: lambda shape, dtype, device: torch.zeros(shape, dtype=dtype, device=device),
}


class Swap:
    """Every name in the package that means a fast piece means the plain one instead, and is counted."""

    def __init__(self, patch):
        self.calls = dict.fromkeys(PAIRS, 0)
        for module in [module for name, module in sys.modules.items() if self.is_ours(name)]:
            for name, value in list(vars(module).items()):
                if callable(value) and value in PAIRS:
                    patch.setattr(module, name, self.counted(value))

    @staticmethod
    def is_ours(name):
        return name.startswith('mmpointrend.') and not name.startswith('mmpointrend.points.fast')

    def counted(self, piece):
        def plain(*args, **kwargs):
            self.calls[piece] += 1
            return PAIRS[piece](*args, **kwargs)

        return plain


BOXES = torch.tensor([[0.1, 0.1, 0.5, 0.6], [0.2, 0.2, 0.9, 0.9], [0.0, 0.0, 1.1, 1.0]]).double()
IMAGES = torch.tensor([0, 1, 1])


def render_everything():
    """Logits of masks, of masks on their output's pixels and of images, in double precision."""
    torch.manual_seed(0)
    head = PointMLP(16, 5, 8, 5).double().eval()
    fine, coarse = torch.randn(2, 16, 40, 48).double(), torch.randn(3, 5, 7, 7).double()
    classes = torch.tensor([0, 2, 4])
    own = coarse[torch.arange(3), classes].unsqueeze(1)
    predict_rois = point_predictor(
        head, [fine], coarse, IMAGES, classes, num_points=9999, extents=[BOXES]
    )

    def at(points):
        low, high = BOXES[:, None, :2], BOXES[:, None, 2:]
        return predict_rois(points, [low + points * (high - low)])

    predict_images = point_predictor(head, [fine], coarse[:2], None, num_points=9999)
    grid = OutputGrid.of_boxes(BOXES * 100, 100, 100)
    return [
        subdivide(own, at, num_points=20, steps=4),
        subdivide_onto(grid, 100, 104, own, at, num_points=20, last_num_points=40, steps=2),
        subdivide(
            coarse[:2], lambda points: predict_images(points, [points]), num_points=64, steps=3
        ),
        logit_uncertainty(coarse),
    ]


@torch.no_grad()
def test_the_core_renders_the_same_without_what_is_only_speed():
    expected = render_everything()
    with pytest.MonkeyPatch.context() as patch:
        swap = Swap(patch)
        actual = render_everything()
    # Points are in single precision.
    torch.testing.assert_close(actual, expected, rtol=1e-5, atol=1e-5)
    for logits, others in zip(actual, expected, strict=True):
        assert torch.equal(logits.sign(), others.sign())
    # Training's sampler and the masks' memory are the heads'.
    unused = {piece for piece, calls in swap.calls.items() if calls == 0}
    assert unused == {box_sampler.BoxSampler, memory.zeros}


@pytest.mark.parametrize('adaptive', [False, True])
def test_a_head_draws_the_same_masks_without_what_is_only_speed(adaptive):
    config = change('test_cfg.adaptive_resolution', adaptive)
    config.test_cfg.subdivision_num_points = 100
    head = build_roi_head(config).double().eval()
    x, found = [level.detach().double() for level in feature_levels()], detections([6, 5])
    for results in found:
        results.bboxes = results.bboxes.double()
    expected = predict(head, x, found, [META] * 2)
    with pytest.MonkeyPatch.context() as patch:
        swap = Swap(patch)
        actual = predict(head, x, found, [META] * 2)
    assert swap.calls[projecting.ProjectingPredictor] == 1
    assert swap.calls[memory.zeros] >= (2 if adaptive else 0)
    assert sum(mask.sum() for mask in expected) > 1000
    assert all(map(torch.equal, actual, expected))


@settings(max_examples=40, deadline=None)
@given(
    regions=st.integers(0, 3),
    pixels=st.integers(2, 2000),
    number=st.integers(0, 60),
    classes=st.integers(2, NUM_CLASSES),
    together=st.sampled_from([1, 64, 65536]),
    seed=st.integers(0, 99),
)
def test_pieces_are_the_expressions_that_they_stand_in_for(
    regions, pixels, number, classes, together, seed
):
    torch.manual_seed(seed)
    values, number = torch.rand(regions, pixels), min(number, pixels)
    for function in (top_n.largest, PAIRS[top_n.largest]):
        chosen = function(values, number)
        assert chosen.shape == (regions, number)
        torch.testing.assert_close(
            values.gather(1, chosen).sort(dim=1).values,
            values.sort(dim=1).values[:, pixels - number :],
        )
    scores = torch.rand(regions, classes, pixels)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(margin.limits, 'MARGIN_PIXELS', together)
        torch.testing.assert_close(margin.negative_margin(scores), plain_margin(scores))
    cells, weights = torch.randn(pixels, classes), torch.rand(regions, 7, 4)
    indices = torch.randint(pixels, (regions, 7, 4))
    torch.testing.assert_close(
        rows.sum_rows(cells, indices, weights), PAIRS[rows.sum_rows](cells, indices, weights)
    )


def modules():
    """Every module of the core, and its syntax tree."""
    return {path.relative_to(POINTS): ast.parse(path.read_text()) for path in POINTS.rglob('*.py')}


def imports(tree):
    """Modules that a module imports, also within functions."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found |= {node.module} | {f'{node.module}.{name.name}' for name in node.names}
    return found


def test_the_core_imports_torch_and_itself_without_a_cycle():
    trees = modules()
    names = {
        '.'.join(['mmpointrend.points', *path.with_suffix('').parts]).removesuffix('.__init__')
        for path in trees
    }
    graph = {}
    for path, tree in trees.items():
        found = imports(tree)
        outside = {name for name in found if not name.startswith('mmpointrend.points')}
        assert {name.partition('.')[0] for name in outside} <= {'torch', *sys.stdlib_module_names}
        graph['.'.join(path.with_suffix('').parts)] = {
            name.removeprefix('mmpointrend.points.') for name in found & names
        }
    # `from package import module` names the package as well, whose own file imports nothing.
    for needed in graph.values():
        needed.discard('fast')
    assert len(list(TopologicalSorter(graph).static_order())) >= len(trees)


def test_limits_stand_in_one_module():
    for path, tree in modules().items():
        numbers = [
            ast.unparse(node)
            for node in tree.body
            if isinstance(node, ast.Assign)
            and any(
                isinstance(part, ast.Constant) and isinstance(part.value, int | float)
                for part in ast.walk(node.value)
            )
        ]
        assert (len(numbers) > 10) if path == Path('fast/limits.py') else numbers == []
