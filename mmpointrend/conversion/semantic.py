# Copyright (c) The mmpointrend authors.
"""PointRend for a segmentor of mmseg: channels, strides and losses of an ``EncoderDecoder`` are the model's."""

import math
from typing import Any

from mmengine.config import Config
from torch import Tensor

from mmpointrend.conversion.changes import Base
from mmpointrend.conversion.parts import (
    SIDES,
    TriedBackbone,
    build,
    building,
    name_of,
    tapped,
    updated,
)
from mmpointrend.errors import ConfigError
from mmpointrend.models.decode_heads.coarse_heads import build_coarse_head, coarse_map
from mmpointrend.rules import naming

__all__ = ['semantic_changes']

# Points of a training step and of a step of subdivision (paper, section 5).
_TRAINING, _TESTING = 2048, 8192
# Losses that mean the same of points; of others, and where hard pixels are mined, points have a cross entropy: they are
# the hard ones already.
_OF_POINTS = ('CrossEntropyLoss', 'DiceLoss', 'FocalLoss', 'LovaszLoss', 'TverskyLoss')
_HEAD = ('model', 'decode_head')


def _refuse_others(cfg: Config) -> None:
    model = cfg.model
    kind, last = name_of(model.get('type')), _heads(cfg)[-1]
    if kind not in ('EncoderDecoder', 'CascadeEncoderDecoder'):
        raise ConfigError(
            f'model.type is {kind}: PointRend refines the class logits of an EncoderDecoder, so take a config of one'
        )
    if name_of(last.get('type')) == 'PointRendHead':
        raise ConfigError(
            'model.decode_head.type is PointRendHead: this model has PointRend already'
        )


def _heads(cfg: Config) -> list:
    head = cfg.model.decode_head
    return list(head) if isinstance(head, list | tuple) else [head]


def semantic_changes(cfg: Config, fine_from: str) -> dict:
    """What makes a segmentor one with PointRend.

    Args:
        cfg: Config of a segmentor.
        fine_from: 'neck' for the finest level that the decode head gets, 'backbone' for the backbone's finest.

    Returns:
        Changes of ``cfg.model``.

    Raises:
        ConfigError: It cannot work: the message says why.
    """
    _refuse_others(cfg)
    heads = _heads(cfg)
    cascaded = len(heads) > 1
    if name_of(heads[-1].get('type')) == 'PointHead':
        coarse = Base((*_HEAD, 0)) if len(heads) == 2 else Base(_HEAD, until=-1)
        point_head = Base((*_HEAD, len(heads) - 1))
        head = {
            'type': 'mmpointrend.PointRendHead',
            'coarse_head': coarse,
            'point_head': point_head,
        }
        return _of_one_stage(cfg, {'decode_head': head})
    tried = _try(cfg, fine_from)
    steps = round(math.log2(tried.stride))
    if steps < 1:
        raise ConfigError(
            f'model.decode_head.type is {name_of(heads[-1].type)}, which predicts every pixel of the image (stride '
            f'{tried.stride:g}): there is nothing between its pixels for PointRend to render'
        )
    fine = tried.fine
    points: dict[str, Any] = {'in_channels': [fine.channels], 'in_index': [fine.index]}
    losses = _losses_of_points(cfg)
    if losses is not None:
        points['loss_decode'] = losses
    head = {
        '_delete_': True,
        'type': 'mmpointrend.PointRendHead',
        'coarse_head': Base(_HEAD),
        'point_head': points,
        'uncertainty': 'probabilities',
    }
    rendering = {'subdivision_steps': steps, 'subdivision_num_points': _TESTING}
    changes = {
        **tried.taps,
        'decode_head': head,
        'train_cfg': updated(cfg.model, 'train_cfg', {'num_points': _TRAINING}),
        'test_cfg': updated(cfg.model, 'test_cfg', rendering),
    }
    return _of_one_stage(cfg, changes) if cascaded else changes


