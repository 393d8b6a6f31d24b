# Copyright (c) The mmpointrend authors.
"""Refusals of the instance task: parts of an RoI head that do not fit each other, at build time."""

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from mmdet.models.losses import CrossEntropyLoss
from mmdet.models.roi_heads.bbox_heads import BBoxHead
from mmdet.models.roi_heads.mask_heads import FCNMaskHead
from mmdet.models.roi_heads.roi_extractors import BaseRoIExtractor, SingleRoIExtractor
from mmdet.registry import MODELS
from mmengine.config import ConfigDict
from torch import Tensor, nn

from mmpointrend.errors import ConfigError
from mmpointrend.models.roi_heads.frames import FineLevels
from mmpointrend.rules import PART, TRUTH, Rule, check, check_size, listed, number, whole

__all__ = [
    'EXTRACTOR_RULES',
    'TEST_RULES',
    'TRAIN_RULES',
    'check_box_settings',
    'check_class_weights',
    'check_coarse_classes',
    'check_features',
    'check_fine_channels',
    'check_kept_levels',
    'check_levels_of_extractors',
    'check_mask_loss',
    'check_point_classes',
    'choose_fine_levels',
    'features_of_mask_head',
    'fill_in',
    'fill_in_extractor',
    'fill_in_mask_head',
    'fill_in_mask_size',
    'fine_channels',
    'probe_mask_head',
    'roi_feature_shape',
    'type_of',
]

# Keys of ``train_cfg.rcnn`` and ``test_cfg.rcnn`` besides those of selection and rendering, which have rules of their
# own, and of mask targets. Those that a box head of mmdet's reads are asked for where it is one.
EXTRACTOR_RULES = {'featmap_strides': listed(number(0)), 'out_channels': whole(1)}
TRAIN_RULES = {
    'assigner': PART.needed(),
    'sampler': PART.needed(),
    'train_on_pred_boxes': TRUTH,
}
TEST_RULES = {
    'mask_thr_binary': Rule('a number of at most 1, such as 0.5', number(most=1).accepts, True),
    'adaptive_resolution': TRUTH,
    'refine_min_cells': number(0),
    'keep_contours': TRUTH,
    'mask_output': Rule(
        "'dense', 'rle' or 'crop'",
        lambda value: isinstance(value, str) and value in ('dense', 'rle', 'crop'),
    ),
}


_NAMES = listed(
    Rule("the name of a map, such as 'backbone.0'", lambda value: isinstance(value, str))
)


def _is_nms(value: Any) -> bool:
    if not isinstance(value, Mapping) or not isinstance(value.get('type', 'nms'), str):
        return False
    return value.get('type', 'nms') != 'nms' or number().accepts(value.get('iou_threshold'))


_BOX_TRAIN_RULES = {'pos_weight': number().needed()}
_BOX_TEST_RULES = {
    'score_thr': number().needed(),
    'nms': Rule("dict(type='nms', iou_threshold=0.5)", _is_nms, required=True),
    'max_per_img': whole(-1).needed(),
}


def check_mask_output(test_cfg: Mapping) -> None:
    """Refuse sparse masks that are no masks.

    Args:
        test_cfg: The RoI head's.

    Raises:
        ConfigError: ``mask_output`` is not 'dense', and ``mask_thr_binary`` asks for probabilities.
    """
    output = test_cfg.get('mask_output', 'dense')
    if output != 'dense' and test_cfg.get('mask_thr_binary', 0.5) < 0:
        raise ConfigError(
            f"test_cfg.rcnn.mask_output is '{output}', but mask_thr_binary is {test_cfg['mask_thr_binary']}, which "
            "asks for probabilities, and run lengths have none: set mask_output to 'dense', or mask_thr_binary to 0.5"
        )


def roi_feature_shape(extractor: BaseRoIExtractor) -> tuple[int, int, int]:
    """Channels, height and width of the features (R, C, h, w) that an RoI extractor gives."""
    size = extractor.roi_layers[0].output_size
    height, width = size if isinstance(size, tuple | list) else (size, size)
    # As little as it takes to try a head.
    check_size(
        'roi_head.mask_roi_extractor', extractor.out_channels * height * width, 'out_channels'
    )
    return extractor.out_channels, height, width


