# Copyright (c) The mmpointrend authors.
"""Checkpoints: safe loading of mmengine's own files, errors that name the file, and what fits the
model.

torch loads with ``weights_only=True`` and refuses every global that is not on its list. mmengine
0.10.7 pickles its log history (``HistoryBuffer`` objects, which drag numpy arrays along) into each
checkpoint, so that it cannot read back what it wrote. :func:`allow_mmengine_checkpoints` lists
exactly these types; safe loading itself stays on.
"""

import pickle
import re
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseTTAModel, is_model_wrapper
from mmengine.runner import CheckpointLoader
from torch import nn

from mmpointrend.engine.array_pickle import ARRAY_PARTS
from mmpointrend.errors import CheckpointError

__all__ = [
    'LoadReport',
    'allow_mmengine_checkpoints',
    'check_integrity',
    'find_resumable',
    'load_from_local',
    'watch_loading',
]

_STATISTICS = ('min', 'max', 'current', 'mean')
_DAMAGE = (
    EOFError,
    KeyError,
    OSError,
    RuntimeError,
    UnicodeDecodeError,
    pickle.UnpicklingError,
    zipfile.BadZipFile,
)


def _history_statistic(owner: type, name: str) -> Callable[..., Any]:
    """The one use of ``getattr`` in mmengine's checkpoints: the four statistics of
    ``HistoryBuffer``.

    The builtin would let a crafted file reach ``__globals__`` of a function and overwrite them.
    """
    if owner is not HistoryBuffer or name not in _STATISTICS:
        raise pickle.UnpicklingError(f'getattr({owner!r}, {name!r}) is not allowed in a checkpoint')
    return getattr(HistoryBuffer, name)


def allow_mmengine_checkpoints() -> None:
    """Put the types of mmengine's own checkpoints on the list of torch's safe loading.

    Runs when ``mmpointrend.engine`` is imported; calling it again changes nothing. numpy's parts are
    those of :mod:`mmpointrend.engine.array_pickle`.
    """
    torch.serialization.add_safe_globals(
        [
            HistoryBuffer,
            (_history_statistic, 'builtins.getattr'),
            *((part, f'{module}.{name}') for (module, name), part in ARRAY_PARTS.items()),
        ]
    )


@contextmanager
def _naming_the_file(filename: str) -> Iterator[None]:
    """Turn what torch raises on a missing, damaged or unsafe checkpoint into a sentence with its
    name.

    Args:
        filename: Path or address of the checkpoint that is loaded inside the context.

    Raises:
        CheckpointError: Loading failed; the original error is chained.
    """
    try:
        yield
    except CheckpointError:
        raise
    except FileNotFoundError as error:
        raise CheckpointError(f'the checkpoint {filename} does not exist.') from error
    except _DAMAGE as error:
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        if re.search('GLOBAL|allowed|unrecognized function|Can only', str(error)):
            raise CheckpointError(
                f'the checkpoint {filename} holds objects that could run code and was refused '
                f'({_offender(str(error))}); use a file from a source that you trust, with '
                'tensors only.'
            ) from error
        raise CheckpointError(
            f'the checkpoint {filename} is damaged ({reason}); copy it anew or use an earlier one.'
        ) from error


def _offender(text: str) -> str:
    match = re.search(r'GLOBAL (\S+)|getattr\(.*\)|function <.*?>', text)
    return match.group(0) if match else text.splitlines()[0]


def check_integrity(filename: str) -> None:
    """Read a local checkpoint's bytes and compare them with the sums stored in it.

    torch itself does not: a flipped bit in a tensor would go unseen.

    Args:
        filename: Path of the checkpoint, ``~`` allowed.

    Raises:
        CheckpointError: The file is missing, empty, cut short or altered.
    """
    path = Path(filename).expanduser()
    if not path.is_file():
        raise CheckpointError(f'the checkpoint {filename} does not exist.')
    if path.stat().st_size == 0:
        raise CheckpointError(f'the checkpoint {filename} is empty; use an earlier one.')
    with _naming_the_file(filename):
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                broken = archive.testzip()
            if broken is not None:
                raise zipfile.BadZipFile(f'{broken} does not match its checksum')
        else:
            # The format before torch 1.6 has no sums; reading it is the only check.
            torch.load(path, map_location='cpu', weights_only=True)


