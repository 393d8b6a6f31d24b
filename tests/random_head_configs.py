# Copyright (c) The mmpointrend authors.
"""Random configs of our heads with a key or two changed to something else, and what becomes of each.

``verdict`` says 'fine' (a step of training and a prediction work), 'refused' (a sentence of ours when the model is
built), 'foreign' (another error then) or 'late' (any error afterwards).
"""

import copy
import math
import random
import traceback
import warnings

import torch
from mmengine.registry import DefaultScope
from mmseg.registry import MODELS as MMSEG_MODELS
from tiny_heads import (
    build_roi_head,
    detections,
    feature_levels,
    fpn_head,
    implicit_config,
    point_head,
    pointrend,
    predict,
    roi_head_config,
    roi_losses,
    semantic_batch,
)

from mmpointrend.engine.checks.settings import (
    check_model,
    check_model_config,
    check_test_settings,
    check_train_settings,
)
from mmpointrend.errors import PointRendError

# What any key may be changed to.
_VALUES = [
    None, True, False, -1, 0, 1, 2, 3, 16, 32, 40, 0.5, -0.5, 1.5, 2.0, math.nan, math.inf, 10**9, 10**12,
    '', '3', 'nonsense', (), [], [0], [1, 2], [16, 16], [-1, 4], ['a'], {}, {'type': 'Nonsense'}, {'type': None},
    {'type': 3}, {'a': 1},
]  # fmt: skip
_NORMS = ['BN', 'BN1d', 'BN2d', 'BN3d', 'SyncBN', 'GN', 'LN', 'IN', 'IN1d', 'IN2d', 'Nonsense']
_CONFIGS = {
    'norm_cfg': [{'type': name} for name in _NORMS] + [{'type': 'GN', 'num_groups': groups} for groups in (5, 8)],
    'act_cfg': [
        {'type': name} for name in ('GELU', 'PReLU', 'Sigmoid', 'SiLU', 'Swish', 'Tanh', 'GLU', 'Mish')
    ],
    'conv_cfg': [{'type': 'Conv1d'}, {'type': 'Conv2d'}, {'type': 'Conv'}],
    'loss': [
        {'type': 'CrossEntropyLoss'},
        {'type': 'CrossEntropyLoss', 'use_mask': True, 'class_weight': [1.0] * 5},
        {'type': 'CrossEntropyLoss', 'use_mask': True, 'class_weight': [1.0] * 7},
        {'type': 'CrossEntropyLoss', 'use_mask': True, 'loss_weight': 0.0},
        {'type': 'CrossEntropyLoss', 'use_sigmoid': True},
        {'type': 'CrossEntropyLoss', 'class_weight': [1.0] * 5},
        {'type': 'CrossEntropyLoss', 'class_weight': [1.0] * 6},
        {'type': 'CrossEntropyLoss', 'class_weight': 'nonsense'},
        {'type': 'CrossEntropyLoss', 'nonsense': 1},
        {'type': 'FocalLoss'},
        {'type': 'FocalLoss', 'class_weight': [1.0] * 3},
        {'type': 'DiceLoss'},
        {'type': 'DiceLoss', 'use_sigmoid': True, 'activate': True},
        {'type': 'L1Loss'},
        {'type': 'LovaszLoss', 'reduction': 'none'},
        {'type': 'LovaszLoss'},
        {'type': 'SmoothL1Loss'},
        {'type': 'GHMC'},
        {'type': 'SeesawLoss'},
    ],
    'point_selection': [
        {'type': name} for name in ('UniformSelection', 'RegularGridSelection', 'BiasedSelection')
    ]
    + [
        {'type': 'BiasedSelection', 'oversample_ratio': value}
        for value in (0, None, '3', math.inf, math.nan, 10**9)
    ],
    'init_cfg': [
        {'type': 'Normal', 'layer': 'Conv1d', 'std': 0.1},
        {'type': 'Normal', 'layer': 'Nonsense'},
        {'type': 'Normal', 'nonsense': 1},
        {'type': 'Normal', 'layer': 'Conv1d', 'override': {'name': 'nonsense', 'type': 'Normal'}},
        [{'type': 'Normal'}],
    ],
}  # fmt: skip