@torch.no_grad()
def features_of_mask_head(
    extractor: BaseRoIExtractor, shared_head: nn.Module | None = None
) -> tuple[int, int, int]:
    """What a mask head sees of an RoI.

    Args:
        extractor: The RoI extractor that feeds it.
        shared_head: What lies between the two in models without a feature pyramid (C4).

    Returns:
        Channels, height and width of its input (R, C, h, w).
    """
    shape = roi_feature_shape(extractor)
    if shared_head is None:
        return shape
    training = shared_head.training
    # Not chained: mmdet's ResLayer returns nothing from `eval`.
    shared_head.eval()
    _, channels, height, width = shared_head(torch.zeros(1, *shape)).shape
    shared_head.train(training)
    return channels, height, width


def fill_in_extractor(masks: ConfigDict, boxes: ConfigDict) -> None:
    """Set the channels of a mask RoI extractor, where its config does not, to those of its levels.

    Args:
        masks: Its config, changed in place.
        boxes: Config of the box RoI extractor, which says what one level has.
    """
    if 'out_channels' in masks or 'out_channels' not in boxes:
        return
    concatenated = masks.get('aggregation') == 'concat'
    masks.out_channels = boxes.out_channels * (len(masks.featmap_strides) if concatenated else 1)


def type_of(config: ConfigDict) -> type:
    """The class that a config names.

    Args:
        config: Config of a part of mmdet's or ours.

    Returns:
        The class; ``object`` if there is no such class, or the name is that of a function.
    """
    kind = MODELS.get(config.type) if isinstance(config.type, str) else config.type
    return kind if isinstance(kind, type) else object


def fill_in_mask_head(
    config: ConfigDict,
    num_classes: int,
    extractor: BaseRoIExtractor,
    shared_head: nn.Module | None = None,
) -> ConfigDict:
    """Set what a mask head takes from the parts before it, where its config does not.

    Args:
        config: Config of the mask head. One that is no ``FCNMaskHead`` of mmdet's, nor a subclass, stays as it is.
        num_classes: Number of classes of the box head.
        extractor: The RoI extractor that feeds it.
        shared_head: What lies between the two in models without a feature pyramid (C4).

    Returns:
        A copy of the config with ``num_classes``, ``in_channels`` and ``roi_feat_size``.
    """
    if not issubclass(type_of(config), FCNMaskHead):
        return config
    channels, height, width = features_of_mask_head(extractor, shared_head)
    known = {
        'num_classes': num_classes,
        'in_channels': channels,
        'roi_feat_size': (height, width),
    }
    return ConfigDict({**known, **config})


