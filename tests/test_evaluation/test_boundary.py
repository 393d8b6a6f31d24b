# Copyright (c) The mmpointrend authors.
"""The boundary, against a search of every pixel's neighbourhood."""

import numpy as np
import pytest

from mmpointrend.errors import ConfigError
from mmpointrend.evaluation.boundary import boundary_width, check_dilation_ratio, mask_boundary


def searched_boundary(mask: np.ndarray, width: int, void: np.ndarray) -> np.ndarray:
    """Pixels of the mask with a pixel of the complement (or the outside) within ``width``."""
    height, length = mask.shape
    found = np.zeros_like(mask)
    for y, x in zip(*np.nonzero(mask & ~void), strict=True):
        for v in range(y - width, y + width + 1):
            for u in range(x - width, x + width + 1):
                outside = not (0 <= v < height and 0 <= u < length)
                if outside or not (mask[v, u] or void[v, u]):
                    found[y, x] = True
    return found


@pytest.mark.parametrize('width', [1, 2, 5])
@pytest.mark.parametrize('void_share', [0.0, 0.1, 0.5])
def test_equals_a_search_of_the_neighbourhood(width, void_share):
    rng = np.random.default_rng(width)
    for _ in range(10):
        mask = np.kron(rng.random((5, 6)) < 0.7, np.ones((4, 3))).astype(bool)
        void = rng.random(mask.shape) < void_share
        expected = searched_boundary(mask, width, void)
        np.testing.assert_array_equal(mask_boundary(mask, width, void), expected)


def test_a_square_and_a_full_image():
    mask = np.zeros((11, 12), np.uint8)
    mask[2:9, 3:10] = 1
    assert mask_boundary(mask, 1).sum() == 49 - 25
    assert mask_boundary(mask, 2).sum() == 49 - 9
    assert mask_boundary(mask, 4).sum() == 49
    assert mask_boundary(np.ones((10, 10)), 2).sum() == 100 - 36  # the image's rim is a boundary
    assert not mask_boundary(np.zeros((4, 4)), 1).any()


def test_width_is_a_share_of_the_diagonal():
    assert boundary_width(480, 640, 0.02) == 16
    assert boundary_width(1024, 2048, 0.005) == 11
    assert boundary_width(16, 16, 0.02) == 1  # never less than a pixel


@pytest.mark.parametrize('ratio', [0, -0.1, 1, 2])
def test_a_ratio_outside_the_unit_interval_is_refused(ratio):
    with pytest.raises(ConfigError, match='dilation_ratio must lie between 0 and 1'):
        check_dilation_ratio(ratio)