_MASK_HEAD = [
    'num_convs',
    'num_fcs',
    'in_channels',
    'conv_kernel_size',
    'conv_out_channels',
    'fc_out_channels',
    'roi_feat_size',
    'downsample_factor',
    'predictor_cfg',
    'conv_cfg',
    'norm_cfg',
    'init_cfg',
]
_TRAIN = ['num_points', 'oversample_ratio', 'importance_sample_ratio', 'point_selection']
_TEST = ['subdivision_steps', 'subdivision_num_points', 'scale_factor']
# Keys that are ours, or that we read, by the part of the config they stand in.
_SHARED = {
    '': ['train_cfg', 'test_cfg', 'mask_head', 'point_head', 'init_cfg', 'bbox_head', 'mask_roi_extractor',
         'mask_iou_head'],
    'train_cfg': [*_TRAIN, 'mask_size', 'train_on_pred_boxes', 'pos_weight', 'assigner', 'sampler'],
    'test_cfg': [*_TEST, 'mask_thr_binary', 'output_size', 'adaptive_resolution', 'refine_min_cells',
                 'score_thr', 'nms', 'max_per_img'],
    'mask_roi_extractor': ['featmap_strides', 'out_channels'],
}  # fmt: skip
_INSTANCE = {
    **_SHARED,
    'mask_head': [*_MASK_HEAD, 'num_classes', 'class_agnostic', 'loss_mask', 'type'],
    'point_head': [
        'type',
        'num_classes',
        'num_fcs',
        'in_channels',
        'fc_channels',
        'class_agnostic',
        'coarse_channels',
        'coarse_pred_each_layer',
        'conv_cfg',
        'norm_cfg',
        'act_cfg',
        'loss_point',
        'init_cfg',
    ],
}
_IMPLICIT = {
    **_SHARED,
    'mask_head': [*_MASK_HEAD, 'num_parameters', 'l2_weight', 'type'],
    'point_head': [
        'type',
        'num_classes',
        'num_fcs',
        'in_channels',
        'fc_channels',
        'class_agnostic',
        'num_frequencies',
        'loss_point',
        'init_cfg',
    ],
}
_SEMANTIC = {
    'decode_head': ['coarse_head', 'point_head', 'uncertainty', *_TEST, 'init_cfg'],
    'decode_head.point_head': [
        'type',
        'num_classes',
        'in_channels',
        'in_index',
        'channels',
        'num_fcs',
        'coarse_pred_each_layer',
        'dropout_ratio',
        'loss_decode',
        'ignore_index',
        'conv_cfg',
        'norm_cfg',
        'act_cfg',
        'init_cfg',
        'out_channels',
        'threshold',
        'align_corners',
    ],
    'decode_head.coarse_head': ['loss_decode'],
    'train_cfg': _TRAIN,
    'test_cfg': [*_TEST, 'mode', 'crop_size', 'stride'],
}


def _change(rng: random.Random, config: dict, keys: dict[str, list[str]]) -> str:
    """Change one key of a config: another value, left out, or one that nobody knows."""
    part = rng.choice(list(keys))
    node = config
    for name in filter(None, part.split('.')):
        node = node.get(name) if isinstance(node, dict) else None
    key = rng.choice(keys[part])
    if not isinstance(node, dict):
        return f'{part} is gone'
    action = rng.random()
    if action < 0.12:
        node.pop(key, None)
        return f'{part}.{key} left out'
    if action < 0.2 and part not in ('train_cfg', 'test_cfg', 'decode_head.coarse_head'):
        name = f'{key}s' if rng.random() < 0.5 else 'nonsense'
        node[name] = 1
        return f'{part}.{name}=1'
    special = _CONFIGS.get('loss' if key.startswith('loss_') else key)
    if key == 'mode':
        special = ['whole', 'slide']
    values = special if special and rng.random() < 0.7 else _VALUES
    node[key] = copy.deepcopy(rng.choice(values))
    return f'{part}.{key}={node[key]!r}'


