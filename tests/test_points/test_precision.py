# Copyright (c) The mmpointrend authors.
"""Half precision where a processor has instructions for it, and single precision where it has none."""

import os
import subprocess
import sys
import warnings

import pytest
import torch
from torch import nn

from mmpointrend.points import PointMLP, point_predictor, precision, subdivide

CPU = torch.device('cpu')


@pytest.fixture
def without_units(monkeypatch):
    """A CPU without instructions for half precision."""
    precision._said.cache_clear()
    monkeypatch.setattr(precision, '_has_instructions', lambda dtype: False)
    yield
    precision._said.cache_clear()


@pytest.fixture
def with_units(monkeypatch):
    """A CPU that has them."""
    monkeypatch.setattr(precision, '_has_instructions', lambda dtype: True)
    monkeypatch.setattr(precision, '_is_quick', lambda dtype: True)


def render(head, fine, coarse):
    predict = point_predictor(head, [fine], coarse, None, num_points=200)
    return subdivide(coarse, lambda points: predict(points, [points]), num_points=50, steps=2)


def inputs(activation=nn.ReLU):
    torch.manual_seed(0)
    head = PointMLP(8, 3, 16, 3, activation=activation).eval()
    return head, torch.randn(2, 8, 12, 14), torch.randn(2, 3, 6, 7)


@torch.no_grad()
def test_autocast_without_instructions_renders_in_single_precision_and_says_so_once(without_units):
    expected = render(*inputs())
    with (
        warnings.catch_warnings(record=True) as said,
        torch.autocast('cpu', torch.bfloat16),
    ):
        warnings.simplefilter('always')
        actual = [render(*inputs()) for _ in range(2)]
    assert all(torch.equal(logits, expected) for logits in actual)
    assert [str(warning.message)[:26] for warning in said] == ['bfloat16 was asked for, by']


@pytest.mark.filterwarnings('ignore:.*was asked for')
@pytest.mark.parametrize('dtype', [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_weights_without_instructions_are_computed_with_in_single_precision(
    dtype, without_units
):
    """Maps that are sampled are sampled in their own dtype, everything after that is in single precision."""
    head, fine, coarse = inputs(lambda: nn.PReLU(16))
    halves = head.to(dtype), fine.to(dtype), coarse.to(dtype)
    predict = point_predictor(*halves[:1], [halves[1]], halves[2], None, num_points=200)
    points = torch.rand(2, 50, 2)
    actual = predict(points, [points])
    assert actual.dtype == torch.float32
    whole = head.float(), fine.to(dtype).float(), coarse.to(dtype).float()
    predict = point_predictor(*whole[:1], [whole[1]], whole[2], None, num_points=200)
    torch.testing.assert_close(actual, predict(points, [points]), atol=2e-3, rtol=0)


@torch.no_grad()
def test_autocast_with_instructions_stays(with_units):
    with torch.autocast('cpu', torch.bfloat16):
        head, fine, coarse = inputs()
        predict = point_predictor(head, [fine], coarse, None, num_points=200)
        assert predict(torch.rand(2, 5, 2), [torch.rand(2, 5, 2)]).dtype == torch.bfloat16


def test_single_precision_asks_nothing(monkeypatch):
    def refuse(*args):
        raise AssertionError(args)

    monkeypatch.setattr(precision, 'is_native', refuse)
    for dtype in (torch.float32, torch.float64):
        assert precision.rendering_dtype(dtype, CPU) == dtype


@pytest.mark.parametrize(
    ('seconds', 'native'), [(0.5, True), (3.0, True), (5.0, False), (40.0, False)]
)
def test_what_the_flags_promise_is_measured(seconds, native, monkeypatch):
    """A library may make no use of instructions that are there."""
    precision._is_quick.cache_clear()
    monkeypatch.setattr(precision, '_has_instructions', lambda dtype: True)
    monkeypatch.setattr(
        precision, '_seconds', lambda dtype: 1.0 if dtype == torch.float32 else seconds
    )
    assert precision.is_native(torch.bfloat16, 'cpu') == native
    precision._is_quick.cache_clear()


@pytest.mark.parametrize(
    ('flags', 'native'), [((False, False), False), ((True, False), True), ((False, True), True)]
)
def test_avx512_alone_has_no_bfloat16(flags, native, monkeypatch):
    monkeypatch.setattr(precision, '_is_quick', lambda dtype: True)
    monkeypatch.setattr(torch.backends.cpu, 'get_cpu_capability', lambda: 'AVX512')
    monkeypatch.setattr(torch.ops.mkldnn, '_is_mkldnn_bf16_supported', lambda: True)
    for name, flag in zip(
        ('_is_avx512_bf16_supported', '_is_amx_tile_supported'), flags, strict=True
    ):
        monkeypatch.setattr(torch.cpu, name, lambda flag=flag: flag)
    assert precision.is_native(torch.bfloat16, 'cpu') == native


@pytest.mark.parametrize('isa', ['AVX2', 'AVX512_CORE'])
def test_a_library_that_was_told_not_to_use_them_is_found_out(isa, repo):
    code = """
import torch
from mmpointrend.points import precision
print(precision.is_native(torch.bfloat16, 'cpu'))
"""
    done = subprocess.run(
        [sys.executable, '-c', code],
        env={**os.environ, 'ONEDNN_MAX_CPU_ISA': isa, 'ATEN_CPU_CAPABILITY': 'avx2'},
        capture_output=True,
        text=True,
        cwd=repo,
        check=True,
    )
    assert done.stdout.strip() == 'False'


@torch.no_grad()
def test_no_graph_break(without_units):
    def render_half(fine, coarse):
        with torch.autocast('cpu', torch.bfloat16):
            return render(head, fine, coarse)

    head, *maps = inputs()
    compiled = torch.compile(render_half, fullgraph=True, backend='eager')
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        torch.testing.assert_close(compiled(*maps), render(head, *maps))
