# Copyright (c) The mmpointrend authors.
"""Masks that cannot be drawn are named before pycocotools hangs on them."""

import numpy as np
import pytest
from tiny_loaders import build

from mmpointrend.engine.checks.files import NamedLoading
from mmpointrend.errors import InputError
from mmpointrend.outlines import can_be_drawn

NAN, INF = float('nan'), float('inf')


@pytest.mark.parametrize(
    'polygon',
    [
        [NAN, 0, 5, 0, 5, 5],
        [0, 0, 5, NAN, 5, 5],
        [0, 0, 5, 0, 5, NAN],
        [INF, 0, 5, 0, 5, 5],
        [INF, 0, -INF, 0, 5, 5],
        [0, 0, 1e9, 0, 5, 5],
        [0, 0, -1e300, 0, 5, 5],
        [2e7, 2e7, 2e7 + 5, 2e7, 2e7, 2e7 + 5],
        [0, 0, 1e5, 1e5] * 40,
    ],
)
def test_polygons_that_pycocotools_cannot_draw(polygon):
    assert not can_be_drawn(polygon)
    assert not can_be_drawn(np.array(polygon))


@pytest.mark.parametrize(
    'polygon',
    [
        [],
        [0, 0, 5, 0, 5, 5],
        [-20.5, -3, 700, 0, 5, 900],
        [0, 0, 30000, 0, 30000, 30000, 0, 30000],
        # Many points of a large outline, which is long only in the first estimate.
        np.stack([np.cos(np.linspace(0, 6, 9999)), np.sin(np.linspace(0, 6, 9999))], 1).ravel()
        * 20000,
    ],
)
def test_polygons_of_real_annotations(polygon):
    assert can_be_drawn(polygon)


def step_of(data, tmp_path):
    """The checked loading step of annotations."""
    steps = build('instance', data, tmp_path).dataset.pipeline.transforms
    return next(s for s in steps if isinstance(s, NamedLoading) and not s.loads_images)


def sample(mask):
    """What the step gets."""
    instance = dict(bbox=[0, 0, 5, 5], bbox_label=0, ignore_flag=0, mask=mask)
    return dict(img_path='a.png', ori_shape=(64, 64), img_shape=(64, 64), instances=[instance])


@pytest.mark.parametrize('value', [NAN, INF, 1e12])
def test_the_step_names_image_and_file(value, data, tmp_path):
    with pytest.raises(
        InputError,
        match=rf'^the mask of instance 0 of the image a.png in {data}/annotations.json has coord',
    ):
        step_of(data, tmp_path)(sample([[0.0, 0.0, value, 0.0, 5.0, 5.0]]))


def test_run_lengths_of_another_size(data, tmp_path):
    step = step_of(data, tmp_path)
    fitting = dict(size=[64, 64], counts=[64 * 64])
    assert step(sample(fitting))['gt_masks'].masks.shape == (1, 64, 64)
    with pytest.raises(InputError, match=r'is run lengths of 32 x 128 pixels, but the image is 64'):
        step(sample(dict(size=[128, 32], counts=[128 * 32])))
