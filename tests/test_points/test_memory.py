# Copyright (c) The mmpointrend authors.
"""Zeros that the system hands out."""

import pytest
import torch

from mmpointrend.points import zeros

CPU = torch.device('cpu')


@pytest.mark.parametrize('dtype', [torch.bool, torch.uint8, torch.float32, torch.bfloat16])
@pytest.mark.parametrize('shape', [(0, 3, 4), (2, 3, 4), (3, 1200, 1300)], ids=str)
def test_zeros_are_torchs(shape, dtype):
    """Below and above the size from which they are mapped."""
    actual = zeros(shape, dtype, CPU)
    assert actual.dtype == dtype
    assert actual.is_contiguous()
    assert torch.equal(actual, torch.zeros(shape, dtype=dtype))


def test_what_is_written_stays_and_is_ones_own():
    first, second = (zeros((5, 1000, 1000), torch.uint8, CPU) for _ in range(2))
    first[3, 500:, 7] = 1
    assert first.sum() == 500
    assert second.sum() == 0
    view = first[3]
    del first
    assert view.sum() == 500
