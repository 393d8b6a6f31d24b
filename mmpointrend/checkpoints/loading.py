# Copyright (c) The mmpointrend authors.
"""The one way in which a checkpoint is read, wherever it comes from.

A file is told by its content, compared with itself (:mod:`~mmpointrend.checkpoints.torch_files`), and
then read by torch with ``weights_only=True``, which refuses every function that is not on its list.
mmengine 0.10.7 pickles its log history (``HistoryBuffer`` objects, which drag numpy arrays along) into
each checkpoint, so that it cannot read back what it wrote. :func:`allow_mmengine_checkpoints` lists
exactly these types; safe loading itself stays on.
"""

import logging
import os
import pickle
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import print_log

from mmpointrend.checkpoints.array_pickle import ARRAY_PARTS, first_unknown
from mmpointrend.checkpoints.faults import DamageError, DangerError, ForeignError, naming_the_file
from mmpointrend.checkpoints.kinds import HEAD, check_regular, describe
from mmpointrend.checkpoints.safetensors_files import is_safetensors, read_safetensors
from mmpointrend.checkpoints.torch_files import (
    ZIP_START,
    check_archive,
    check_legacy,
    is_legacy,
)
from mmpointrend.errors import printable
from mmpointrend.plain_configs import complaint_about_text

__all__ = ['allow_mmengine_checkpoints', 'check_integrity', 'load_from_local', 'read_checkpoint']

_LONGEST_NAME = 1000
_STATISTICS = ('min', 'max', 'current', 'mean')


def _history_statistic(owner: type, name: str) -> Callable[..., Any]:
    """The one use of ``getattr`` in mmengine's checkpoints: the four statistics of
    ``HistoryBuffer``.

    The builtin would let a crafted file reach ``__globals__`` of a function and overwrite them.
    """
    from mmengine.logging import HistoryBuffer

    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(HistoryBuffer, name)


def allow_mmengine_checkpoints() -> None:
    """Put the types of mmengine's own checkpoints on the list of torch's safe loading.

    Runs when ``mmpointrend`` is imported; calling it again changes nothing. numpy's parts are those of
    :mod:`mmpointrend.checkpoints.array_pickle`.
    """
    from mmengine.logging import HistoryBuffer

    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_statistic, 'builtins.getattr'),
            *((part, f'{module}.{name}') for (module, name), part in ARRAY_PARTS.items()),
        ]
    )


def check_integrity(filename: str | os.PathLike) -> None:
    """Find out whether a local checkpoint can be loaded.

    Its bytes are compared with the sums stored in it, which torch itself does not: a flipped bit in a
    tensor would go unseen.

    Args:
        filename: Path of the checkpoint, ``~`` allowed.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or not a checkpoint at all.
    """
    read_checkpoint(filename, 'cpu', str(filename))


def load_from_local(
    filename: str | os.PathLike, map_location: str | torch.device | None = None
) -> dict[str, Any]:
    """mmengine's loader of local files (runner, ``init_cfg``, inferencers), with checks and errors
    that speak.

    Args:
        filename: Path of the checkpoint, ``~`` allowed.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or not a checkpoint at all.
    """
    return read_checkpoint(filename, map_location, str(filename))


def read_checkpoint(filename: str | os.PathLike, map_location: Any, name: str) -> dict[str, Any]:
    """Read a checkpoint from a file.

    Args:
        filename: Path of the file, ``~`` allowed.
        map_location: As in ``torch.load``.
        name: Where the user says that the checkpoint is: this path, or the address that it came from.

    Returns:
        The checkpoint; one of safetensors as dict of ``state_dict`` and ``meta``.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or not a checkpoint at all.
    """
    with naming_the_file(name):
        scheme = re.match(r'[A-Za-z][\w+.-]+://', str(filename))
        if scheme:
            raise ForeignError(
                f'has an address that starts with {scheme[0]}, which nobody here can fetch; download '
                'it and give the path of the file'
            )
        path = Path(filename).expanduser()
        checkpoint = _read(path, check_regular(path), map_location)
        _check_content(checkpoint)
    _leave_out_programs(checkpoint, name)
    return checkpoint


