# Copyright (c) The mmpointrend authors.
"""What our own config keys may be: rules, stated once beside each head, and one sentence for each key that breaks one.

A :class:`Rule` says what a value has to be. :func:`configured` holds a constructor's arguments against rules,
:func:`check` the keys of a ``train_cfg`` or ``test_cfg``, and :func:`naming` turns what a part of another package
refuses into a sentence that names the part.
"""

import difflib
import functools
import inspect
import math
import numbers
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

import numpy as np
import torch
from mmengine.model import initialize
from torch import nn

from mmpointrend.errors import ConfigError, PointRendError

__all__ = [
    'ANYTHING',
    'DICT',
    'INIT',
    'MAX_POINTS',
    'MAX_SIDE',
    'MOST_LAYERS',
    'PART',
    'TRUTH',
    'Rule',
    'check',
    'check_size',
    'configured',
    'listed',
    'naming',
    'number',
    'one_or_more',
    'optional',
    'shown',
    'whole',
]

# What is beyond these takes more memory than there is, whatever the rest of the config says: the points of one region
# in training (their features in 256 channels take 4 GiB), the side of a rendered map (its logits take 64 MiB a class),
# the parameters of a head (8 GiB).
MAX_POINTS = 1 << 22
MAX_SIDE = 1 << 12
_MAX_PARAMETERS = 1 << 31
MOST_LAYERS = 1000
# A value is shown up to here.
_SHOWN = 120

_Init = TypeVar('_Init', bound=Callable[..., None])


@dataclass(frozen=True)
class Rule:
    """What a value has to be.

    Attributes:
        wanted: In words, after 'set it to'.
        accepts: Whether a value is right.
        required: Whether :func:`check` refuses a config without it.
        is_part: Whether it is the config of a part, so that a dict can only lack its ``type``.
    """

    wanted: str
    accepts: Callable[[Any], bool]
    required: bool = False
    is_part: bool = False

    def needed(self) -> 'Rule':
        """The same rule, of a key that may not be missing."""
        return replace(self, required=True)


def _is_whole(value: Any) -> bool:
    return isinstance(value, numbers.Integral) and not isinstance(value, bool)


def _is_number(value: Any) -> bool:
    real = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return real and not math.isnan(value)


def _is_list(value: Any) -> bool:
    return isinstance(value, list | tuple)


def _is_type(value: Any) -> bool:
    return value != '' and (isinstance(value, str) or callable(value))


def whole(least: int, most: int | None = None) -> Rule:
    """Integers of a range.

    Args:
        least: The smallest.
        most: The largest; any where it is None.

    Returns:
        The rule.
    """
    wanted = (
        f'an integer of at least {least}' if most is None else f'an integer from {least} to {most}'
    )
    return Rule(
        wanted,
        lambda value: _is_whole(value) and least <= value and (most is None or value <= most),
    )


def number(least: float = -math.inf, most: float = math.inf) -> Rule:
    """Finite numbers of a range.

    Args:
        least: The smallest.
        most: The largest.

    Returns:
        The rule.
    """
    wanted = 'a number'
    if least > -math.inf:
        wanted += f' of at least {least:g}' if most == math.inf else f' from {least:g} to {most:g}'
    elif most < math.inf:
        wanted += f' of at most {most:g}'
    return Rule(
        wanted,
        lambda value: _is_number(value) and math.isfinite(value) and least <= value <= most,
    )


def optional(rule: Rule, advised: bool = True) -> Rule:
    """None, or what another rule accepts.

    Args:
        rule: The other rule.
        advised: Whether the message says that the key may be left out.

    Returns:
        The rule.
    """
    wanted = f'{rule.wanted}, or leave it out' if advised else rule.wanted
    return replace(rule, wanted=wanted, accepts=lambda value: value is None or rule.accepts(value))


def listed(rule: Rule, length: int | None = None) -> Rule:
    """A list of values that another rule accepts.

    Args:
        rule: The other rule.
        length: Number of values; any but 0 where it is None.

    Returns:
        The rule.
    """

    def accepts(value: Any) -> bool:
        return (
            _is_list(value)
            and (len(value) > 0 if length is None else len(value) == length)
            and all(map(rule.accepts, value))
        )

    return Rule(f'a list of {length or ""} values, each {rule.wanted}'.replace('  ', ' '), accepts)