@torch.no_grad()
def probe_mask_head(
    mask_head: Any,
    extractor: BaseRoIExtractor,
    shared_head: nn.Module | None = None,
    where: str = 'roi_head.mask_head',
) -> tuple[int, int]:
    """What a coarse head makes of one RoI: asked of the head itself, so that any mask head will do.

    Args:
        mask_head: The coarse mask head.
        extractor: The RoI extractor that feeds it.
        shared_head: What lies between the two in models without a feature pyramid (C4).
        where: The head's name in a config.

    Returns:
        Channels K and side h of its logits (R, K, h, h).

    Raises:
        ConfigError: The head does not take what the extractor gives, or its output is not square.
    """
    source = 'mask_roi_extractor' if shared_head is None else 'shared_head'
    features = torch.zeros(1, *features_of_mask_head(extractor, shared_head))
    training = mask_head.training
    _, channels, height, width = features.shape
    fits = getattr(mask_head, 'in_channels', None) == channels
    remedy = (
        'its other keys do not fit'
        if fits and tuple(mask_head.roi_feat_size) == (height, width)
        else f'set mask_head.in_channels to {channels} and roi_feat_size to {height}'
    )
    try:
        logits = mask_head.eval()(features)
        if not isinstance(logits, Tensor):
            # HTC's has its features beside the logits.
            logits = logits[0]
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f'{where} cannot take what roi_head.{source} gives, {channels} channels of {height}x{width}: '
            f'{remedy} ({" ".join(str(error).split())})'
        ) from error
    finally:
        mask_head.train(training)
    _, channels, height, width = logits.shape
    if height != width:
        raise ConfigError(
            f'{where} gives masks of {height}x{width}: they have to be square, so set a square '
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


def choose_fine_levels(strides: Any, names: Any, boxes: Any, masks: BaseRoIExtractor) -> FineLevels:
    """Choose the feature levels of the points by their strides, or maps of the backbone by their names.

    Args:
        strides: ``point_head.featmap_strides``; None takes the levels of the mask RoI extractor.
        names: ``point_head.in_index``: names of maps that :mod:`mmpointrend.models.taps` keeps, such as 'backbone.0',
            ``strides`` being theirs; None takes the levels that the RoI head gets.
        boxes: The box RoI extractor, which says the strides of the feature levels from the first on.
        masks: The mask RoI extractor.

    Returns:
        The levels, in the order of ``strides``.

    Raises:
        ConfigError: A stride is not one of the feature levels', or occurs twice, or there are not as many as names.
    """
    key = 'point_head.featmap_strides'
    if names is not None:
        listed_names = [names] if isinstance(names, str) else names
        check({'point_head.in_index': listed_names}, 'roi_head', {'point_head.in_index': _NAMES})
        of_names = {key: listed(number(0), len(listed_names)).needed()}
        check({key: strides}, 'roi_head', of_names)
        return FineLevels(tuple(listed_names), tuple(strides))
    if strides is None:
        own = tuple(masks.featmap_strides)
        return FineLevels(tuple(range(len(own))), own)
    check({key: strides}, 'roi_head', {key: listed(number(0))})
    of_masks, of_boxes = (list(getattr(part, 'featmap_strides', ())) for part in (masks, boxes))
    known = of_boxes if len(of_boxes) > len(of_masks) else of_masks
    wrong = [stride for stride in strides if stride not in known]
    if wrong or len(set(strides)) < len(strides):
        raise ConfigError(
            f'roi_head.{key} is {list(strides)}: take some of the strides {known} of the feature levels, each once'
        )
    return FineLevels(tuple(map(known.index, strides)), tuple(strides))


def fine_channels(levels: FineLevels, boxes: Any, masks: BaseRoIExtractor) -> int | None:
    """Channels of the fine features that a point head gets, as far as the other parts say.

    Args:
        levels: The fine feature levels.
        boxes: The box RoI extractor.
        masks: The mask RoI extractor.

    Returns:
        C of all levels together; None if they are maps of the backbone, of which no extractor knows.
    """
    count = len(levels.indices)
    if any(isinstance(index, str) for index in levels.indices):
        return None
    if type(boxes) is SingleRoIExtractor:
        # It gives what one level has.
        return boxes.out_channels * count
    concatenated = getattr(masks, 'aggregation', 'sum') == 'concat'
    return masks.out_channels * count // (masks.num_inputs if concatenated else 1)


def check_fine_channels(point_head: nn.Module, levels: FineLevels, channels: int | None) -> None:
    """Refuse a point head that expects other fine-grained features than it will get.

    Args:
        point_head: The point head.
        levels: The fine feature levels.
        channels: What :func:`fine_channels` says of them.

    Raises:
        ConfigError: The channels differ.
    """
    if channels is not None and point_head.in_channels != channels:
        raise ConfigError(
            f'roi_head.point_head.in_channels is {point_head.in_channels}, but its feature levels of the strides '
            f'{list(levels.strides)} have {channels} channels together: set it to {channels}'
        )


def fill_in_mask_size(train_cfg: ConfigDict, coarse_size: int, where: str) -> ConfigDict:
    """Set the size of the coarse targets, or refuse another one than the coarse head's masks have.

    Args:
        train_cfg: The RoI head's, or a stage's.
        coarse_size: Side of the coarse masks.
        where: Its name in a config.

    Returns:
        A copy of the config with ``mask_size``.

    Raises:
        ConfigError: ``mask_size`` differs.
    """
    mask_size = train_cfg.get('mask_size')
    if mask_size is None:
        return ConfigDict({**train_cfg, 'mask_size': coarse_size})
    if mask_size not in (coarse_size, (coarse_size, coarse_size), [coarse_size, coarse_size]):
        raise ConfigError(
            f'{where}.mask_size is {mask_size}, but roi_head.mask_head gives masks of {coarse_size}x{coarse_size}: '
            f'set it to {coarse_size}, or leave it out'
        )
    return train_cfg


def fill_in(config: ConfigDict, where: str, key: str, value: int) -> ConfigDict:
    """Set what a part takes from the parts before it; the config may repeat but not contradict it.

    Args:
        config: Config of the part.
        where: Its name.
        key: The key to set.
        value: Its value.

    Returns:
        A copy of the config with the key set.

    Raises:
        ConfigError: The config says something else.
    """
    given = config.get(key)
    if given is not None and given != value:
        raise ConfigError(
            f'{where}.{key} is {given}, but the other parts make it {value}: leave it out, it is filled in'
        )
    return ConfigDict({**config, key: value})


def check_levels_of_extractors(boxes: Any, masks: Any) -> None:
    """Refuse a mask RoI extractor that sees the same feature levels otherwise than the box RoI extractor.

    mmdet's ``SingleRoIExtractor`` gives what one level has, so that its channels are those of each of its levels.

    Args:
        boxes: The box RoI extractor; any but mmdet's ``SingleRoIExtractor`` says nothing of single levels.
        masks: The mask RoI extractor, whose levels are the first of the feature pyramid likewise.

    Raises:
        ConfigError: Strides or channels disagree.
    """
    if type(boxes) is not SingleRoIExtractor:
        return
    strides, expected = list(masks.featmap_strides), list(boxes.featmap_strides)
    shared = min(len(strides), len(expected))
    if strides[:shared] != expected[:shared]:
        raise ConfigError(
            f'roi_head.mask_roi_extractor.featmap_strides is {strides}, roi_head.bbox_roi_extractor.featmap_strides is '
            f'{expected}: both count the feature levels from the first, so start both with the same strides'
        )
    if shared == len(strides):
        _check_channels(masks, 'roi_head.mask_roi_extractor', [boxes.out_channels] * shared)


def check_features(
    extractor: Any, where: str, x: Sequence[Tensor], image_size: tuple[int, int]
) -> None:
    """Refuse feature levels that an RoI extractor was not made for.

    Args:
        extractor: The extractor; one that is not mmdet's passes.
        where: Its name in a config.
        x: Feature levels of an image, each (1, C, H, W).
        image_size: Height and width of the image, which the strides divide.

    Raises:
        ConfigError: Levels are missing, or have other channels or strides.
    """
    if not isinstance(extractor, BaseRoIExtractor):
        return
    strides = list(extractor.featmap_strides)
    levels = list(x[: len(strides)])
    found = [image_size[0] / level.shape[-2] for level in levels]
    if len(levels) < len(strides) or any(
        -(-image_size[0] // stride) != level.shape[-2]
        for level, stride in zip(levels, strides, strict=True)
    ):
        has = ', '.join(f'{stride:g}' for stride in found)
        raise ConfigError(
            f'{where}.featmap_strides is {strides}, but the first feature levels of the model have strides {has}: set '
            'it to these, from the first on'
        )
    _check_channels(extractor, where, [level.shape[1] for level in levels])


def check_kept_levels(
    point_head: nn.Module, fine: FineLevels, x: Sequence[Tensor], image_size: tuple[int, int]
) -> None:
    """Refuse maps of the backbone that the point head was not made for; no extractor knows them.

    Args:
        point_head: The point head.
        fine: The levels of the points.
        x: What the RoI head gets of an image: feature levels, each (1, C, H, W), with maps kept besides.
        image_size: Height and width of the image, which the strides divide.

    Raises:
        ConfigError: A map is missing, or they have other channels or strides.
    """
    if not any(isinstance(index, str) for index in fine.indices):
        return
    levels = fine.of(x)
    channels = sum(level.shape[1] for level in levels)
    names = ', '.join(str(index) for index in fine.indices)
    if point_head.in_channels != channels:
        raise ConfigError(
            f'roi_head.point_head.in_channels is {point_head.in_channels}, but {names} have {channels} channels '
            f'together: set it to {channels}'
        )
    if any(
        -(-image_size[0] // stride) != level.shape[-2]
        for level, stride in zip(levels, fine.strides, strict=True)
    ):
        has = ', '.join(f'{image_size[0] / level.shape[-2]:g}' for level in levels)
        raise ConfigError(
            f'roi_head.point_head.featmap_strides is {list(fine.strides)}, but {names} have strides {has}: set it to '
            'these'
        )


def _check_channels(extractor: Any, where: str, channels: Sequence[int]) -> None:
    """Refuse an extractor that says another number of channels than its levels make."""
    concatenated = getattr(extractor, 'aggregation', None) == 'concat' and len(channels) > 1
    expected = sum(channels) if concatenated else channels[0]
    plain = not getattr(extractor, 'with_pre', False) and not getattr(extractor, 'with_post', False)
    if plain and extractor.out_channels != expected:
        how = 'concatenated' if concatenated else 'each'
        raise ConfigError(
            f'{where}.out_channels is {extractor.out_channels}, but its {len(channels)} feature levels have {expected} '
            f'channels {how}: set it, and in_channels of the heads behind it, to {expected}'
        )


def check_box_settings(
    bbox_head: nn.Module,
    train_cfg: ConfigDict | None,
    test_cfg: ConfigDict | None,
    where: str = 'train_cfg.rcnn',
) -> None:
    """Ask for the keys that mmdet's box head reads in its first step and its first prediction.

    Args:
        bbox_head: The box head.
        train_cfg: The RoI head's, or None.
        test_cfg: The RoI head's, or None.
        where: Name of ``train_cfg`` in a config.

    Raises:
        ConfigError: A key is missing or no number.
    """
    kind = type(bbox_head)
    if train_cfg is not None and _inherits(kind, BBoxHead, '_get_targets_single'):
        check(train_cfg, where, _BOX_TRAIN_RULES)
    if test_cfg is not None and _inherits(kind, BBoxHead, '_predict_by_feat_single'):
        check(test_cfg, 'test_cfg.rcnn', _BOX_TEST_RULES)


def _inherits(kind: type, base: type, method: str) -> bool:
    return getattr(kind, method, None) is getattr(base, method)


@torch.no_grad()
def check_class_weights(bbox_head: Any) -> None:
    """Refuse a ``class_weight`` of the box head's cross entropy that does not have a number for each class.

    Args:
        bbox_head: The box head.

    Raises:
        ConfigError: Its length is wrong.
    """
    loss: Any = getattr(bbox_head, 'loss_cls', None)
    predictor = getattr(bbox_head, 'fc_cls', None)
    if type(loss) is not CrossEntropyLoss or loss.class_weight is None:
        return
    channels = getattr(predictor, 'out_features', bbox_head.num_classes + 1)
    try:
        with torch.device('cpu'):
            labels = torch.zeros(2, dtype=torch.long)
            loss(torch.zeros(2, channels), labels, torch.ones(2), avg_factor=2)
    except (RuntimeError, TypeError, ValueError) as error:
        raise ConfigError(
            f'roi_head.bbox_head.loss_cls.class_weight is {loss.class_weight}: give {channels} numbers, one for each '
            'class and one for the background'
        ) from error


@torch.no_grad()
def check_mask_loss(mask_head: Any, coarse_size: int) -> None:
    """Refuse a loss of the coarse head that fails on masks, or finds nothing wrong where every pixel is.

    Args:
        mask_head: The coarse mask head; one with a loss of its own passes.
        coarse_size: Side of its masks.

    Raises:
        ConfigError: ``loss_mask`` is no loss of masks.
    """
    if not _inherits(type(mask_head), FCNMaskHead, 'loss_and_target'):
        return
    loss, classes = mask_head.loss_mask, mask_head.num_classes
    channels = 1 if mask_head.class_agnostic else classes
    # With a device, for a model may be built on the meta device.
    logits = torch.full((2, channels, coarse_size, coarse_size), 4.0, device='cpu')
    logits[:, :, coarse_size // 2 :] = -4
    targets = (logits[:, 0] < 0).float()
    labels = torch.zeros(2, dtype=torch.long, device='cpu')
    reason = 'it is 0 where every pixel is wrong'
    try:
        works = bool(loss(logits, targets, labels).mean() > 0)
    except (AssertionError, IndexError, RuntimeError, TypeError, ValueError) as error:
        works, reason = False, ' '.join(str(error).split())
    weights = getattr(loss, 'class_weight', None)
    if works and weights is not None and len(weights) > 1:
        works, reason = False, 'class_weight would weigh columns of the mask'
    if not works and getattr(loss, 'loss_weight', 1) != 0:
        raise ConfigError(
            f'roi_head.mask_head.loss_mask is {type(loss).__name__}, which is no loss of masks ({reason}): take '
            "dict(type='CrossEntropyLoss', use_mask=True), without class_weight"
        )
