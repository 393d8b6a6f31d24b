# Copyright (c) The mmpointrend authors.
"""Refusals of the instance task: parts of an RoI head that do not fit each other, at build time."""

import torch
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor
from mmengine.config import ConfigDict
from torch import nn

from mmpointrend.errors import ConfigError

__all__ = [
    'check_coarse_classes',
    'check_fine_channels',
    'check_mask_size',
    'check_point_classes',
    'probe_mask_head',
    'roi_feature_shape',
]


def roi_feature_shape(extractor: BaseRoIExtractor) -> tuple[int, int, int]:
    """Channels, height and width of the features (R, C, h, w) that an RoI extractor gives."""
    size = extractor.roi_layers[0].output_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return extractor.out_channels, height, width


@torch.no_grad()
def probe_mask_head(
    mask_head: nn.Module, extractor: BaseRoIExtractor, shared_head: nn.Module | None = None
) -> tuple[int, int]:
    """What a coarse head makes of one RoI: asked of the head itself, so that any mask head will do.

    Args:
        mask_head: The coarse mask head.
        extractor: The RoI extractor that feeds it.
        shared_head: What lies between the two in models without a feature pyramid (C4).

    Returns:
        Channels K and side h of its logits (R, K, h, h).

    Raises:
        ConfigError: The head does not take what the extractor gives, or its output is not square.
    """
    features = torch.zeros(1, *roi_feature_shape(extractor))
    source = 'mask_roi_extractor'
    if shared_head is not None:
        training = shared_head.training
        # Not chained: mmdet's ResLayer returns nothing from `eval`.
        shared_head.eval()
        features, source = shared_head(features), 'shared_head'
        shared_head.train(training)
    training = mask_head.training
    _, channels, height, width = features.shape
    try:
        logits = mask_head.eval()(features)
    except RuntimeError as error:
        raise ConfigError(
            f'roi_head.mask_head cannot take what roi_head.{source} gives, {channels} channels of {height}x{width}: '
            f'set mask_head.in_channels to {channels} and roi_feat_size to {height} ({error})'
        ) from error
    finally:
        mask_head.train(training)
    _, channels, height, width = logits.shape
    if height != width:
        raise ConfigError(
            f'roi_head.mask_head gives masks of {height}x{width}: they have to be square, so set a square '
            'roi_head.mask_roi_extractor.roi_layer.output_size'
        )
    return channels, height


def check_coarse_classes(bbox_head: nn.Module, mask_head: nn.Module, coarse_channels: int) -> None:
    """Refuse a coarse head that counts classes differently than the box head.

    Args:
        bbox_head: The box head.
        mask_head: The coarse mask head.
        coarse_channels: K of the coarse head.

    Raises:
        ConfigError: The numbers of classes differ.
    """
    expected = bbox_head.num_classes
    if coarse_channels != (1 if mask_head.class_agnostic else expected):
        raise ConfigError(
            f'roi_head.mask_head.num_classes is {coarse_channels}, roi_head.bbox_head.num_classes is {expected}: set '
            'both to the number of classes of the dataset'
        )


def check_point_classes(bbox_head: nn.Module, point_head: nn.Module) -> None:
    """Refuse a point head that counts classes differently than the box head.

    Args:
        bbox_head: The box head.
        point_head: The point head.

    Raises:
        ConfigError: The numbers of classes differ.
    """
    expected = bbox_head.num_classes
    if point_head.num_classes != expected:
        raise ConfigError(
            f'roi_head.point_head.num_classes is {point_head.num_classes}, roi_head.bbox_head.num_classes is '
            f'{expected}: set both to the number of classes of the dataset'
        )


def check_fine_channels(point_head: nn.Module, extractor: BaseRoIExtractor) -> None:
    """Refuse a point head that expects other fine-grained features than it will get.

    Args:
        point_head: The point head.
        extractor: The mask RoI extractor, whose levels are the fine feature levels.

    Raises:
        ConfigError: The channels differ.
    """
    levels = 1 if getattr(extractor, 'aggregation', 'sum') == 'concat' else extractor.num_inputs
    channels = extractor.out_channels * levels
    if point_head.in_channels != channels:
        raise ConfigError(
            f'roi_head.point_head.in_channels is {point_head.in_channels}, but the feature levels of '
            f'roi_head.mask_roi_extractor have {channels} channels together: set it to {channels}'
        )


def check_mask_size(train_cfg: ConfigDict, coarse_size: int) -> None:
    """Refuse coarse targets of another size than the coarse head's masks.

    Args:
        train_cfg: The RoI head's.
        coarse_size: Side of the coarse masks.

    Raises:
        ConfigError: ``mask_size`` differs or is missing.
    """
    mask_size = train_cfg.get('mask_size')
    if mask_size not in (coarse_size, (coarse_size, coarse_size), [coarse_size, coarse_size]):
        raise ConfigError(
            f'train_cfg.rcnn.mask_size is {mask_size}, but roi_head.mask_head gives masks of {coarse_size}x'
            f'{coarse_size}: set it to {coarse_size}'
        )