def load_from_local(
    filename: str, map_location: str | torch.device | None = None
) -> dict[str, Any]:
    """mmengine's loader of local files (runner, ``init_cfg``, inferencers), with checks and errors
    that speak.

    Args:
        filename: Path of the checkpoint, ``~`` allowed.
        map_location: As in ``torch.load``.

    Returns:
        The checkpoint.

    Raises:
        CheckpointError: The file is missing, damaged, unsafe or no checkpoint at all.
    """
    check_integrity(filename)
    with _naming_the_file(filename):
        checkpoint = torch.load(
            Path(filename).expanduser(), map_location=map_location, weights_only=True
        )
    if not isinstance(checkpoint, dict):
        raise CheckpointError(
            f'{filename} holds a {type(checkpoint).__name__} and no state dict; give a checkpoint '
            'of a model.'
        )
    return checkpoint


@dataclass
class LoadReport:
    """What became of a checkpoint's tensors when they were loaded into a model.

    Attributes:
        missing: Names of the model's tensors that the checkpoint did not fill.
        unexpected: Names in the checkpoint that the model has no place for.
        reshaped: Names in both, with shapes that differ; they are not loaded.
        total: Number of tensors of the model (``num_batches_tracked`` uncounted).
        offered: Number of tensors in the checkpoint, likewise.
    """

    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    reshaped: list[str] = field(default_factory=list)
    total: int = 0
    offered: int = 0

    @property
    def filled(self) -> int:
        """Number of the model's tensors that the checkpoint filled."""
        return self.total - len(self.missing) - len(self.reshaped)

    def __str__(self) -> str:
        """Counts and the first few names, for a message."""
        parts = [f'{self.filled} of the {self.total} tensors of the model are filled']
        for label, names in (
            ('missing', self.missing),
            ('of another shape', self.reshaped),
            ('unused', self.unexpected),
        ):
            if names:
                more = ', ...' if len(names) > 3 else ''
                parts.append(f'{len(names)} {label} ({", ".join(names[:3])}{more})')
        return ', '.join(parts)


@contextmanager
def watch_loading(model: nn.Module) -> Iterator[LoadReport]:
    """Report what a ``load_checkpoint`` inside the context fills, migrated names included.

    Args:
        model: The runner's model, wrapped (DDP, test-time augmentation) or not.

    Yields:
        A report that is complete when the context ends.
    """
    inner: Any = model
    while is_model_wrapper(inner) or isinstance(inner, BaseTTAModel):
        inner = inner.module
    report = LoadReport()

    def read_keys(_: nn.Module, keys: Any) -> None:
        report.missing = _counted(keys.missing_keys)
        report.unexpected = _counted(keys.unexpected_keys)

    shapes = {name: value.shape for name, value in inner.state_dict().items()}
    report.total = len(_counted(shapes))
    hooks = [inner.register_load_state_dict_post_hook(read_keys)]
    hooks.append(inner.register_load_state_dict_pre_hook(_shape_reader(shapes, report)))
    try:
        yield report
    finally:
        for hook in hooks:
            hook.remove()


def _shape_reader(shapes: dict[str, torch.Size], report: LoadReport) -> Callable[..., None]:
    def read_shapes(_: nn.Module, state_dict: dict[str, Any], *unused: Any) -> None:
        report.offered = len(_counted(state_dict))
        report.reshaped = [
            name
            for name in _counted(shapes)
            if name in state_dict and getattr(state_dict[name], 'shape', None) != shapes[name]
        ]

    return read_shapes


def _counted(names: Any) -> list[str]:
    return [name for name in names if not name.endswith('num_batches_tracked')]


allow_mmengine_checkpoints()
CheckpointLoader.register_scheme('', load_from_local, force=True)

# At the end, for it needs what is above.
from mmpointrend.engine.resuming import find_resumable  # noqa: E402
