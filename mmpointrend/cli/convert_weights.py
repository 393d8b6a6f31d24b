# Copyright (c) The mmpointrend authors.
"""``mmpointrend convert-weights``: a PointRend model of detectron2's as a checkpoint of ours."""

from pathlib import Path
from typing import Annotated

import typer

__all__ = ['command', 'convert_weights']


def command(
    source: Annotated[str, typer.Argument(help="detectron2's .pkl, .pth, .npz or .safetensors.")],
    target: Annotated[Path, typer.Argument(help='Checkpoint to write: .pth or .safetensors.')],
    config: Annotated[
        str | None,
        typer.Option(help='Config of the target, by name or path; found by names and shapes.'),
    ] = None,
) -> None:
    """Convert detectron2's PointRend weights; those of mmdet and mmseg load as they are."""
    convert_weights(source, target, config)


def convert_weights(source: str, target: Path, config: str | None) -> None:
    """Convert a model, write it, and say what became of the tensors.

    Args:
        source: detectron2's file.
        target: Checkpoint to write; its folder is made.
        config: Config of the target, by name or path; None finds it by names and shapes.

    Raises:
        PointRendError: The source cannot be read, a tensor is left over or not filled, or the target cannot
            be written.
    """
    from mmpointrend.checkpoints.saving import save_model
    from mmpointrend.engine.detectron2 import convert, find_config, load_weights, matching_configs
    from mmpointrend.engine.launch import output_file
    from mmpointrend.version import __version__

    weights = load_weights(source)
    target = output_file(target)
    conversions = (
        matching_configs(weights)
        if config is None
        else {config: convert(weights, find_config(config))}
    )
    name, *others = conversions
    conversion = conversions[name]
    meta = dict(config=name, source=Path(source).name, mmpointrend_version=__version__)
    save_model(target, conversion.state_dict, meta)
    print(f'{target}: {len(conversion.state_dict)} tensors for {name}')
    for other in others:
        print(f'fits as well: {other}')
    for tensor, reason in conversion.dropped.items():
        print(f'dropped: {tensor} ({reason})')
    if conversion.filled:
        print(f'filled with 0: {len(conversion.filled)} num_batches_tracked')
