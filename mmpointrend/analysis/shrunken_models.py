# Copyright (c) The mmpointrend authors.
"""Models of real configs, a sixteenth as wide and a block deep, and batches small enough for them."""

import copy
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any
from unittest.mock import patch

import numpy as np
import torch
from mmdet.structures import DetDataSample
from mmdet.structures.mask import BitmapMasks
from mmengine.config import ConfigDict
from mmengine.model import revert_sync_batchnorm
from mmengine.registry import MODELS, DefaultScope
from mmengine.structures import InstanceData, PixelData
from mmseg.structures import SegDataSample
from torch import Tensor, nn

__all__ = ['HEIGHT', 'META', 'WIDTH', 'batch', 'build', 'build_small', 'fit_channels', 'shrunken']

SHRINKAGE = 16
# Stride 32 makes 2x3 of it, so that ASPP's and the FPN's coarsest maps are still maps.
HEIGHT, WIDTH = 64, 96
META = {'ori_shape': (HEIGHT, WIDTH), 'img_shape': (HEIGHT, WIDTH), 'scale_factor': (1.0, 1.0)}

_WIDTHS = ('channels', 'embed_dims', 'embed_dim', 'inplanes')
# Backbones of one width, whatever the config says.
_FIXED = ('RegNet', 'MobileNetV2', 'MobileNetV3', 'Res2Net', 'EfficientNet')
# Small enough as they are, and with widths that do not divide.
_SMALL = ('BiSeNetV2', 'CGNet', 'ERFNet')
_CLASSES = {'num_classes': 5, 'num_things_classes': 5, 'num_stuff_classes': 3}


def shrunken(model: dict, fewer_classes: bool = False) -> ConfigDict:
    """Config of a model, smaller.

    Every width is divided by 16, so that widths that do not fit each other still do not.

    Args:
        model: The config.
        fewer_classes: Whether there are 5 classes at most (3 of stuff).

    Returns:
        The small config.
    """
    small = ConfigDict(copy.deepcopy(model))
    # The width of mmdet's shared head (C4) is fixed.
    narrow = not (small.get('roi_head') or {}).get('shared_head') and all(
        _kind_of(backbone) not in _SMALL for backbone in _backbones(small)
    )
    if narrow:
        _divide_widths(small)
    if fewer_classes:
        _take_classes(small)
    for backbone in _backbones(small):
        _shrink_backbone(backbone, narrow)
    preprocessor: Any = small.get('data_preprocessor') or {}
    is_semantic = str(preprocessor.get('type')).endswith('SegDataPreProcessor')
    if preprocessor.get('size') or (is_semantic and not preprocessor.get('size_divisor')):
        preprocessor.size = (HEIGHT, WIDTH)
    preprocessor.pop('batch_augments', None)
    if 'rpn_proposal' in (small.get('train_cfg') or {}):
        _take_few_boxes(small)
    return small


def _take_few_boxes(small: ConfigDict) -> None:
    few = {'nms_pre': 50, 'max_per_img': 20}
    small.train_cfg.rpn_proposal.update(few)
    rcnn = small.train_cfg.rcnn
    for stage in rcnn if isinstance(rcnn, list | tuple) else [rcnn]:
        stage.sampler.update(num=16)
    small.test_cfg.rpn.update(few)
    small.test_cfg.rcnn.update(score_thr=0, max_per_img=3)


