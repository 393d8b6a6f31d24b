# Copyright (c) The mmpointrend authors.
"""mmdet's and mmcv's point functions answer as the installed ones."""

import inspect

import mmcv.ops
import mmdet.models.utils.point_sample as theirs
import pytest
import torch

from mmpointrend.points.compat import mmdet as ours


@pytest.mark.parametrize(
    ('name', 'module'),
    [
        ('point_sample', mmcv.ops),
        ('get_uncertainty', theirs),
        ('get_uncertain_point_coords_with_randomness', theirs),
    ],
)
def test_signatures_are_theirs(name, module):
    signatures = [inspect.signature(getattr(part, name)) for part in (ours, module)]
    parameters = [
        [(p.name, p.kind, p.default) for p in signature.parameters.values()]
        for signature in signatures
    ]
    assert parameters[0] == parameters[1]


@pytest.mark.parametrize('options', [{}, {'align_corners': True}, {'padding_mode': 'border'}])
def test_samples_are_mmcvs(options):
    maps, points = torch.randn(2, 20, 6, 5), torch.rand(2, 90, 2) * 1.2 - 0.1
    for at in (points, points.unflatten(1, (9, 10))):
        torch.testing.assert_close(
            ours.point_sample(maps, at, **options), mmcv.ops.point_sample(maps, at, **options)
        )


@pytest.mark.parametrize('channels', [1, 5])
@pytest.mark.parametrize('ratio', [0.75, 1.0, 0.0])
def test_uncertainties_and_points_are_mmdets(channels, ratio):
    logits, labels = torch.randn(4, channels, 7, 8), torch.tensor([0, 4, 2, 2])
    torch.testing.assert_close(
        ours.get_uncertainty(logits, labels), theirs.get_uncertainty(logits, labels)
    )
    answers = []
    for module in (ours, theirs):
        torch.manual_seed(3)
        answers.append(
            module.get_uncertain_point_coords_with_randomness(logits, labels, 30, 3.0, ratio)
        )
    torch.testing.assert_close(*answers, rtol=0, atol=0)
