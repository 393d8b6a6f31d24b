# Copyright (c) The mmpointrend authors.
"""detectron2's PointRend models as checkpoints of ours: their tensors under our names, and not one left over.

The layers are the same ones and in the same order (classes with the background last, RoI features channel by channel,
anchors by ratio), so that a tensor needs another name only.
"""

import copy
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from mmengine.config import Config
from mmengine.registry import MODELS, DefaultScope
from torch import Tensor, nn

from mmpointrend.checkpoints.array_archive import load_array_archive
from mmpointrend.checkpoints.array_pickle import load_array_pickle
from mmpointrend.engine.checkpoint import LoadReport, load_from_local
from mmpointrend.engine.launch import read_config
from mmpointrend.errors import CheckpointError, PointRendError

__all__ = [
    'ZOO',
    'Conversion',
    'build_empty',
    'convert',
    'find_config',
    'load_weights',
    'matching_configs',
    'our_name',
]

ZOO = {
    'InstanceSegmentation/pointrend_rcnn_R_50_FPN_1x_coco': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
    ),
    'InstanceSegmentation/pointrend_rcnn_R_50_FPN_3x_coco': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco'
    ),
    'InstanceSegmentation/pointrend_rcnn_R_101_FPN_3x_coco': (
        'pointrend_mask-rcnn_r101-caffe_fpn_8xb2-3x_coco'
    ),
    'InstanceSegmentation/pointrend_rcnn_X_101_32x8d_FPN_3x_coco': (
        'pointrend_mask-rcnn_x101-32x8d_fpn_8xb2-3x_coco'
    ),
    'InstanceSegmentation/pointrend_rcnn_R_50_FPN_1x_cityscapes': (
        'pointrend_mask-rcnn_r50-caffe_fpn_8xb1-24k_cityscapes'
    ),
    'SemanticSegmentation/pointrend_semantic_R_101_FPN_1x_cityscapes': (
        'pointrend_fpn-detectron2_r101-caffe_8xb4-65k_cityscapes-512x1024'
    ),
    'InstanceSegmentation/implicit_pointrend_R_50_FPN_1x_coco': (
        'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-1x_coco'
    ),
    'InstanceSegmentation/implicit_pointrend_R_50_FPN_3x_coco': (
        'implicit-pointrend_mask-rcnn_r50-caffe_fpn_8xb2-3x_coco'
    ),
}
"""detectron2's PointRend configs (two of them without published weights), and the config of each here."""

Replacement = str | Callable[[re.Match], str]


def _numbered(template: str, first: int) -> Callable[[re.Match], str]:
    """Replacement by a template whose ``{}`` is the matched number, counted from 0 instead of from ``first``."""
    return lambda match: template.format(int(match[1]) - first)


