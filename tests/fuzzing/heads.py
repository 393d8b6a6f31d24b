# Copyright (c) The mmpointrend authors.
"""Configs of heads: built, and where that works trained for a step and asked for a prediction."""

import contextlib
import copy
import json
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from fuzzing.cases import Case
from fuzzing.format import Format
from fuzzing.mutation import some
from mmpointrend.errors import PointRendError

random_head_configs: Any
try:
    import random_head_configs
except ImportError:
    random_head_configs = None

__all__ = ['HEAD_CONFIGS']

# Parts whose keys are ours; what mmdet and mmseg make of theirs is theirs.
_OWN_PARTS = {
    'instance.json': ('mask_head', 'point_head', 'mask_roi_extractor', 'train_cfg', 'test_cfg'),
    'semantic.json': ('decode_head', 'decode_head.point_head', 'train_cfg', 'test_cfg'),
}
_OWN_PARTS['implicit.json'] = _OWN_PARTS['instance.json']
_SETTINGS = {
    *(
        'mask_size',
        'num_points',
        'oversample_ratio',
        'importance_sample_ratio',
        'train_on_pred_boxes',
    ),
    *(
        'point_selection',
        'mask_thr_binary',
        'subdivision_steps',
        'subdivision_num_points',
        'scale_factor',
    ),
    *('output_size', 'adaptive_resolution', 'refine_min_cells'),
}
_NUMBERS = (
    -1,
    0,
    1,
    2,
    3,
    4,
    5,
    6,
    7,
    8,
    13,
    14,
    16,
    28,
    32,
    49,
    64,
    196,
    224,
    0.5,
    0.75,
    1.5,
    -0.5,
    float('nan'),
    float('inf'),
)
_OTHERS = (
    None,
    True,
    False,
    '',
    'x',
    '7',
    'auto',
    [],
    {},
    [7],
    [7, 7],
    [4, 8],
    [14, 14],
    [16],
    [16, 16],
    [0],
    [[0]],
    {'type': 'x'},
)
_TYPES = (
    *(
        'mmpointrend.CoarseMaskHead',
        'mmpointrend.MaskPointHead',
        'mmpointrend.ParameterHead',
        'CoarseMaskHead',
    ),
    *(
        'mmpointrend.ImplicitPointHead',
        'mmpointrend.SemanticPointHead',
        'FCNMaskHead',
        'MaskPointHead',
        'PointHead',
    ),
    *(
        'mmpointrend.PointRendHead',
        'mmdet.MaskPointHead',
        'SingleRoIExtractor',
        'GenericRoIExtractor',
        'FPNHead',
    ),
)
_KEYS = (
    *(
        'class_agnostic',
        'coarse_channels',
        'coarse_pred_each_layer',
        'num_classes',
        'in_channels',
        'num_fcs',
    ),
    *(
        'fc_channels',
        'channels',
        'in_index',
        'loss_point',
        'loss_decode',
        'loss_mask',
        'norm_cfg',
        'act_cfg',
        'init_cfg',
    ),
    *(
        'uncertainty',
        'align_corners',
        'out_channels',
        'threshold',
        'ignore_index',
        'dropout_ratio',
        'num_frequencies',
    ),
    *(
        'featmap_strides',
        'aggregation',
        'roi_layer',
        'conv_out_channels',
        'fc_out_channels',
        'downsample_factor',
    ),
)
_PARTS = (
    {'type': 'CrossEntropyLoss', 'use_mask': True},
    {'type': 'CrossEntropyLoss', 'use_sigmoid': True, 'class_weight': [1.0, 2.0]},
    {'type': 'FocalLoss'},
    {'type': 'DiceLoss'},
    {'type': 'BN'},
    {'type': 'GN', 'num_groups': 3},
    {'type': 'ReLU'},
    {'type': 'RoIAlign', 'output_size': 7, 'sampling_ratio': 0},
    {'type': 'SimpleRoIAlign', 'output_size': 14},
    {'type': 'UniformSelection'},
    {'type': 'RegularGridSelection'},
    {'type': 'BiasedSelection', 'k': 3, 'beta': 0.75},
)


def _value(rng: random.Random, before: Any) -> Any:
    choice = rng.random()
    if isinstance(before, dict) and choice < 0.6:
        return dict(rng.choice(_PARTS))
    if isinstance(before, str) and choice < 0.6:
        return rng.choice(_TYPES)
    if choice < 0.6:
        return rng.choice(_NUMBERS)
    return rng.choice((*_OTHERS, *_NUMBERS, *map(dict, _PARTS)))


