# Copyright (c) The mmpointrend authors.
"""Inputs, weights and limits that the cases of ``benchmark_rendering.py`` share."""

import math
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

import mmpointrend

PEER = 'peer'
LOSSLESS = 'lossless'
POINTREND = (LOSSLESS, 'adaptive', 'lossless-bf16', 'adaptive-bf16')
# Mask R-CNN's own mask head instead, and the side of its masks.
CONV = {'conv-28': 28, 'conv-56': 56}
VARIANTS = (*POINTREND, *CONV)
MODEL_CONFIGS = Path(mmpointrend.__file__).parent / '.mim' / 'configs' / '_base_' / 'models'


@dataclass
class Case:
    """Ours and the peer's of one kind of work.

    Attributes:
        name: Its id.
        build: Maps 'peer' or a variant to a function that runs it once; raises :class:`ConfigError` with the reason
            where it cannot be built.
        variants: Ours, in the order of the table.
        compare: Measures of agreement of an output of ours with the peer's; none of the heads of ``CONV``.
        floor: Given a dtype, makes what runs the GEMMs that cannot be avoided; None where that is not defined.
        peer_bytes: Estimate of the peer's peak memory in bytes, 0 where it is known to fit.
        build_for_memory: ``build`` without what all implementations have to hold alike, where there is such a thing.
    """

    name: str
    build: Callable[[str], Callable[[], Any]]
    variants: Sequence[str]
    compare: Callable[[Any, Any], dict[str, float]]
    floor: Callable[[torch.dtype], Callable[[], None]] | None = None
    peer_bytes: float = 0
    build_for_memory: Callable[[str], Callable[[], Any]] | None = None


def shrunk_image(image: tuple[int, int], by: int) -> tuple[int, int]:
    """Image sides divided by ``by``, still multiples of 32."""
    return (max(image[0] // by // 32, 2) * 32, max(image[1] // by // 32, 2) * 32)


def generator_of(name: str) -> torch.Generator:
    """Random numbers that depend on a name alone."""
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def smooth_features(shape: tuple[int, int, int, int], device: str) -> Tensor:
    """Features (B, C, H, W) that vary slowly, with a little noise."""
    generator = generator_of('features')
    size = (max(shape[2] // 8, 2), max(shape[3] // 8, 2))
    coarse = torch.randn(*shape[:2], *size, generator=generator)
    features = F.interpolate(coarse, size=shape[2:], mode='bilinear')
    return (features + 0.2 * torch.randn(shape, generator=generator)).to(device)


def to_peer(config: Any) -> Any:
    """A config without the prefix of our types: the peer's have the same names."""
    if isinstance(config, dict):
        return {key: to_peer(value) for key, value in config.items()}
    if isinstance(config, (list, tuple)):
        return [to_peer(value) for value in config]
    return config.removeprefix('mmpointrend.') if isinstance(config, str) else config


def precision(implementation: str, device: str) -> torch.autocast:
    """Autocast, on for the variants that ask for it."""
    enabled = implementation.endswith('bf16')
    return torch.autocast(torch.device(device).type, torch.bfloat16, enabled=enabled)


def predicted_points(coarse: Sequence[int], num_points: int, steps: int) -> int:
    """Points of one region that have to be predicted: not those of a step that the next one predicts anew.

    Args:
        coarse: Height and width of the coarse prediction.
        num_points: N.
        steps: Number of doublings.

    Returns:
        Their number over all steps.
    """
    pixels = [coarse[0] * coarse[1] * 4**step for step in range(1, steps + 1)]
    after = [*pixels[1:], math.inf]
    return sum(min(p, num_points) for p, n in zip(pixels, after, strict=True) if n > num_points)


def gemms(rows: Sequence[int], device: str, dtype: torch.dtype) -> Callable[[], None]:
    """Multiplications of that many rows by a 256x256 weight, one product of the list after the other.

    Chunks of 4096 rows stay in a CPU's cache; on a GPU each product is one call.
    """
    chunk = max(rows) if device.startswith('cuda') else min(4096, max(rows))
    weight = torch.randn(256, 256, device=device, dtype=dtype)
    data = torch.randn(chunk, 256, device=device, dtype=dtype)
    out = torch.empty_like(data)

    @torch.no_grad()
    def run() -> None:
        for count in rows:
            for start in range(0, count, chunk):
                size = min(chunk, count - start)
                torch.mm(data[:size], weight, out=out[:size])

    return run


def random_weights(module: nn.Module) -> None:
    """Weights that keep activations at their size, by order and shape: the packages' names differ.

    Biases too: those of a plain convolution are random when it is built. Weights of norms stay 1.
    """
    with torch.no_grad():
        for index, parameter in enumerate(module.parameters()):
            noise = torch.randn(parameter.shape, generator=generator_of(str(index)))
            if parameter.ndim > 1:
                parameter.copy_(noise * (2 / parameter[0].numel()) ** 0.5)
        for name, parameter in module.named_parameters():
            if name.endswith('bias'):
                parameter.zero_()


def leaf(level: Tensor) -> Tensor:
    """A copy that collects gradients."""
    return level.clone().requires_grad_()


def drop_gradients(inputs: Sequence[Tensor], module: nn.Module) -> None:
    """Let go of each gradient of inputs and parameters when it is complete: all implementations hold the same ones."""

    def drop(tensor: Tensor) -> None:
        tensor.grad = None

    for tensor in (*inputs, *module.parameters()):
        tensor.register_post_accumulate_grad_hook(drop)


def gradients(losses: dict, inputs: Sequence[Tensor], module: nn.Module) -> dict[str, Any]:
    """Backward of the sum of the losses; what :func:`compare_training` looks at."""
    values = {name: value for name, value in losses.items() if 'loss' in name}
    for tensor in (*inputs, *module.parameters()):
        tensor.grad = None
    total = torch.stack(list(values.values())).sum()
    total.backward()
    return {'loss': total.detach(), 'gradient': inputs[0].grad}


def compare_training(ours: dict[str, Tensor], peer: dict[str, Tensor]) -> dict[str, float]:
    """Relative differences of the loss and of the gradient of the finest features."""
    return {
        f'relative_{key}': float((ours[key] - peer[key]).norm() / peer[key].norm())
        for key in ('loss', 'gradient')
    }