def _divide_widths(node: object) -> None:
    """Divide every ``*channels`` and ``embed_dims`` below ``node``; groups of GroupNorm stay valid."""
    if isinstance(node, list | tuple):
        for item in node:
            _divide_widths(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if not str(key).endswith(_WIDTHS):
                _divide_widths(value)
            elif isinstance(value, int):
                node[key] = value // SHRINKAGE if value >= SHRINKAGE else value
            elif isinstance(value, list | tuple):
                # Channels of an image stay.
                node[key] = type(value)(
                    width // SHRINKAGE if isinstance(width, int) and width >= SHRINKAGE else width
                    for width in value
                )
        if 'num_groups' in node:
            node['num_groups'] = 4
        # mmcv's needs a process group to be built.
        if node.get('type') == 'MMSyncBN':
            node['type'] = 'BN'


def _take_classes(node: object) -> None:
    """Make every number of classes below ``node`` small, and weights of classes as few."""
    if isinstance(node, list | tuple):
        for item in node:
            _take_classes(item)
    elif isinstance(node, dict):
        for key, value in node.items():
            if key in _CLASSES and isinstance(value, int):
                node[key] = min(value, _CLASSES[key])
            elif key == 'class_weight' and isinstance(value, list | tuple):
                node[key] = value[: _CLASSES['num_classes']]
            else:
                _take_classes(value)
        if node.get('out_channels') is not None and 'num_classes' in node and 'loss_decode' in node:
            node['out_channels'] = 1 if node['out_channels'] == 1 else node['num_classes']


def _backbones(node: Any) -> Iterator[ConfigDict]:
    """The backbone's config, and those within it and within the neck."""
    for key in ('backbone', 'backbone_cfg', 'rfp_backbone'):
        part = node.get(key)
        if isinstance(part, dict):
            yield part
            yield from _backbones(part)
    if isinstance(node.get('neck'), dict):
        yield from _backbones(node['neck'])


def _kind_of(backbone: dict) -> str:
    return str(backbone.get('of') or backbone['type']).rpartition('.')[2]


def _class_of(part: dict) -> Any:
    kind = part.get('of') or part['type']
    if not isinstance(kind, str):
        return kind
    for scope in ('', 'mmseg.', 'mmdet.'):
        found = MODELS.get(scope + kind) if '.' in scope + kind else None
        if found is not None:
            return found
    return None


def _shrink_backbone(backbone: ConfigDict, narrow: bool) -> None:
    """One block a stage, and few channels if it is to be narrow."""
    kind = _kind_of(backbone)
    if 'depth' in backbone and 'Res' in kind:
        backbone.depth = 18 if backbone.depth < 50 else 50
        if narrow and kind not in _FIXED:
            backbone.update(base_channels=4, stem_channels=4)
        if narrow and 'groups' in backbone and kind != 'RegNet':
            backbone.update(groups=2)
    for key in ('depths', 'num_layers'):
        layers = backbone.get(key)
        if isinstance(layers, list | tuple):
            backbone[key] = type(layers)(1 for _ in layers)
        elif isinstance(layers, int) and isinstance(backbone.get('out_indices'), list | tuple):
            backbone[key] = len(backbone.out_indices)
            backbone.out_indices = tuple(range(len(backbone.out_indices)))
        elif isinstance(layers, int):
            backbone[key] = 2
            if backbone.get('out_indices', -1) != -1:
                backbone.out_indices = 1
    if backbone.get('img_size'):
        backbone.img_size = (HEIGHT, WIDTH)
    extra: Any = backbone.get('extra') or {}
    for stage in extra.values():
        if isinstance(stage, dict) and 'num_blocks' in stage:
            blocks = stage['num_blocks']
            stage.update(num_modules=1, num_blocks=type(blocks)(1 for _ in blocks))


def fit_channels(model: ConfigDict, scope: str) -> None:
    """Set the channels that the parts behind a backbone of fixed width read, as far as they are others.

    Args:
        model: A small config, which is changed.
        scope: 'mmdet' or 'mmseg'.
    """
    if 'backbone' not in model or _kind_of(model.backbone) not in _FIXED:
        return
    with DefaultScope.overwrite_default_scope(scope), torch.no_grad():
        backbone = _build_shallow(copy.deepcopy(model.backbone), [model.backbone])
        backbone.eval()
        channels = [level.shape[1] for level in backbone(torch.zeros(1, 3, HEIGHT, WIDTH))]
    if model.get('neck'):
        model.neck.in_channels = channels
        return
    for key in ('decode_head', 'auxiliary_head'):
        heads = model.get(key) or []
        for head in heads if isinstance(heads, list | tuple) else [heads]:
            index = head.get('in_index', -1)
            several = isinstance(index, list | tuple)
            head.in_channels = [channels[i] for i in index] if several else channels[index]
            if 'c1_in_channels' in head:
                head.c1_in_channels = channels[0]


def _build_shallow(part: dict, backbones: list) -> Any:
    """Build a part while backbones of residual stages have one block a stage."""
    with ExitStack() as stack:
        patched: list[int] = []
        for backbone in backbones:
            settings = getattr(_class_of(backbone), 'arch_settings', None)
            depth = backbone.get('depth')
            if not isinstance(settings, dict) or depth not in settings or id(settings) in patched:
                continue
            patched.append(id(settings))
            block, blocks = settings[depth]
            stack.enter_context(patch.dict(settings, {depth: (block, (1,) * len(blocks))}))
        return revert_sync_batchnorm(MODELS.build(part))


def build(cfg: Any, fewer_classes: bool = False) -> nn.Module:
    """The shrunken model of a config, one block a stage, whose batch normalisations work on one CPU.

    Args:
        cfg: A config with 'model' and 'default_scope'.
        fewer_classes: See :func:`shrunken`.

    Returns:
        The model.
    """
    return build_small(shrunken(cfg.model, fewer_classes), cfg.default_scope)


def build_small(model: ConfigDict, scope: str) -> nn.Module:
    """A model of :func:`shrunken`.

    Args:
        model: The small config.
        scope: 'mmdet' or 'mmseg'.

    Returns:
        The model.
    """
    with DefaultScope.overwrite_default_scope(scope):
        return _build_shallow(copy.deepcopy(model), list(_backbones(model)))


def batch(cfg: Any, num_classes: int, semantic_stride: int | None = None, times: int = 1) -> dict:
    """Two images with ground truth of the first and the last class, as the pipeline gives them.

    Args:
        cfg: A config with 'model' and 'default_scope'.
        num_classes: Number of classes.
        semantic_stride: Stride of the labels of a detector's semantic branch; None where it has none.
        times: What the sides of the images are multiplied by.

    Returns:
        'inputs' and 'data_samples'.
    """
    generator = torch.Generator().manual_seed(0)
    height, width = HEIGHT * times, WIDTH * times
    # Of pairs of images there are six.
    channels = len((cfg.model.get('data_preprocessor') or {}).get('mean') or (0, 0, 0))
    shape = (2, channels, height, width)
    images = torch.randint(256, shape, dtype=torch.uint8, generator=generator)
    sample: Any = _instances if cfg.default_scope == 'mmdet' else _labels
    samples = [sample(num_classes, height, width) for _ in images]
    if semantic_stride is not None:
        for one in samples:
            labels = torch.ones(1, height // semantic_stride, width // semantic_stride)
            one.gt_sem_seg = PixelData(sem_seg=labels.long())
    return {'inputs': list(images), 'data_samples': samples}


def _meta(height: int, width: int) -> dict:
    return {**META, 'ori_shape': (height, width), 'img_shape': (height, width)}


def _instances(num_classes: int, height: int, width: int) -> DetDataSample:
    boxes = torch.tensor([[8, 8, 40, 40], [30, 20, 80, 60]])
    masks = np.zeros((2, height, width), np.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    sample = DetDataSample(metainfo={**_meta(height, width), 'img_id': 0})
    sample.gt_instances = InstanceData(
        bboxes=boxes.float(),
        labels=torch.tensor([0, num_classes - 1]),
        masks=BitmapMasks(masks, height, width),
    )
    sample.ignored_instances = InstanceData(bboxes=torch.zeros(0, 4))
    return sample


def _labels(num_classes: int, height: int, width: int) -> SegDataSample:
    labels: Tensor = torch.zeros(1, height, width, dtype=torch.long)
    labels[:, 20:, 30:] = num_classes - 1
    labels[:, :, :8] = 255
    sample = SegDataSample(metainfo=_meta(height, width))
    sample.gt_sem_seg = PixelData(data=labels)
    # For heads that learn the borders of classes too.
    sample.gt_edge_map = PixelData(data=(labels == 0).long())
    return sample
