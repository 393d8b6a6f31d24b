# Copyright (c) The mmpointrend authors.
"""Write a model as a checkpoint, in the format that the file's name says."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from mmpointrend.checkpoints.safetensors_files import write_safetensors
from mmpointrend.errors import CheckpointError

__all__ = ['save_model']


def save_model(
    path: str | Path, state_dict: Mapping[str, torch.Tensor], meta: Mapping[str, Any]
) -> None:
    """Write a model's tensors and what is known about it.

    The file appears when it is whole.

    Args:
        path: The file: ``.safetensors``, or any other name for torch's format.
        state_dict: The tensors.
        meta: A checkpoint's ``meta``; in ``.safetensors`` only what of it is plain data.

    Raises:
        CheckpointError: It cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f'{path.name}.part')
    try:
        if path.suffix == '.safetensors':
            write_safetensors(unfinished, state_dict, meta)
        else:
            torch.save(dict(meta=dict(meta), state_dict=state_dict), unfinished)
        unfinished.replace(path)
    except CheckpointError as error:
        raise CheckpointError(f'the checkpoint {path} cannot be written: {error}') from error
    except Exception as error:
        # torch and safetensors report a full disk by errors of their own.
        reason = str(error).strip().partition('\n')[0] or type(error).__name__
        raise CheckpointError(
            f'the checkpoint {path} cannot be written ({reason}); check the rights and the space of '
            'the disk.'
        ) from error
    finally:
        unfinished.unlink(missing_ok=True)
