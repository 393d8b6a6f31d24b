# Copyright (c) The mmpointrend authors.
"""Settings of a whole model that its parts do not see when they are built: ``train_cfg``, ``test_cfg``, feature levels,
lists of heads.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, cast

import torch
from mmengine.model import is_model_wrapper
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mmpointrend.errors import ConfigError, PointRendError
from mmpointrend.rules import Rule, check, listed, shown, whole

__all__ = [
    'check_model',
    'check_model_config',
    'check_test_settings',
    'check_train_settings',
    'share_test_cfg',
    'single_pixel_norms',
]

# Side of the image that is tried: every stride divides it, and maps of the coarsest have more than one pixel.
_SIDE = 128

_PAIR = listed(whole(1), 2)
_MODE = Rule(
    "'whole' or 'slide'", lambda value: isinstance(value, str) and value in ('whole', 'slide')
)


def check_model_config(cfg: Mapping) -> None:
    """Refuse what is about the model as a whole, before another package's constructor fails on it.

    Args:
        cfg: The model's config; one without a head of ours passes.

    Raises:
        ConfigError: The message names the key.
    """
    # Test-time augmentation wraps the model.
    if isinstance(cfg.get('module'), Mapping):
        cfg = cfg['module']
    heads = cfg.get('decode_head')
    if isinstance(heads, list | tuple) and any(_is_ours(head) for head in heads):
        raise ConfigError(
            f'model.decode_head is a list of {len(heads)}, as in the CascadeEncoderDecoder of mmseg: set it to one '
            "dict(type='mmpointrend.PointRendHead', coarse_head=dict(...), point_head=dict(...)) and model.type to "
            "'EncoderDecoder', without num_stages"
        )
    if not _is_ours(cfg.get('roi_head')):
        return
    needed = ['rcnn'] if cfg.get('rpn_head') is None else ['rpn', 'rcnn']
    for name in ('train_cfg', 'test_cfg'):
        settings = cfg.get(name)
        # A model that is only tested needs no train_cfg; mmdet asks for a test_cfg always.
        if settings is None and name == 'train_cfg':
            continue
        if not isinstance(settings, Mapping) or any(key not in settings for key in needed):
            raise ConfigError(
                f'model.{name} is {shown(settings)}: set it to a dict with {" and ".join(needed)}'
            )
        staged = name == 'train_cfg' and cfg['roi_head'].get('num_stages') is not None
        # The head of a cascade looks at the settings of each stage.
        if settings['rcnn'] is not None and not staged:
            check(settings['rcnn'], f'{name}.rcnn', {})


def _is_ours(head: Any) -> bool:
    """Whether a config names a head of this package."""
    kind = head.get('type') if isinstance(head, Mapping) else None
    if isinstance(kind, str):
        return kind.startswith('mmpointrend.')
    return getattr(kind, '__module__', '').startswith('mmpointrend.')


def check_model(model: nn.Module) -> None:
    """Refuse a model of ours whose parts do not fit each other, or whose ``test_cfg`` fails when it is first used.

    The feature levels are those of a black image of 128x128, of which nothing is kept.

    Args:
        model: The model as it was built.

    Raises:
        ConfigError: The message names the key.
    """
    model = _unwrapped(model)
    head = _head_of(model)
    if head is None:
        return
    if getattr(model, 'test_cfg', None) is not None:
        check_test_settings(model)
    levels = _feature_levels(model)
    if levels is None:
        return
    if hasattr(model, 'roi_head'):
        head.check_features(levels, (_SIDE, _SIDE))
    else:
        head.check_features(levels)


def share_test_cfg(model: nn.Module) -> None:
    """Let a semantic model of ours render in ``mode='tensor'`` as it does in ``predict``.

    Args:
        model: The model as it was built.
    """
    model = _unwrapped(model)
    head = _head_of(model)
    if hasattr(head, 'share_test_cfg'):
        head.share_test_cfg(getattr(model, 'test_cfg', None))


def _head_of(model: nn.Module) -> Any:
    """The head of ours that a model has, or None."""
    for name in ('roi_head', 'decode_head'):
        head = getattr(model, name, None)
        if hasattr(head, 'check_features'):
            return head
    return None


def _unwrapped(model: nn.Module) -> nn.Module:
    """The model itself, below wrappers for distributed training and test-time augmentation."""
    while is_model_wrapper(model) or not (
        hasattr(model, 'roi_head') or hasattr(model, 'decode_head')
    ):
        inner = getattr(model, 'module', None)
        if not isinstance(inner, nn.Module):
            break
        model = inner
    return model


def check_train_settings(model: nn.Module) -> None:
    """Refuse a ``train_cfg`` that the first step would fail on.

    Args:
        model: The model, wrapped or not; one without a head of ours passes.

    Raises:
        ConfigError: A key is missing or out of range.
    """
    model = _unwrapped(model)
    head = _head_of(model)
    if head is None:
        return
    if hasattr(head, 'check_train_cfg'):
        head.check_train_cfg(getattr(model, 'train_cfg', None))
    elif head.train_cfg is None:
        raise ConfigError('model.train_cfg.rcnn is None: set it to a dict to train the model')


def check_test_settings(model: nn.Module) -> None:
    """Refuse a ``test_cfg`` that the first prediction would fail on.

    Args:
        model: The model, wrapped or not; one without a head of ours passes.

    Raises:
        ConfigError: A key is missing or out of range.
    """
    model = _unwrapped(model)
    head = _head_of(model)
    test_cfg: Any = getattr(model, 'test_cfg', None)
    if not hasattr(head, 'check_test_cfg'):
        if head is not None and head.test_cfg is None:
            raise ConfigError('model.test_cfg.rcnn is None: set it to a dict to test the model')
        return
    rules = {'mode': _MODE.needed()}
    if isinstance(test_cfg, Mapping) and test_cfg.get('mode') == 'slide':
        rules.update(crop_size=_PAIR.needed(), stride=_PAIR.needed())
    check(test_cfg, 'model.test_cfg', rules)
    head.check_test_cfg(test_cfg)
    if 'stride' in rules and any(
        step > side for step, side in zip(test_cfg['stride'], test_cfg['crop_size'], strict=True)
    ):
        raise ConfigError(
            f'model.test_cfg.stride is {test_cfg["stride"]}, more than crop_size {test_cfg["crop_size"]}: pixels '
            'between the windows would have no prediction, so set it to crop_size at most'
        )


@contextmanager
def _trying(model: nn.Module) -> Iterator[None]:
    """Evaluation without gradients, after which the model is what it was."""
    flags = [(module, module.training) for module in model.modules()]
    try:
        for module, _ in flags:
            module.training = False
        with torch.no_grad():
            yield
    finally:
        for module, training in flags:
            module.training = training


def _image(model: nn.Module) -> Tensor:
    parameter = next(model.parameters())
    mean = getattr(getattr(model, 'data_preprocessor', None), 'mean', None)
    channels = 3 if mean is None else len(mean)
    return torch.zeros(1, channels, _SIDE, _SIDE, device=parameter.device)


def _feature_levels(model: nn.Module) -> Any:
    """What the heads get of an image; None where the model takes no such image."""
    try:
        with _trying(model):
            return cast(Any, model).extract_feat(_image(model))
    except PointRendError:
        raise
    except Exception:
        # A backbone may need images of its own size or a GPU. What is really wrong with it says so in training.
        return None


def single_pixel_norms(model: nn.Module, synchronised: bool = False) -> list[str]:
    """Batch normalisations of a semantic model that see one value a channel of one image, and so fail in training.

    Args:
        model: The model, wrapped or not; any but mmseg's encoder-decoders has none.
        synchronised: Whether `SyncBatchNorm` sees the images of several processes.

    Returns:
        Their names.
    """
    model = _unwrapped(model)
    head = getattr(model, 'decode_head', None)
    found: list[str] = []
    if head is None:
        return found

    def hook(name: str) -> Any:
        def look(module: nn.Module, inputs: Sequence[Tensor]) -> None:
            if inputs[0].numel() == inputs[0].shape[1]:
                found.append(name)

        return look

    training = model.training
    # Some keep theirs in evaluation.
    model.train()
    norms = {
        name: module
        for name, module in model.named_modules()
        if isinstance(module, _BatchNorm)
        and module.training
        and not (synchronised and isinstance(module, nn.SyncBatchNorm))
    }
    model.train(training)
    handles = [module.register_forward_pre_hook(hook(name)) for name, module in norms.items()]
    try:
        # Here, for it needs mmdet and mmseg, which are there when there is a model.
        from mmpointrend.models.taps import original

        levels = _feature_levels(model)
        with _trying(model):
            if levels is not None:
                getattr(head, 'coarse_head', head)(original(levels))
    except PointRendError:
        raise
    except Exception:
        # As above: what is wrong with it says so in training.
        return found
    finally:
        for handle in handles:
            handle.remove()
    return found
