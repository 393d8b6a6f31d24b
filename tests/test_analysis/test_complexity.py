# Copyright (c) The mmpointrend authors.
"""Multiply-adds and activations of mask branches, against closed forms."""

import pytest
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from tiny_runs import write_config
from torch import nn

from mmpointrend.analysis import Layer, Step, count_layers, count_mask_branch

# Of the tiny models: classes, channels of the fine features, width of the point head and its two hidden layers.
INSTANCE, SEMANTIC = (2, 16, 16), (3, 8, 8)


@pytest.fixture
def model(tmp_path):
    """Builds the tiny model of a task with options, of which None removes a key."""

    def build(task, **options):
        cfg = Config.fromfile(write_config(task, tmp_path, tmp_path, length=1))
        cfg.merge_from_dict({f'model.{key}': value for key, value in options.items()})
        for key in [key for key, value in options.items() if value is None]:
            parent, _, name = key.rpartition('.')
            cfg.model[parent].pop(name)
        with DefaultScope.overwrite_default_scope(cfg.default_scope):
            return MODELS.build(cfg.model)

    return build


def mlp(fine, coarse, width, outputs, depth, again=True):
    """Costs of a point MLP's layers for a point."""
    inputs = [fine + coarse, *[width + coarse * again] * depth]
    widths = [*[width] * depth, outputs]
    return [(i * o, o) for i, o in zip(inputs, widths, strict=True)]


def costs(layers):
    return [(layer.multiply_adds, layer.activations) for layer in layers]


