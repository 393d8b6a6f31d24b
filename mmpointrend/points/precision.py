# Copyright (c) The mmpointrend authors.
"""Which precision what is computed in."""

import functools
import time
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import Tensor

from mmpointrend.points.fast import limits

__all__ = [
    'asked_dtype',
    'for_sums',
    'is_native',
    'rendering_dtype',
    'without_autocast',
    'without_slow_autocast',
]


def without_autocast(device: torch.device) -> AbstractContextManager:
    """Context in which positions and weights of interpolation keep their precision.

    Args:
        device: Where they are.

    Returns:
        The context; it does nothing on devices that have no autocast.
    """
    if not torch.amp.is_autocast_available(device.type):
        return nullcontext()
    return torch.autocast(device.type, enabled=False)


def without_slow_autocast(device: torch.device) -> AbstractContextManager:
    """Context in which autocast is off if the device has no instructions for its dtype, see :func:`rendering_dtype`.

    Args:
        device: Where the layers are.

    Returns:
        The context; it does nothing if autocast is off, or if its dtype is native.
    """
    asked = asked_dtype(torch.float32, device)
    return without_autocast(device) if rendering_dtype(asked, device) != asked else nullcontext()


def asked_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype that a layer of features would compute in.

    Args:
        dtype: The features' own.
        device: Where they are.

    Returns:
        Autocast's dtype if it is on, else ``dtype``.
    """
    # Shapes alone (the `meta` device) have no autocast.
    if torch.amp.is_autocast_available(device.type) and torch.is_autocast_enabled(device.type):
        return torch.get_autocast_dtype(device.type)
    return dtype


def rendering_dtype(dtype: torch.dtype, device: torch.device) -> torch.dtype:
    """The dtype that rendering computes in: single precision instead of a half precision that is slower.

    A processor without instructions for half precision takes many times as long as in single precision. The first
    time that this decides, it says so in a warning.

    Args:
        dtype: The dtype asked for, see :func:`asked_dtype`.
        device: Where it is computed.

    Returns:
        ``dtype``, or float32.
    """
    if dtype.itemsize >= 4 or is_native(dtype, device.type):
        return dtype
    _say_once(dtype, device.type)
    return torch.float32


@torch.compiler.assume_constant_result
def is_native(dtype: torch.dtype, device_type: str) -> bool:
    """Whether a kind of device has instructions for products in half precision.

    Args:
        dtype: bfloat16 or float16.
        device_type: Such as 'cpu' or 'cuda'.

    Returns:
        False for a CPU whose instruction set has none (AVX-512 alone has none for bfloat16), or that was measured to
        take several times as long as in single precision, and for a GPU that only imitates bfloat16. Other kinds of
        devices are taken at their word.
    """
    if device_type == 'cuda' and dtype == torch.bfloat16:
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return device_type != 'cpu' or (_has_instructions(dtype) and _is_quick(dtype))


def _has_instructions(dtype: torch.dtype) -> bool:
    """Whether a CPU's instruction set has products of the dtype, by its flags."""
    if dtype == torch.float16:
        return bool(torch.ops.mkldnn._is_mkldnn_fp16_supported())
    # On x86 this one only asks for AVX-512.
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():
        return False
    flags: list[Callable[[], bool]] = [
        getattr(torch.cpu, name)
        for name in ('_is_avx512_bf16_supported', '_is_amx_tile_supported')
        if hasattr(torch.cpu, name)
    ]
    is_x86 = torch.backends.cpu.get_cpu_capability().startswith('AVX')
    return not is_x86 or not flags or any(flag() for flag in flags)


@functools.cache
def _is_quick(dtype: torch.dtype) -> bool:
    """Whether products of the dtype are measured to take about as long as in single precision, or less.

    Flags tell what the processor has, not whether a library makes use of it (``ONEDNN_MAX_CPU_ISA``, builds without).
    """
    with without_autocast(torch.device('cpu')), torch.inference_mode():
        return _seconds(dtype) <= limits.SLOW_HALF * _seconds(torch.float32)


def _seconds(dtype: torch.dtype) -> float:
    """Least of a few times of a small product of matrices."""
    matrix = torch.ones(limits.PROBE_SIDE, limits.PROBE_SIDE, dtype=dtype)
    times = []
    for _ in range(limits.PROBE_TIMES):
        start = time.perf_counter()
        torch.mm(matrix, matrix)
        times.append(time.perf_counter() - start)
    return min(times)


@torch.compiler.assume_constant_result
def _say_once(dtype: torch.dtype, device_type: str) -> None:
    """Warn of another precision than was asked for, the first time in a process."""
    _said(dtype, device_type)


@functools.cache
def _said(dtype: torch.dtype, device_type: str) -> None:
    name = str(dtype).removeprefix('torch.')
    warnings.warn(
        f'{name} was asked for, by autocast or by the dtype of features, but the {device_type} device has no '
        'instructions for it and would take many times as long: masks are rendered in float32. Leave autocast off, or '
        'call .float() on the model, and this warning goes away.',
        stacklevel=2,
    )


def for_sums(values: Tensor) -> Tensor:
    """Values in single precision where gradients are wanted.

    Many points add up in one cell's gradient: in half precision small ones would be lost to the sum.

    Args:
        values: Floating point, any shape.

    Returns:
        The values, or a copy of them.
    """
    return values.float() if values.requires_grad and values.dtype.itemsize < 4 else values