def _read(path: Path, size: int, map_location: Any) -> Any:
    with path.open('rb') as file:
        head = file.read(HEAD)
    if is_safetensors(head, size):
        return read_safetensors(path, map_location)
    if head.startswith(ZIP_START):
        check_archive(path)
    elif is_legacy(head):
        check_legacy(path)
    else:
        raise _not_a_checkpoint(path, head)
    # A file object, for torch takes a path for one of safetensors by its name.
    with path.open('rb') as file, torch.sparse.check_sparse_tensor_invariants():
        return torch.load(file, map_location=map_location, weights_only=True)


def _not_a_checkpoint(path: Path, head: bytes) -> Exception:
    kind = describe(head)
    if kind is not None:
        return ForeignError(kind)
    if path.suffix == '.safetensors':
        return DamageError('it does not start with a header of safetensors')
    if head[:1] == b'\x80' and head[1:2] in b'\x02\x03\x04\x05' and head[1:2]:
        return _of_pickle(path)
    return DamageError('it does not start as a checkpoint does')


def _of_pickle(path: Path) -> Exception:
    """A pickle that torch did not write: objects, or data of another program."""
    unknown = first_unknown(path)
    if unknown is not None:
        return DangerError(f'GLOBAL {unknown}')
    return ForeignError(
        "is a pickle, not a checkpoint of torch's; a model of detectron2 is converted by "
        'tools/model_converters/detectron2_to_mmpointrend.py'
    )


def _check_content(checkpoint: Any) -> None:
    """Refuse what a runner or inferencer fails on by an error that names no file."""
    if not isinstance(checkpoint, dict):
        raise ForeignError(
            f'holds a {type(checkpoint).__name__} and no state dict; give a checkpoint of a model'
        )
    weights = checkpoint.get('state_dict', checkpoint)
    if not isinstance(weights, dict):
        raise ForeignError(
            f"holds a {type(weights).__name__} as 'state_dict' instead of a dict; give a checkpoint of "
            'a model'
        )
    if not isinstance(checkpoint.get('meta') or {}, dict):
        raise DamageError('its meta and message_hub have to be dicts')
    for key, value in weights.items():
        if not isinstance(key, str):
            raise ForeignError(
                f'has a tensor named {key!r:.100}, which is not a string; give a checkpoint of a model'
            )
        # Names are printed: no commands to a terminal, and nothing that a log cannot hold.
        if not key.isprintable() or len(key) > _LONGEST_NAME:
            raise DamageError(f'a tensor has the name {key[:100]!r}')
        if isinstance(value, torch.Tensor) and value.is_meta:
            raise DamageError(f'{key} has a shape and no content')
    _check_versions(weights)


def _check_versions(weights: dict[str, Any]) -> None:
    """Refuse attributes of a state dict other than the versions of layers, which ``Module`` reads."""
    attributes = dict(getattr(weights, '__dict__', {}))
    versions = attributes.pop('_metadata', None)
    layers = versions.values() if isinstance(versions, dict) else ()
    readable = versions is None or isinstance(versions, dict)
    for layer in layers:
        readable &= isinstance(layer, dict) and isinstance(layer.get('version'), int | None)
    if attributes or not readable:
        raise DamageError('the versions of its layers cannot be read')


def _leave_out_programs(checkpoint: dict[str, Any], name: str) -> None:
    """Take out configs that are more than values: inferencers and mmengine's runner run the text."""
    meta, hub = checkpoint.get('meta'), checkpoint.get('message_hub')
    info = hub.get('runtime_info') if isinstance(hub, dict) else None
    complaint = None
    for owner in (info, meta):
        if isinstance(owner, dict) and 'cfg' in owner:
            found = complaint_about_text(owner['cfg'])
            if found is not None:
                complaint = found
                del owner['cfg']
    # Read by mmengine's runner, where mmcv 1 wrote it; our converter writes a name there.
    meta = meta if isinstance(meta, dict) else {}
    text = meta.get('config', '')
    if not re.fullmatch(r'[\w./-]*', str(text)) and complaint_about_text(text) is not None:
        del meta['config']
    if complaint is not None:
        print_log(
            f'The config in the checkpoint {name} {printable(complaint)}; it is left out, for an inferencer '
            'would run it: give the inferencer a config of your own.',
            'current',
            logging.WARNING,
        )