def test_convolutions_and_linear_layers():
    module = nn.Sequential(
        nn.Conv2d(4, 6, 3, stride=2, padding=1, groups=2),
        nn.GroupNorm(2, 6),
        nn.ReLU(inplace=True),
        nn.ConvTranspose2d(6, 5, 2, stride=2),
        nn.Upsample(scale_factor=2),
        nn.Flatten(),
        nn.Linear(5 * 16 * 16, 7),
    ).to('meta')
    layers, output = count_layers(module, module, torch.zeros(1, 4, 8, 8, device='meta'))
    assert layers == (
        Layer('0', 4 * 4 * 6 * (4 // 2) * 9, 6 * 4 * 4),
        Layer('3', 4 * 4 * 6 * 5 * 4, 5 * 8 * 8),
        Layer('6', 5 * 16 * 16 * 7, 7),
    )
    assert output.shape == (1, 7)


def test_a_layer_that_runs_twice_and_a_product_of_activations():
    class Twice(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(3, 5)

        def forward(self, x):
            return self.fc(x) @ self.fc(x).mT

    module = Twice().to('meta')
    layers, _ = count_layers(module, module, torch.zeros(1, 4, 3, device='meta'))
    assert layers == (
        Layer('fc', 2 * 4 * 3 * 5, 2 * 4 * 5),
        Layer('bmm', 4 * 5 * 4, 4 * 4),
    )


def test_an_input_in_parts_is_one_layers():
    class Parts(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc = nn.Linear(7, 5)

        def forward(self, left, right, made):
            weight = self.fc.weight
            x = left @ weight[:, :3].T + right @ weight[:, 3:].T
            # The same with a weight that is an activation.
            y = torch.baddbmm(made[:, :1, :5], left, made[:, :3, :5])
            y = torch.baddbmm(y, right, made[:, 3:7, :5])
            return x, torch.baddbmm(made[:, :1, :2], y.relu(), made[:, :5, :2])

    module = Parts().to('meta')
    inputs = [torch.zeros(1, *size, device='meta') for size in ((9, 3), (9, 4), (8, 5))]
    layers, _ = count_layers(module, module, *inputs)
    assert layers == (
        Layer('fc', 9 * 7 * 5, 9 * 5),
        Layer('baddbmm', 9 * 7 * 5 + 9 * 5 * 2, 9 * 5 + 9 * 2),
    )


def test_coarse_head_and_point_head_of_instances(model):
    classes, channels, width = INSTANCE
    branch = count_mask_branch(model('instance'))
    assert branch.input_activations == channels * 14 * 14
    assert costs(branch.layers) == [
        (49 * 4 * 16 * 16, 49 * 16),
        (49 * 16 * 16, 16),
        (16 * 49 * classes, 49 * classes),
    ]
    a_point = mlp(channels, classes, width, classes, 2)
    assert costs(branch.point_layers) == a_point
    # At 14x14 all pixels would be fewer than four times the 49 points.
    assert branch.steps == (Step(14, 14, 49), Step(28, 28, 49), Step(56, 56, 49))
    assert branch.points() == branch.points(with_skipped=True) == 147
    once = 49 * 4 * 16 * 16 + 49 * 16 * 16 + 16 * 49 * classes
    assert branch.multiply_adds() == once + 147 * sum(products for products, _ in a_point)
    assert branch.own_class == sum(p for p, _ in a_point) - (width + classes) * (classes - 1)
    kept = 16 * 14 * 14 + 49 * 16 + 16 + 49 * classes
    assert branch.peak_activations == kept + 49 * (2 * width + classes)
    assert branch.activations == kept + 147 * (2 * width + classes)


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ({'num_fcs': 4, 'fc_channels': 24}, mlp(16, 2, 24, 2, 4)),
        ({'coarse_pred_each_layer': False}, mlp(16, 2, 16, 2, 2, again=False)),
        ({'class_agnostic': True}, mlp(16, 2, 16, 1, 2)),
        ({'norm_cfg': {'type': 'BN1d'}}, mlp(16, 2, 16, 2, 2)),
    ],
)
def test_any_point_head(model, options, expected):
    options = {f'roi_head.point_head.{key}': value for key, value in options.items()}
    assert costs(count_mask_branch(model('instance', **options)).point_layers) == expected


def test_class_agnostic_coarse_head(model):
    branch = count_mask_branch(model('instance', **{'roi_head.mask_head.class_agnostic': True}))
    assert costs(branch.layers)[-1] == (16 * 49, 49)
    assert costs(branch.point_layers) == mlp(16, 1, 16, 2, 2)


def test_several_fine_levels(model):
    """Two levels of 16 channels, whose samples are concatenated."""
    both = {'mask_head.in_channels': 32, 'point_head.in_channels': 32}
    both |= {'mask_roi_extractor.featmap_strides': [4, 8], 'mask_roi_extractor.out_channels': 32}
    branch = count_mask_branch(model('instance', **{f'roi_head.{k}': v for k, v in both.items()}))
    assert branch.input_activations == 32 * 14 * 14
    assert costs(branch.point_layers) == mlp(32, 2, 16, 2, 2)


@pytest.mark.parametrize(
    ('num_points', 'steps', 'expected'),
    [
        (784, 2, [(14, 196, True), (28, 784, False)]),
        (784, 1, [(14, 196, False)]),
        (196, 2, [(14, 196, False), (28, 196, False)]),
        (10**6, 2, [(14, 196, True), (28, 784, False)]),
        (9, 0, []),
    ],
)
def test_steps(model, num_points, steps, expected):
    config = {'subdivision_num_points': num_points, 'subdivision_steps': steps}
    options = {f'test_cfg.rcnn.{key}': value for key, value in config.items()}
    branch = count_mask_branch(model('instance', **options))
    assert branch.steps == tuple(Step(side, side, *rest) for side, *rest in expected)
    assert branch.points() == sum(points for _, points, skipped in expected if not skipped)
    assert branch.points(with_skipped=True) == sum(points for _, points, _ in expected)


@pytest.mark.parametrize(
    ('box', 'expected'),
    [
        ((5, 9), [(5, 9, 45)]),  # no more pixels than the 49 points
        ((20, 10), [(14, 14, 49), (20, 10, 49)]),
        # Larger than the full 56 pixels: twice the points on the output.
        ((100, 60), [(14, 14, 49), (28, 28, 49), (56, 56, 49), (100, 60, 98)]),
    ],
)
def test_steps_onto_the_output(model, box, expected):
    options = {'test_cfg.rcnn.adaptive_resolution': True}
    branch = count_mask_branch(model('instance', **options), box_size=box)
    assert branch.steps == tuple(Step(*step) for step in expected)


@pytest.mark.parametrize(('agnostic', 'masks'), [(False, 2), (True, 1)])
def test_standard_mask_head(model, agnostic, masks):
    head = {
        '_delete_': True,
        'type': 'FCNMaskHead',
        'num_convs': 2,
        'in_channels': 16,
        'conv_out_channels': 8,
        'num_classes': 2,
        'class_agnostic': agnostic,
    }
    options = {'roi_head.type': 'StandardRoIHead', 'roi_head.mask_head': head}
    config = model('instance', **options, **{'roi_head.point_head': None})
    branch = count_mask_branch(config)
    assert costs(branch.layers) == [
        (196 * 9 * 16 * 8, 196 * 8),
        (196 * 9 * 8 * 8, 196 * 8),
        (196 * 4 * 8 * 8, 784 * 8),
        (784 * 8 * masks, 784 * masks),
    ]
    assert branch.point_layers == () and branch.steps == () and branch.own_class is None
    assert (
        branch.peak_activations
        == branch.activations
        == 196 * 16 + sum(layer.activations for layer in branch.layers)
    )


def test_semantic(model):
    classes, channels, width = SEMANTIC
    branch = count_mask_branch(model('semantic'), image_size=(64, 96))
    # The coarse head reads the last level, at stride 32.
    assert branch.input_activations == 64 * 2 * 3
    assert costs(branch.layers) == [
        (6 * 9 * 64 * 8, 6 * 8),
        (6 * 9 * (64 + 8) * 8, 6 * 8),
        (6 * 8 * classes, 6 * classes),
    ]
    assert costs(branch.point_layers) == mlp(channels, classes, width, classes, 2)
    assert branch.steps == (Step(4, 6, 24), Step(8, 12, 64))
    assert branch.own_class is None


def test_semantic_head_without_points(model):
    head = {'type': 'FCNHead', 'in_channels': [32, 64], 'in_index': [2, 3], 'channels': 8}
    head |= {'input_transform': 'resize_concat', 'num_convs': 1, 'num_classes': 3}
    options = {'decode_head': {'_delete_': True, **head, 'concat_input': False}}
    branch = count_mask_branch(model('semantic', **options), image_size=(64, 64))
    assert branch.input_activations == 32 * 4 * 4 + 64 * 2 * 2
    assert costs(branch.layers) == [(16 * 9 * 96 * 8, 16 * 8), (16 * 8 * 3, 16 * 3)]


def test_refusals(model):
    with pytest.raises(ValueError, match='depends on its size: give --shape'):
        count_mask_branch(model('semantic'))
    adaptive = model('instance', **{'test_cfg.rcnn.adaptive_resolution': True})
    with pytest.raises(ValueError, match='depends on the box: give --box'):
        count_mask_branch(adaptive)
    boxes = {f'roi_head.mask_{part}': None for part in ('head', 'roi_extractor')}
    boxes |= {'roi_head.type': 'StandardRoIHead', 'roi_head.point_head': None}
    with pytest.raises(ValueError, match='MaskRCNN has neither roi_head'):
        count_mask_branch(model('instance', **boxes))

    class NeedsData(nn.Module):
        def forward(self, x):
            return x * x.max().item()

    module = NeedsData()
    with pytest.raises(ValueError, match='NeedsData cannot be counted, for it does not run on'):
        count_layers(module, module, torch.zeros(3, device='meta'))