# Applied one after the other: first what older versions called otherwise, then modules from the outside in.
_RENAMINGS: list[tuple[str, Replacement]] = [
    (r'^roi_heads\.mask_(coarse|point)_head\.', r'roi_heads.mask_head.\1_head.'),
    (r'\.coarse_mask_fc(\d)\.', r'.fc\1.'),
    (r'^backbone\.bottom_up\.(stem\.)?', 'backbone.'),
    (r'^backbone\.res(\d)\.', _numbered('backbone.layer{}.', first=1)),
    (r'\.conv(\d)\.norm\.', r'.bn\1.'),
    (r'\.shortcut\.norm\.', '.downsample.1.'),
    (r'\.shortcut\.', '.downsample.0.'),
    (r'^backbone\.fpn_lateral(\d)\.', _numbered('neck.lateral_convs.{}.conv.', first=2)),
    (r'^backbone\.fpn_output(\d)\.', _numbered('neck.fpn_convs.{}.conv.', first=2)),
    (r'^proposal_generator\.rpn_head\.conv\.', 'rpn_head.rpn_conv.'),
    (r'^proposal_generator\.rpn_head\.objectness_logits\.', 'rpn_head.rpn_cls.'),
    (r'^proposal_generator\.rpn_head\.anchor_deltas\.', 'rpn_head.rpn_reg.'),
    (r'^roi_heads\.box_head\.fc(\d)\.', _numbered('roi_head.bbox_head.shared_fcs.{}.', first=1)),
    (r'^roi_heads\.box_predictor\.cls_score\.', 'roi_head.bbox_head.fc_cls.'),
    (r'^roi_heads\.box_predictor\.bbox_pred\.', 'roi_head.bbox_head.fc_reg.'),
    (r'^roi_heads\.mask_head\.(coarse|parameter)_head\.', 'roi_head.mask_head.'),
    (
        r'^roi_head\.mask_head\.reduce_spatial_dim_conv\.',
        'roi_head.mask_head.downsample_conv.conv.',
    ),
    (r'^roi_head\.mask_head\.fc(\d)\.', _numbered('roi_head.mask_head.fcs.{}.', first=1)),
    (r'^roi_head\.mask_head\.prediction\.', 'roi_head.mask_head.fc_logits.'),
    (r'^roi_heads\.mask_head\.point_head\.', 'roi_head.point_head.'),
    (r'^sem_seg_head\.point_head\.', 'decode_head.point_head.'),
    (r'\.positional_encoding_gaussian_matrix$', '.positional_encoding.frequencies'),
    (r'(?<=\.point_head)\.fc(\d)\.', _numbered('.fcs.{}.conv.', first=1)),
    (r'(?<=\.point_head)\.predictor\.', '.fc_logits.'),
    (r'^sem_seg_head\.coarse_sem_seg_head\.predictor\.', 'decode_head.coarse_head.conv_seg.'),
    (
        r'^sem_seg_head\.coarse_sem_seg_head\.p(\d)\.',
        _numbered('decode_head.coarse_head.scale_heads.{}.', first=2),
    ),
    (r'(?<=\.scale_heads)(\.\d\.\d)\.norm\.', r'\1.gn.'),
    (r'(?<=\.scale_heads)(\.\d\.\d)\.(?=weight|bias)', r'\1.conv.'),
]

_DROPPED = {
    r'^pixel_(mean|std)$': "the config's data_preprocessor has it",
    r'^proposal_generator\.anchor_generator\.cell_anchors\.': "the config's anchor_generator makes them",
}


_NUMBERS = ('b1', 'i1', 'i2', 'i4', 'i8', 'u1', 'u2', 'u4', 'u8', 'f2', 'f4', 'f8')


@dataclass
class Conversion:
    """A converted model.

    Attributes:
        state_dict: Every tensor of the target, by name.
        dropped: Source tensors that are not used, and why.
        filled: Target tensors that the source has no counterpart of.
    """

    state_dict: dict[str, Tensor]
    dropped: dict[str, str] = field(default_factory=dict)
    filled: list[str] = field(default_factory=list)


def load_weights(filename: str) -> dict[str, Tensor]:
    """Read a model of detectron2's; nothing in the file is executed.

    Args:
        filename: ``.pkl`` (detectron2's zoo), ``.pth`` (what its training writes), ``.npz`` or ``.safetensors``.

    Returns:
        Tensors by detectron2's names.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or no model.
    """
    suffix = Path(filename).suffix
    content: Any
    if suffix == '.pkl':
        content = load_array_pickle(filename)
    elif suffix == '.npz':
        content = load_array_archive(filename)
    elif suffix in ('.pth', '.safetensors'):
        content = load_from_local(filename, map_location='cpu')
    else:
        raise CheckpointError(
            f"{filename}: models of detectron2's are .pkl, .pth or .npz files, or .safetensors."
        )
    key = 'state_dict' if suffix == '.safetensors' else 'model'
    model = content.get(key, content) if isinstance(content, dict) else content
    if not isinstance(model, dict) or not model:
        raise CheckpointError(f'{filename} holds no dict of tensors; give a model of detectron2.')
    weights = {}
    for name, value in model.items():
        if isinstance(value, np.ndarray | np.number) and value.dtype.str[1:] in _NUMBERS:
            # torch knows this machine's byte order alone.
            value = torch.as_tensor(value.astype(value.dtype.newbyteorder('=')))
        elif not isinstance(value, Tensor):
            raise CheckpointError(
                f'{filename}: {name} is a {type(value).__name__} and no tensor; give a model of detectron2.'
            )
        weights[str(name)] = value
    return weights


