# Copyright (c) The mmpointrend authors.
"""Files of safetensors (https://github.com/huggingface/safetensors): tensors and nothing else.

The format is a header in JSON (names, types, shapes, offsets) and the bytes. It has no place for a
checkpoint's ``meta``; what of that is plain data is kept as JSON in the header's texts.
"""

import json
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmpointrend.checkpoints.faults import DamageError, ForeignError
from mmpointrend.errors import CheckpointError

__all__ = ['is_safetensors', 'read_safetensors', 'write_safetensors']

# 0.1 MB of header describe a thousand tensors.
_LONGEST_HEADER = 32 * 2**20
_META = 'meta'
_MISSING = 'safetensors files need a package that is not installed: pip install safetensors'


def is_safetensors(head: bytes, size: int) -> bool:
    """Tell a file of safetensors by its content.

    Args:
        head: The first bytes of the file, nine at least.
        size: Its length in bytes.

    Returns:
        Whether it starts with the length of a header, and a header.
    """
    return head[8:9] == b'{' and 2 <= int.from_bytes(head[:8], 'little') <= size - 8


def read_safetensors(path: Path, map_location: Any = None) -> dict[str, Any]:
    """Read a file of safetensors.

    Args:
        path: The file.
        map_location: As in ``torch.load``; the format knows no devices, so all tensors come from the
            CPU.

    Returns:
        The tensors in ``state_dict``; in ``meta`` what :func:`write_safetensors` kept of it.

    Raises:
        DamageError: The header contradicts itself or the file's length.
        ForeignError: The package safetensors is missing.
    """
    try:
        from safetensors import safe_open
    except ImportError as error:
        raise ForeignError(f'cannot be read, for {_MISSING}') from error
    meta = _check_header(path)
    with safe_open(path, framework='pt', device='cpu') as file:
        # The package maps the file into memory; a copy stays whole when the file is written anew.
        tensors = {name: file.get_tensor(name).clone() for name in file.keys()}  # noqa: SIM118
    placed = {name: _placed(tensor, map_location) for name, tensor in tensors.items()}
    return dict(meta=meta, state_dict=placed)


def _placed(tensor: torch.Tensor, map_location: Any) -> torch.Tensor:
    if isinstance(map_location, Mapping):
        map_location = map_location.get('cpu')
    if callable(map_location):
        storage = map_location(tensor.untyped_storage(), 'cpu')
        map_location = None if storage is None else storage.device
    return tensor if map_location is None else tensor.to(map_location)


def _check_header(path: Path) -> dict[str, Any]:
    """The kept ``meta`` of a file; refuse names that occur twice, of which the package takes one."""
    with path.open('rb') as file:
        length = int.from_bytes(file.read(8), 'little')
        if length > min(_LONGEST_HEADER, path.stat().st_size - 8):
            raise DamageError(f'it announces a header of {length:,} bytes')
        header = json.loads(file.read(length), object_pairs_hook=_without_twins)
    texts = header.get('__metadata__', {}) if isinstance(header, dict) else {}
    kept = texts.get(_META) if isinstance(texts, dict) else None
    try:
        meta = json.loads(kept) if isinstance(kept, str) else {}
    except ValueError:
        # Another program's text of the same name.
        return {}
    return meta if isinstance(meta, dict) else {}


def _without_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    entries = dict(pairs)
    if len(entries) < len(pairs):
        counts = Counter(name for name, _ in pairs)
        raise DamageError(f'its header has {max(counts, key=counts.__getitem__)!r:.100} twice')
    return entries


def write_safetensors(
    path: Path, state_dict: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
) -> None:
    """Write a model's tensors to a file of safetensors.

    Args:
        path: The file, which is replaced if it exists.
        state_dict: The tensors, of any device and layout in memory.
        meta: A checkpoint's ``meta``; what is not plain data in it (texts, numbers, lists and dicts of
            them) is left out.

    Raises:
        CheckpointError: The package safetensors is missing, or an entry is not a tensor.
    """
    try:
        from safetensors.torch import save_file
    except ImportError as error:
        raise CheckpointError(f'{_MISSING}.') from error
    tensors = {}
    for name, tensor in state_dict.items():
        if not isinstance(tensor, torch.Tensor):
            raise CheckpointError(
                f'{name} is a {type(tensor).__name__}, and safetensors holds tensors alone; write a '
                '.pth file.'
            )
        # Copies, for the format has no tensors that share their bytes.
        tensors[name] = tensor.detach().cpu().contiguous().clone()
    kept = {key: value for key, value in meta.items() if _is_plain(value)}
    save_file(tensors, path, metadata={'format': 'pt', _META: json.dumps(kept)})


def _is_plain(value: Any) -> bool:
    try:
        json.dumps(value)
    except (TypeError, ValueError, RecursionError):
        return False
    return True