def random_instance_config(rng: random.Random) -> dict:
    """A tiny RoI head, of PointRend or Implicit PointRend, with one or two keys changed.

    Args:
        rng: Where chance comes from.

    Returns:
        Its config, and what was changed as ``changes``.
    """
    implicit = rng.random() < 0.4
    levels = rng.choice([(4,), (4, 8)])
    config = implicit_config(levels) if implicit else roi_head_config(levels=levels)
    config = config.to_dict()
    keys = _IMPLICIT if implicit else _INSTANCE
    changes = [_change(rng, config, keys) for _ in range(rng.choice([1, 1, 2]))]
    return {**config, 'changes': changes}


def random_semantic_config(rng: random.Random) -> dict:
    """A tiny segmentor with our decode head and one or two keys changed.

    Args:
        rng: Where chance comes from.

    Returns:
        Its config, and what was changed as ``changes``.
    """
    coarse, point = fpn_head(), point_head(rng.choice([(0,), (0, 1)]))
    config = {
        'type': 'EncoderDecoder',
        'backbone': {'type': 'ResNet', 'depth': 18, 'base_channels': 8, 'norm_cfg': {'type': 'BN'}},
        'neck': {'type': 'FPN', 'in_channels': [8, 16, 32, 64], 'out_channels': 16, 'num_outs': 4},
        'decode_head': pointrend(coarse, point),
        'train_cfg': {'num_points': 100, 'oversample_ratio': 3, 'importance_sample_ratio': 0.75},
        'test_cfg': {
            'mode': 'whole',
            'subdivision_steps': 2,
            'subdivision_num_points': 500,
            'scale_factor': 2,
        },
    }
    if rng.random() < 0.2:
        config['test_cfg'].update(mode='slide', crop_size=(64, 64), stride=(48, 48))
    changes = [_change(rng, config, _SEMANTIC) for _ in range(rng.choice([1, 1, 2]))]
    return {**config, 'changes': changes}


def verdict(config: dict) -> str:
    """What becomes of a config, in one word and, where it is an error, the error.

    Args:
        config: As the two functions above give it.

    Returns:
        'fine', 'refused: <sentence>', 'foreign: <traceback>' or 'late: <traceback>'.
    """
    config = copy.deepcopy({key: value for key, value in config.items() if key != 'changes'})
    use = _use_segmentor if 'decode_head' in config else _use_roi_head
    with warnings.catch_warnings():
        warnings.simplefilter('ignore')
        try:
            model = _build(config)
        except PointRendError as error:
            return f'refused: {error}'
        except Exception:
            return f'foreign: {traceback.format_exc()}'
        try:
            use(model)
        except Exception:
            return f'late: {traceback.format_exc()}'
    return 'fine'


def _build(config: dict) -> torch.nn.Module:
    """What the checked runner builds and checks before it trains."""
    if 'decode_head' not in config:
        head = build_roi_head(_as_config(config))
        head.init_weights()
        return head
    check_model_config(config)
    with DefaultScope.overwrite_default_scope('mmseg'):
        model = MMSEG_MODELS.build(_as_config(config))
    check_model(model)
    check_train_settings(model)
    check_test_settings(model)
    model.init_weights()
    return model


def _as_config(config: dict) -> dict:
    from mmengine.config import ConfigDict

    return ConfigDict(config)


def _use_roi_head(head: torch.nn.Module) -> None:
    x = feature_levels()
    if head.train_cfg is not None:
        for counts in ((2, 1), (0, 0)):
            roi_losses(head, x, counts)
    if head.test_cfg is not None:
        predict(head.eval(), x, detections([2, 0]))
        proposals = detections([2, 1])
        with torch.no_grad():
            head.predict(tuple(x), proposals, _samples(2), rescale=True)


def _samples(number: int) -> list:
    from mmdet.structures import DetDataSample
    from tiny_heads import META

    return [DetDataSample(metainfo=META) for _ in range(number)]


def _use_segmentor(model: torch.nn.Module) -> None:
    inputs, samples = semantic_batch()
    losses = model.loss(inputs, samples)
    sum(value.mean() for name, value in losses.items() if 'loss' in name).backward()
    with torch.no_grad():
        model.eval().predict(inputs, samples)