def find_config(name: str) -> Config:
    """A config by its name.

    Args:
        name: Name of a config of this package, with or without ``.py``, or path of any config.

    Returns:
        The config.

    Raises:
        ConfigError: There is none of that name, or it has no model.
    """
    return read_config(name)


def build_empty(cfg: Config) -> nn.Module:
    """The model of a config without memory for its tensors, which a conversion has to fill.

    Args:
        cfg: The config.

    Returns:
        The model, on the meta device.
    """
    with DefaultScope.overwrite_default_scope(cfg.default_scope), torch.device('meta'):
        # A copy, for mmseg's segmentors write into their config.
        return MODELS.build(copy.deepcopy(cfg.model))


def our_name(name: str) -> str:
    """Name of a tensor of detectron2's in our models.

    Args:
        name: detectron2's name, of any version.

    Returns:
        Ours; a name that no rule knows comes back as it is.
    """
    for pattern, replacement in _RENAMINGS:
        name = re.sub(pattern, replacement, name)
    return name


def convert(weights: Mapping[str, Tensor], cfg: Config) -> Conversion:
    """Convert a model of detectron2's.

    Args:
        weights: Tensors by detectron2's names.
        cfg: Config of the target.

    Returns:
        The conversion; every source tensor is in it or named as dropped, every target tensor is filled.

    Raises:
        CheckpointError: A source tensor has no place, a target tensor is not filled, shapes differ, or the source
            normalises images in another way than the target.
    """
    targets = build_empty(cfg).state_dict()
    conversion = Conversion({})
    report = LoadReport(offered=len(weights))
    for name, value in weights.items():
        reason = next((text for key, text in _DROPPED.items() if re.search(key, name)), None)
        target = our_name(name)
        if reason is not None:
            _check_pixels(name, value, cfg)
            conversion.dropped[name] = reason
        elif target not in targets or target in conversion.state_dict:
            report.unexpected.append(name)
        else:
            if value.shape != targets[target].shape:
                report.reshaped.append(name)
            conversion.state_dict[target] = value.to(targets[target].dtype)
    for name, target in targets.items():
        if name in conversion.state_dict:
            continue
        if name.endswith('.num_batches_tracked'):
            # detectron2's frozen normalisation counts no batches, and ours is not to go on counting.
            conversion.state_dict[name] = torch.zeros((), dtype=target.dtype)
            conversion.filled.append(name)
        else:
            report.missing.append(name)
    report.total = len(targets) - len(conversion.filled)
    if report.missing or report.unexpected or report.reshaped:
        raise CheckpointError(f'the weights are of another model: {report}')
    return conversion


def _check_pixels(name: str, value: Tensor, cfg: Config) -> None:
    """Refuse another mean or standard deviation of pixels than the target's."""
    kind = name.removeprefix('pixel_')
    if kind not in ('mean', 'std'):
        return
    theirs = [round(number, 3) for number in value.flatten().tolist()]
    ours = list(cfg.model.data_preprocessor.get(kind) or [])
    if len(theirs) != len(ours) or not np.allclose(theirs, ours, atol=1e-3):
        raise CheckpointError(
            f'the weights are of another model: its {name} is {theirs}, that of model.data_preprocessor {ours}'
        )


def matching_configs(weights: Mapping[str, Tensor]) -> dict[str, Conversion]:
    """Convert a model of unknown config.

    Args:
        weights: Tensors by detectron2's names.

    Returns:
        The conversion for each config of :data:`ZOO` that the weights fit: those of one model with another schedule
        are the same.

    Raises:
        CheckpointError: They fit none.
    """
    found = {}
    for name in ZOO.values():
        try:
            found[name] = convert(weights, find_config(name))
        except PointRendError:
            continue
    if not found:
        raise CheckpointError(
            "the weights fit none of detectron2's PointRend models; with --config NAME you are told which tensors do "
            'not fit that one.'
        )
    return found