def _mutate(rng: random.Random, case: Case, others: Sequence[Case]) -> Case:
    if random_head_configs is not None and rng.random() < 0.5:
        return _random(rng)
    config = json.loads(case.content)
    for _ in range(some(rng, 4)):
        path = rng.choice(_OWN_PARTS[case.kind]).split('.')
        part = config
        for name in path:
            part = part.get(name) if isinstance(part, dict) else None
        if not isinstance(part, dict):
            continue
        keys = [
            key for key in part if path[-1] not in ('train_cfg', 'test_cfg') or key in _SETTINGS
        ]
        if path == ['decode_head']:
            # Another head than ours is not ours to check.
            keys = [key for key in keys if key != 'type']
        choice = rng.randrange(8)
        if choice < 5 and keys:
            key = rng.choice(keys)
            part[key] = _value(rng, part[key])
        elif choice == 5 and keys:
            del part[rng.choice(keys)]
        elif path[-1] in ('train_cfg', 'test_cfg'):
            part[rng.choice(sorted(_SETTINGS))] = _value(rng, None)
        else:
            part[rng.choice(_KEYS)] = _value(rng, None)
    return Case(case.kind, json.dumps(config).encode())


def _random(rng: random.Random) -> Case:
    """A config of the tests' own generator, with the backbone that takes no time."""
    if rng.random() < 0.4:
        config = random_head_configs.random_semantic_config(rng)
        config.pop('neck', None)
        config['backbone'] = {'type': 'FuzzingLevels'}
        kind = 'semantic.json'
    else:
        config = random_head_configs.random_instance_config(rng)
        kind = 'instance.json'
    config.pop('changes', None)
    return Case(kind, json.dumps(config, default=repr).encode())


def _checks() -> tuple[Callable[[Any], None], Callable[[Any], None]]:
    """What the checked runner asks of a model before and after it is built."""
    try:
        from mmpointrend.engine.checks import settings
    except ImportError:
        return (lambda config: None), (lambda model: None)

    def after(model: Any) -> None:
        settings.check_model(model)
        settings.check_train_settings(model)
        settings.check_test_settings(model)

    return settings.check_model_config, after


class LateError(RuntimeError):
    """A sentence that came when the model was used; it should have come when it was built."""


@contextlib.contextmanager
def _in_use() -> Iterator[None]:
    try:
        yield
    except PointRendError as error:
        raise LateError(str(error)) from error


def _register_levels() -> None:
    """A backbone that takes no time: it is not what is tested."""
    import torch
    from mmseg.registry import MODELS

    class FuzzingLevels(torch.nn.Module):
        """Feature levels of strides 4 to 32 with 16 channels."""

        def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
            pooled = [torch.nn.functional.avg_pool2d(images, stride) for stride in (4, 8, 16, 32)]
            return [level.mean(1, keepdim=True).repeat(1, 16, 1, 1) for level in pooled]

    MODELS.register_module(module=FuzzingLevels, force=True)


def _semantic_batch() -> tuple[Any, list]:
    """Two images of 32x32 with labels 0 and 1, so that heads of any number of classes have them, and void."""
    import torch
    from mmengine.structures import PixelData
    from mmseg.structures import SegDataSample

    generator = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 32, 32, generator=generator)
    labels = torch.randint(2, (1, 32, 32), generator=generator)
    labels[:, :4] = 255
    meta = {
        'ori_shape': (32, 32),
        'img_shape': (32, 32),
        'pad_shape': (32, 32),
        'scale_factor': (1.0, 1.0),
    }
    sample = SegDataSample(metainfo=meta)
    sample.gt_sem_seg = PixelData(data=labels)
    return images, [sample, sample]


def _open(folder: Path) -> Callable[[Case], object]:
    import torch
    from mmdet.registry import MODELS as MMDET_MODELS
    from mmengine.config import ConfigDict
    from mmengine.registry import DefaultScope
    from mmseg.registry import MODELS as MMSEG_MODELS
    from tiny_heads import detections, feature_levels, training_batch

    torch.set_num_threads(1)
    levels = feature_levels()
    samples, proposals = training_batch((2, 1))
    found = detections((1, 1))
    inputs, labels = _semantic_batch()
    _register_levels()
    check_config, check_model = _checks()
    metas = [sample.metainfo for sample in samples]

    def use_instance(config: ConfigDict) -> str:
        head = MMDET_MODELS.build(config)
        with _in_use():
            train_and_predict(head)
        return 'built, trained, predicted'

    def train_and_predict(head: torch.nn.Module) -> None:
        if head.train_cfg is not None:
            head.loss(levels, copy.deepcopy(proposals), copy.deepcopy(samples))
        if head.test_cfg is not None:
            head.eval()
            with torch.no_grad():
                head.predict_mask(levels, metas, copy.deepcopy(found), rescale=True)

    def use_semantic(config: ConfigDict) -> str:
        check_config(config)
        model = MMSEG_MODELS.build(config)
        check_model(model)
        with _in_use(), torch.no_grad():
            model.loss(inputs, labels)
            model.eval().encode_decode(inputs, [labels[0].metainfo])
        return 'built, trained, predicted'

    def run(case: Case) -> object:
        config = ConfigDict(json.loads(case.content))
        semantic = case.kind == 'semantic.json'
        torch.manual_seed(0)
        with DefaultScope.overwrite_default_scope('mmseg' if semantic else 'mmdet'):
            return use_semantic(config) if semantic else use_instance(config)

    return run


HEAD_CONFIGS = Format('head_configs', 50_000, _open, _mutate, list)
"""Built by mmdet's and mmseg's registries."""