def one_or_more(rule: Rule, length: int | None = None) -> Rule:
    """A value that another rule accepts, or a list of such values.

    Args:
        rule: The other rule.
        length: Number of values in a list; any but 0 where it is None.

    Returns:
        The rule.
    """
    several = listed(rule, length)
    return Rule(
        f'{rule.wanted}, or to a list of {length or ""} such'.replace('  ', ' '),
        lambda value: rule.accepts(value) or several.accepts(value),
    )


def _is_init(value: Any) -> bool:
    configs = value if _is_list(value) else [value]
    # An empty one leaves PyTorch's initialisation as it is.
    return value == {} or all(
        isinstance(config, Mapping) and _is_type(config.get('type')) for config in configs
    )


ANYTHING = Rule('anything', lambda value: True)
# 0 and 1 have always passed for truth values.
TRUTH = Rule(
    'True or False',
    lambda value: isinstance(value, bool | np.bool_) or (_is_whole(value) and value in (0, 1)),
)
PART = Rule(
    'a dict(type=...)',
    lambda value: isinstance(value, Mapping) and _is_type(value.get('type')),
    is_part=True,
)
DICT = Rule('a dict', lambda value: isinstance(value, Mapping))
INIT = optional(Rule("mmengine's dict(type=...), or a list of such", _is_init))


def shown(value: Any) -> str:
    """A value for a message, cut off where it is long.

    Args:
        value: The value.

    Returns:
        Its text.
    """
    text = repr(value)
    return text if len(text) <= _SHOWN else f'{text[:_SHOWN]}...'


def check(cfg: Any, where: str, rules: Mapping[str, Rule]) -> None:
    """Hold a config's keys against rules; keys without a rule are left alone.

    Args:
        cfg: The config.
        where: Its name for messages, such as 'train_cfg.rcnn'.
        rules: The rule of each key.

    Raises:
        ConfigError: The config is not a dict, lacks a key that is required, or a value breaks its rule.
    """
    if not isinstance(cfg, Mapping):
        hint = (
            f'a list of {len(cfg)}, as for a cascade of heads, and this head has one stage'
            if _is_list(cfg)
            else shown(cfg)
        )
        raise ConfigError(f'{where} is {hint}: set it to one dict')
    for key, rule in rules.items():
        value = cfg.get(key)
        if (key in cfg or rule.required) and not rule.accepts(value):
            if rule.is_part and isinstance(value, Mapping):
                raise ConfigError(
                    f'{where}.{key}.type is {shown(value.get("type"))}: set it to the name of a registered class'
                )
            similar = '' if key in cfg else _similar(key, cfg)
            raise ConfigError(f'{where}.{key} is {shown(value)}{similar}: set it to {rule.wanted}')


def _similar(key: str, given: Any) -> str:
    """The key that was probably meant by another one, in parentheses."""
    close = difflib.get_close_matches(key, [str(name) for name in given], n=1, cutoff=0.8)
    return f' (there is {close[0]})' if close else ''