def _of_one_stage(cfg: Config, changes: dict) -> dict:
    """The changes of a model whose decode heads were several stages: the segmentor has one, and no ``num_stages``."""
    model: dict[str, Any] = {'_delete_': True, 'type': 'EncoderDecoder'}
    for key in cfg.model:
        if key in ('type', 'num_stages', '_scope_'):
            continue
        change = changes.get(key)
        whole = Base(('model', key))
        if change is None:
            model[key] = whole
        elif key == 'decode_head' or not cfg.model[key]:
            model[key] = change
        else:
            model[key] = {**cfg.model[key], **change}
    for key, change in changes.items():
        model.setdefault(key, change)
    for value in model.values():
        if isinstance(value, dict):
            value.pop('_delete_', None)
            value.pop('_scope_', None)
    return model


def _losses_of_points(cfg: Config) -> Any:
    """Config of the point head's losses; None for a plain cross entropy, which it has by itself."""
    path: tuple[str | int, ...] = _HEAD
    if isinstance(cfg.model.decode_head, list | tuple):
        path = (*path, len(cfg.model.decode_head) - 1)
    head = _heads(cfg)[-1]
    if 'kernel_generate_head' in head:
        head, path = head.kernel_generate_head, (*path, 'kernel_generate_head')
    losses = head.get('loss_decode') or []
    single = not isinstance(losses, list | tuple)
    plain: dict[str, Any] = {'type': 'CrossEntropyLoss'}
    kept: list[dict] = []
    for number, loss in enumerate([losses] if single else losses):
        kind = name_of(loss.get('type'))
        if kind not in (*_OF_POINTS, 'OhemCrossEntropy'):
            continue
        if kind in ('CrossEntropyLoss', 'OhemCrossEntropy') and not loss.get('use_sigmoid'):
            of_points = dict(plain)
        else:
            of_points = {key: value for key, value in loss.items() if key != '_scope_'}
        if loss.get('class_weight') is not None:
            place = () if single else (number,)
            of_points['class_weight'] = Base((*path, 'loss_decode', *place, 'class_weight'))
        # A second one of the same kind is of another map.
        if all(name_of(other['type']) != name_of(of_points['type']) for other in kept):
            kept.append(of_points)
    if kept in ([], [plain]):
        return None
    return kept[0] if len(kept) == 1 else kept


def _try(cfg: Config, fine_from: str) -> '_Tried':
    """Try a model on a small image, and on a larger one if it cannot read that."""
    try:
        return _Tried(cfg, fine_from, SIDES[0])
    except ConfigError as error:
        try:
            return _Tried(cfg, fine_from, SIDES[-1])
        except ConfigError:
            raise error from None


class _Tried:
    """What a segmentor gives of an image.

    Attributes:
        stride: Of the decode head's map, in pixels.
        fine: The level for the point head.
        taps: Changes that let the model keep it.
    """

    def __init__(self, cfg: Config, fine_from: str, side: int) -> None:
        with building(cfg):
            backbone = TriedBackbone(cfg, side)
            inputs = backbone.outputs
            if cfg.model.get('neck'):
                with naming('model.neck', ' cannot read the levels of the backbone'):
                    inputs = build(cfg, 'neck')(inputs)
            coarse_head = build_coarse_head(cfg.model.decode_head)
            coarse_head.eval()
            with naming('model.decode_head', ' cannot read the feature levels'):
                coarse = coarse_map(coarse_head, coarse_head(inputs))
        self.stride = backbone.height / coarse.shape[-2]
        self.taps: dict[str, Any] = {}
        if isinstance(inputs, Tensor):
            # Of levels there are others in training, of which none is there in testing.
            self.fine = backbone.finest_layer()
            layer = str(self.fine.index).removeprefix('backbone.')
            self.taps['backbone'] = tapped(cfg, 'backbone', layers=[layer])
            return
        if fine_from == 'backbone' and cfg.model.get('neck'):
            levels = backbone.levels(backbone.outputs, 'backbone.')
            self.taps['neck'] = tapped(cfg, 'neck')
        else:
            levels = backbone.levels(inputs)
        self.fine = min(levels, key=lambda level: level.stride)
