# Copyright (c) The mmpointrend authors.
"""PointRend for a two-stage detector of mmdet: channels, strides and classes are those of its RoI head."""

import math
from typing import Any

from mmengine.config import Config, ConfigDict

from mmpointrend.conversion.changes import Base, Each
from mmpointrend.conversion.parts import Level, TriedBackbone, building, name_of, tapped
from mmpointrend.errors import ConfigError

__all__ = ['instance_changes']

# mmdet's RoI heads, and ours in their places.
_ROI_HEADS = {
    'StandardRoIHead': 'PointRendRoIHead',
    'MaskScoringRoIHead': 'MaskScoringPointRendRoIHead',
    'PISARoIHead': 'PISAPointRendRoIHead',
    'CascadeRoIHead': 'CascadePointRendRoIHead',
    'HybridTaskCascadeRoIHead': 'HTCPointRendRoIHead',
    'SCNetRoIHead': 'SCNetPointRendRoIHead',
}
# Heads whose stages hand mask features on, so that mmdet's mask heads stay.
_WITH_THEIR_MASKS = ('HybridTaskCascadeRoIHead', 'SCNetRoIHead')
# Points of a training step and of a step of subdivision, sides of coarse and rendered masks in pixels (paper,
# section 4).
_TRAINING, _TESTING = 14 * 14, 28 * 28
_COARSE, _RENDERED = 7, 224


def _first(part: Any) -> Any:
    """A part, or that of the first stage."""
    return part[0] if isinstance(part, list | tuple) else part


def _refuse_others(roi_head: ConfigDict) -> None:
    kind = roi_head.get('type')
    name = name_of(kind)
    if ('PointRend' in name and name != 'PointRendRoIHead') or str(kind).startswith('mmpointrend.'):
        raise ConfigError(f'model.roi_head.type is {name}: this model has PointRend already')
    if not roi_head.get('mask_head'):
        raise ConfigError(
            f'model.roi_head of type {name} has no mask_head: PointRend refines masks, so take the config of the '
            'detector with masks, such as Mask R-CNN for Faster R-CNN'
        )
    if name == 'SparseRoIHead':
        raise ConfigError(
            'model.roi_head.type is SparseRoIHead, which makes masks of queries (QueryInst): there are no coarse masks '
            'of RoIs to refine; take a detector with RoIs, such as Cascade Mask R-CNN'
        )
    if name not in (*_ROI_HEADS, 'PointRendRoIHead'):
        raise ConfigError(
            f'model.roi_head.type is {name}, for which there is no RoI head with PointRend: take one of '
            f'{", ".join(_ROI_HEADS)}'
        )


def instance_changes(cfg: Config, fine_from: str) -> dict:
    """What makes a detector one with PointRend.

    Args:
        cfg: Config of a detector with an RoI head.
        fine_from: 'neck' for the finest level that the RoI head gets, 'backbone' for the backbone's finest. Without a
            neck (C4) it is the backbone's.

    Returns:
        Changes of ``cfg.model``.

    Raises:
        ConfigError: It cannot work: the message says why.
    """
    roi_head = cfg.model.roi_head
    _refuse_others(roi_head)
    kind = name_of(roi_head.type)
    if kind == 'PointRendRoIHead':
        return {'roi_head': {'type': 'mmpointrend.PointRendRoIHead'}}
    changes: dict[str, Any] = {'type': f'mmpointrend.{_ROI_HEADS[kind]}'}
    boxes = _first(roi_head.bbox_roi_extractor)
    points: dict[str, Any] = {'type': 'mmpointrend.MaskPointHead'}
    if _first(roi_head.mask_head).get('class_agnostic'):
        points['class_agnostic'] = True
    taps: dict[str, Any] = {}
    if fine_from == 'backbone' or not cfg.model.get('neck'):
        level, taps = _of_backbone(cfg)
        stride = int(level.stride)
        points.update(in_index=[level.index], featmap_strides=[stride], in_channels=level.channels)
    settings: dict[str, Any] = {'num_points': _TRAINING}
    coarse_size = _COARSE
    if kind in _WITH_THEIR_MASKS or roi_head.get('shared_head'):
        coarse_size = _first(cfg.model.train_cfg.rcnn).mask_size
        points.setdefault('featmap_strides', [boxes.featmap_strides[0]])
    else:
        settings['mask_size'] = _COARSE
        changes.update(_coarse_parts(roi_head, boxes, points))
    changes['point_head'] = points
    if isinstance(cfg.model.train_cfg.rcnn, list | tuple):
        rcnn: Any = Each(Base(('model', 'train_cfg', 'rcnn')), settings)
    else:
        rcnn = settings
    steps = round(math.log2(_RENDERED / coarse_size))
    rendering = {'subdivision_steps': steps, 'subdivision_num_points': _TESTING}
    return {
        **taps,
        'roi_head': changes,
        'train_cfg': {'rcnn': rcnn},
        'test_cfg': {'rcnn': rendering},
    }


def _coarse_parts(roi_head: ConfigDict, boxes: ConfigDict, points: dict) -> dict[str, Any]:
    """The paper's coarse head, on a 14x14 grid of the finest level; a RoI extractor of several levels stays."""
    masks = _first(roi_head.get('mask_roi_extractor')) or boxes
    channels = masks.out_channels
    head: dict[str, Any] = {'_delete_': True, 'type': 'mmpointrend.CoarseMaskHead'}
    if channels != 256:
        head['conv_out_channels'] = channels
    if points.get('class_agnostic'):
        head['class_agnostic'] = True
    if name_of(masks.type) == 'GenericRoIExtractor':
        points.setdefault('featmap_strides', [boxes.featmap_strides[0]])
        return {'mask_head': head}
    extractor = {
        '_delete_': True,
        'type': 'GenericRoIExtractor',
        'aggregation': 'concat',
        'roi_layer': {'type': 'SimpleRoIAlign', 'output_size': 2 * _COARSE},
        'out_channels': channels,
        'featmap_strides': [boxes.featmap_strides[0]],
    }
    return {'mask_roi_extractor': extractor, 'mask_head': head}


def _of_backbone(cfg: Config) -> tuple[Level, dict[str, Any]]:
    """The backbone's finest level, and the changes that let the model keep it."""
    with building(cfg):
        backbone = TriedBackbone(cfg)
    if cfg.model.get('neck'):
        levels = backbone.levels(backbone.outputs, 'backbone.')
        return min(levels, key=lambda level: level.stride), {'neck': tapped(cfg, 'neck')}
    level = backbone.finest_layer()
    layer = str(level.index).removeprefix('backbone.')
    return level, {'backbone': tapped(cfg, 'backbone', layers=[layer])}