def configured(
    where: str, unknown: Mapping[str, str] | None = None, /, **rules: Rule
) -> Callable[[_Init], _Init]:
    """Hold the arguments of a constructor against rules before it runs.

    An argument that the constructor does not name and that has no rule is unknown, also where the constructor hands
    ``**kwargs`` on.

    Args:
        where: The part's name in a config, such as 'roi_head.point_head'.
        unknown: What to say of keys that are likely to be tried, instead of the known ones.
        **rules: The rule of each argument. A required one is one that the constructor of a parent needs.

    Returns:
        The decorator of an ``__init__``.
    """

    def decorate(init: _Init) -> _Init:
        signature = inspect.signature(init)
        named = {
            name: parameter
            for name, parameter in list(signature.parameters.items())[1:]
            if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)
        }
        needed = [name for name, parameter in named.items() if parameter.default is parameter.empty]
        positional = [
            name for name, parameter in named.items() if parameter.kind != parameter.KEYWORD_ONLY
        ]
        known = list(dict.fromkeys([*named, *rules]))

        @functools.wraps(init)
        def checked(self: Any, *args: Any, **kwargs: Any) -> None:
            given = {**dict(zip(positional, args, strict=False)), **kwargs}
            for key in given:
                if key not in known:
                    kind = type(self).__name__
                    raise ConfigError(
                        f'{where}.{key}: {_of_unknown(key, kind, known, unknown or {})}'
                    )
            for key in needed:
                if key not in given:
                    wanted = rules.get(key, ANYTHING).wanted
                    raise ConfigError(
                        f'{where}.{key} is missing{_similar(key, given)}: set it to {wanted}'
                    )
            check(given, where, rules)
            init(self, *args, **kwargs)
            # A subclass may still add the modules that its initialisation names.
            if type(self).__init__ is checked and given.get('init_cfg') is not None:
                _try_init(self, f'{where}.init_cfg', given['init_cfg'])

        return checked  # type: ignore[return-value]

    return decorate


def _try_init(module: nn.Module, where: str, init_cfg: Any) -> None:
    """Refuse an initialisation that would fail once the model is built."""
    for config in init_cfg if _is_list(init_cfg) else filter(None, [init_cfg]):
        if 'Pretrained' in str(config['type']):
            continue
        rest = {key: value for key, value in config.items() if key != 'override'}
        # On layers of their own, and without random numbers of the run's.
        with naming(where, ' does not work'), torch.random.fork_rng(devices=[]):
            layers = nn.Sequential(nn.Linear(1, 1), nn.Conv1d(1, 1, 1), nn.Conv2d(1, 1, 1))
            initialize(layers, rest)
            overrides = config.get('override') or []
            several: Any = overrides if _is_list(overrides) else [overrides]
            for override in several:
                name = override.get('name')
                if not isinstance(name, str) or not hasattr(module, name):
                    raise ValueError(f'{type(module).__name__} has no {name} for its override')
                if len(override) > 1 and 'type' not in override:
                    raise ValueError(f'the override of {name} has no type')


def _of_unknown(key: str, kind: str, known: list[str], unknown: Mapping[str, str]) -> str:
    if key in unknown:
        return unknown[key]
    close = difflib.get_close_matches(key, known, n=3)
    choice = f'did you mean {" or ".join(close)}' if close else f'it knows {", ".join(known)}'
    return f'{kind} has no such key; {choice}?' if close else f'{kind} has no such key, {choice}'


@contextmanager
def naming(where: str, what: str = ' cannot be built') -> Iterator[None]:
    """Turn the refusal of a part by another package into one that names the part.

    Args:
        where: The part's name in a config.
        what: What is wrong, after the name.

    Raises:
        ConfigError: The part cannot be built.
    """
    try:
        yield
    except PointRendError:
        raise
    except (
        AssertionError,
        AttributeError,
        IndexError,
        KeyError,
        NotImplementedError,
        OverflowError,
        RuntimeError,
        TypeError,
        ValueError,
        ZeroDivisionError,
    ) as error:
        raise ConfigError(f'{where}{what}: {_reason(error)}') from error


def _reason(error: Exception) -> str:
    """What an error says, in one line and without mmengine's general advice."""
    said = error.args[0] if isinstance(error, KeyError) and error.args else error
    text = ' '.join(str(said).split()).split('. Please check whether')[0]
    if isinstance(error, KeyError) and ' ' not in text:
        return f'its key {text} is missing'
    return text or type(error).__name__


def check_size(where: str, parameters: int, keys: str) -> None:
    """Refuse a head before it takes memory that no machine has.

    Args:
        where: The head's name in a config.
        parameters: Number of its parameters.
        keys: What makes it large, for the message.

    Raises:
        ConfigError: It has too many parameters.
    """
    if parameters > _MAX_PARAMETERS:
        raise ConfigError(
            f'{where} would have {parameters:,} parameters, {parameters * 4 / 2**30:,.0f} GiB of them: make {keys} '
            'smaller'
        )
